"""Layers: plain Keras layers that run on every backend."""

from tfcaps.layers.capsule_length import CapsuleLength
from tfcaps.layers.capsule_mask import CapsuleMask
from tfcaps.layers.conv_capsule import ConvCapsule
from tfcaps.layers.dense_capsule import DenseCapsule
from tfcaps.layers.depthwise_primary_capsule import DepthwisePrimaryCapsule
from tfcaps.layers.plain_block import PlainBlock
from tfcaps.layers.primary_capsule import PrimaryCapsule
from tfcaps.layers.residual_block import ResidualBlock

__all__ = [
    "CapsuleLength",
    "CapsuleMask",
    "ConvCapsule",
    "DenseCapsule",
    "DepthwisePrimaryCapsule",
    "PlainBlock",
    "PrimaryCapsule",
    "ResidualBlock",
]
