"""Metrics of what a network's layers are worth."""

from tfcaps.metrics.bundle_entropy import Bundles, bundle_entropy
from tfcaps.metrics.capsule_scores import CapsuleScores, capsule_scores
from tfcaps.metrics.d_score import DScore
from tfcaps.metrics.layer_bundles import BundleEntropy, weight_amplitude
from tfcaps.metrics.t_score import TScore

__all__ = [
    "BundleEntropy",
    "Bundles",
    "CapsuleScores",
    "DScore",
    "TScore",
    "bundle_entropy",
    "capsule_scores",
    "weight_amplitude",
]
