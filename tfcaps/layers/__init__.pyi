from .capsule_length import CapsuleLength as CapsuleLength
from .capsule_mask import CapsuleMask as CapsuleMask
from .conv_capsule import ConvCapsule as ConvCapsule
from .dense_capsule import DenseCapsule as DenseCapsule
from .depthwise_primary_capsule import DepthwisePrimaryCapsule as DepthwisePrimaryCapsule
from .plain_block import PlainBlock as PlainBlock
from .primary_capsule import PrimaryCapsule as PrimaryCapsule
from .residual_block import ResidualBlock as ResidualBlock
