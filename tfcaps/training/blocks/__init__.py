"""Training of block networks: fully connected, plain and residual convolutional ones."""

from tfcaps.training.blocks.configuration import BlockNetworkConfig
from tfcaps.training.blocks.recipe import BlockRecipe

__all__ = ["BlockNetworkConfig", "BlockRecipe"]
