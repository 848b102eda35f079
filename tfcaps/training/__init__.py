"""Training: configurations, run directories, checkpoints, resuming; one way for all networks."""

from tfcaps.training.blocks import BlockNetworkConfig
from tfcaps.training.capsules import CapsuleNetworkConfig, build_model
from tfcaps.training.configuration import RunConfig
from tfcaps.training.run import Run, load_run
from tfcaps.training.run_directory import RunDirectory
from tfcaps.training.train import train, train_several

__all__ = [
    "BlockNetworkConfig",
    "CapsuleNetworkConfig",
    "Run",
    "RunConfig",
    "RunDirectory",
    "build_model",
    "load_run",
    "train",
    "train_several",
]
