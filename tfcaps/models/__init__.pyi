from .application_network import (
    ApplicationNetwork as ApplicationNetwork,
    ApplicationPixels as ApplicationPixels,
    read_weights as read_weights,
)
from .block_names import block_counts as block_counts, block_name as block_name
from .block_network import (
    BlockNetwork as BlockNetwork,
    count_flops as count_flops,
    gaussian_branches as gaussian_branches,
    zero_branches as zero_branches,
)
from .caps_head import CapsHead as CapsHead
from .capsnet import CapsNet as CapsNet
from .capsule_network import CapsuleNetwork as CapsuleNetwork
from .conv_capsnet import ConvCapsNet as ConvCapsNet
from .conv_network import ConvNetwork as ConvNetwork
from .decoders import decoder as decoder
from .efficient_capsnet import EfficientCapsNet as EfficientCapsNet
from .image_classifier import ImageClassifier as ImageClassifier
from .image_model import ImageModel as ImageModel
from .lenet import LeNet as LeNet
from .pretrained import encoder_layers as encoder_layers, without_layers as without_layers
from .text_classifier import MeanOverTokens as MeanOverTokens, TextClassifier as TextClassifier
from .text_encoder import TextEncoder as TextEncoder, open_text_encoder as open_text_encoder
from .vision_encoder import (
    VisionEncoder as VisionEncoder,
    open_vision_encoder as open_vision_encoder,
)
from .vit_classifier import ViTClassifier as ViTClassifier
from .weight_transfer import inherit as inherit
