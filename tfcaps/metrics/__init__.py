"""Metrics of what a network's layers are worth."""

from tfcaps.metrics.bundle_entropy import Bundles, bundle_entropy
from tfcaps.metrics.layer_bundles import BundleEntropy, weight_amplitude

__all__ = ["BundleEntropy", "Bundles", "bundle_entropy", "weight_amplitude"]
