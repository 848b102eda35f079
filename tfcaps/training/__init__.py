"""Training of capsule networks: configuration, run directories, checkpoints, resuming."""

from tfcaps.training.configuration import TrainingConfig
from tfcaps.training.network import build_model
from tfcaps.training.run import Run, load_run
from tfcaps.training.run_directory import RunDirectory
from tfcaps.training.train import train

__all__ = ["Run", "RunDirectory", "TrainingConfig", "build_model", "load_run", "train"]
