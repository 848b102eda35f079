"""Training of capsule networks."""

from tfcaps.training.capsules.configuration import CapsuleNetworkConfig
from tfcaps.training.capsules.network import build_model
from tfcaps.training.capsules.recipe import CapsuleRecipe

__all__ = ["CapsuleNetworkConfig", "CapsuleRecipe", "build_model"]
