"""Metrics of what a network's layers are worth."""

from tfcaps.metrics.bundle_entropy import Bundles, bundle_entropy
from tfcaps.metrics.d_score import DScore
from tfcaps.metrics.layer_bundles import BundleEntropy, weight_amplitude
from tfcaps.metrics.t_score import TScore

__all__ = ["BundleEntropy", "Bundles", "DScore", "TScore", "bundle_entropy", "weight_amplitude"]
