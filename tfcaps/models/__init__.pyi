from .block_network import BlockNetwork as BlockNetwork
from .capsnet import CapsNet as CapsNet
from .capsule_network import CapsuleNetwork as CapsuleNetwork
from .conv_capsnet import ConvCapsNet as ConvCapsNet
from .decoder import decoder as decoder
from .efficient_capsnet import EfficientCapsNet as EfficientCapsNet
