"""Networks."""

from tfcaps.models.capsnet import CapsNet
from tfcaps.models.capsule_network import CapsuleNetwork
from tfcaps.models.conv_capsnet import ConvCapsNet
from tfcaps.models.decoder import decoder

__all__ = ["CapsNet", "CapsuleNetwork", "ConvCapsNet", "decoder"]
