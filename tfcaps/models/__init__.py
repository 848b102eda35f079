"""Networks."""

from tfcaps.models.block_network import BlockNetwork
from tfcaps.models.capsnet import CapsNet
from tfcaps.models.capsule_network import CapsuleNetwork
from tfcaps.models.conv_capsnet import ConvCapsNet
from tfcaps.models.decoder import decoder
from tfcaps.models.efficient_capsnet import EfficientCapsNet

__all__ = [
    "BlockNetwork",
    "CapsNet",
    "CapsuleNetwork",
    "ConvCapsNet",
    "EfficientCapsNet",
    "decoder",
]
