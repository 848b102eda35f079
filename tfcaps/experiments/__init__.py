"""The papers' experiments that are more than one training."""

from tfcaps.experiments.depth import DepthExperiment, depth_experiment
from tfcaps.experiments.experiment import text_table
from tfcaps.experiments.sign import SignExperiment, count_above, sign_experiment

__all__ = [
    "DepthExperiment",
    "SignExperiment",
    "count_above",
    "depth_experiment",
    "sign_experiment",
    "text_table",
]
