"""A small capsule network with self-attention routing."""

import keras

from tfcaps.layers import DenseCapsule, DepthwisePrimaryCapsule
from tfcaps.models.capsule_network import CapsuleNetwork
from tfcaps.models.registry import register
from tfcaps.models.stack import Tap, residual_stack

# Of the convolutions before the last one, which has a channel for each primary capsule's number.
FILTERS = (32, 64, 64)
KERNELS = (5, 3, 3)
LAST_KERNEL = 3
LAST_STRIDES = 2


@register(
    "EfficientCapsNet",
    layers=(16, 10),
    dimensions=(8, 16),
    routing="attention",
    use_prior=True,
    use_bias=False,
)
class EfficientCapsNet(CapsuleNetwork):
    """Efficient-CapsNet: convolutions, a few primary capsules without a place, and routing.

    Four valid convolutions, each with ReLU and then batch normalisation: 5×5 to 32 channels, 3×3
    to 64, 3×3 to 64, and 3×3 with stride 2 to `layers[0] · dimensions[0]`; depthwise primary
    capsules, `layers[0]` in all, whose kernels cover the whole map, 9×9 for 28×28 images; a dense
    capsule layer for each further entry, the last of which are the classes.

    For 28×28×1 images and the defaults, without the decoder, 161,984 weights are learnt: the
    published 161,824, which `--model=EfficientCapsNet` has, and 160 of the bias that `use_bias`
    adds. The decoder has 1,411,344 more.

    Args and errors: see `CapsuleNetwork`. Images have at least 11×11 pixels; `layers` are (16, 10)
    by default, `dimensions` (8, 16), and `routing` is "attention" with a prior.

    Example:

    >>> import math
    >>> model = EfficientCapsNet((28, 28, 1), use_reconstruction=False)
    >>> sum(math.prod(weight.shape) for weight in model.trainable_weights)
    161984

    Source: Mazzia, Salvetti, Chiaberge: Efficient-CapsNet, arXiv 2101.12491.
    """

    smallest_image = sum(KERNELS) - len(KERNELS) + LAST_KERNEL

    @staticmethod
    def connect(images, layers, dimensions, *, skips, dtype, routed):
        maps = images
        for index, (filters, kernel) in enumerate(zip(FILTERS, KERNELS, strict=True), start=1):
            maps = _convolution(maps, filters, kernel, strides=1, dtype=dtype, index=index)
        maps = _convolution(
            maps,
            layers[0] * dimensions[0],
            LAST_KERNEL,
            strides=LAST_STRIDES,
            dtype=dtype,
            index=len(FILTERS) + 1,
        )
        primary = DepthwisePrimaryCapsule(
            layers[0], dimensions[0], dtype=dtype, name="primary_capsules"
        )(maps)
        dense = routed([DenseCapsule] * (len(layers) - 1), layers[1:], dimensions[1:])
        return [Tap("primary_capsules", primary), *residual_stack(primary, dense, skips)]


def _convolution(maps, filters, kernel, *, strides, dtype, index):
    """Convolution, ReLU, batch normalisation, in the order of the published program."""
    maps = keras.layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        activation="relu",
        kernel_initializer="he_normal",
        dtype=dtype,
        name=f"stem_conv_{index}",
    )(maps)
    return keras.layers.BatchNormalization(dtype=dtype, name=f"stem_bn_{index}")(maps)
