"""The papers' experiments that are more than one training."""

from tfcaps.experiments.sign import SignExperiment, count_above, sign_experiment

__all__ = ["SignExperiment", "count_above", "sign_experiment"]
