"""Convolutional capsule networks of any depth."""

import keras

from tfcaps.layers import ConvCapsule, DenseCapsule
from tfcaps.models.capsule_network import CapsuleNetwork
from tfcaps.models.registry import register
from tfcaps.models.stack import residual_stack

STEM_FILTERS = 128
STEM_KERNEL = 7
STEM_STRIDES = 2


@register("ConvCapsNet")
class ConvCapsNet(CapsuleNetwork):
    """Convolutional capsule network: a stem, convolutional capsule layers, one dense one on top.

    A 7×7 convolution of 128 filters with stride 2 and ReLU, seen as one capsule type of dimension
    128; a 3×3 convolutional capsule layer for each entry of `layers` but the last; a dense capsule
    layer for the classes. Residual connections as in `CapsNet`, counted from the last addition.

    Args and errors: see `CapsuleNetwork`. Images have at least 7×7 pixels.

    Example:

    >>> model = ConvCapsNet((28, 28, 1), layers=(4, 4, 10), dimensions=(8, 8, 16))
    >>> model.output["lengths"].shape
    (None, 10)

    Source: Gugglberger, Peer, Rodríguez-Sánchez, arXiv 2104.07393.
    """

    smallest_image = STEM_KERNEL

    @staticmethod
    def connect(images, layers, dimensions, *, skips, dtype, routed):
        maps = keras.layers.Conv2D(
            STEM_FILTERS,
            STEM_KERNEL,
            strides=STEM_STRIDES,
            activation="relu",
            dtype=dtype,
            name="stem",
        )(images)
        stem = keras.layers.Reshape(
            (*maps.shape[1:3], 1, STEM_FILTERS), dtype=dtype, name="stem_capsules"
        )(maps)
        kinds = [ConvCapsule] * (len(layers) - 1) + [DenseCapsule]
        *convolutional, classes = routed(kinds, layers, dimensions)
        taps = residual_stack(stem, convolutional, skips, count_from_last_addition=True)
        return taps + residual_stack(taps[-1].capsules, [classes], skips=None)
