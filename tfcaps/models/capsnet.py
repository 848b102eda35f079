"""Dense capsule networks of any depth."""

import keras

from tfcaps.layers import DenseCapsule, PrimaryCapsule
from tfcaps.models.capsule_network import CapsuleNetwork
from tfcaps.models.registry import register
from tfcaps.models.stack import Tap, residual_stack

STEM_KERNEL = 9
PRIMARY_KERNEL = 9
PRIMARY_STRIDES = 2


@register("CapsNet")
class CapsNet(CapsuleNetwork):
    """Dense capsule network: convolution, primary capsules, dense capsule layers, decoder.

    A 9×9 convolution of `layers[0] · dimensions[0]` filters with ReLU; primary capsules of
    `layers[0]` channels and dimension `dimensions[0]`; a dense capsule layer for each further
    entry, the last of which are the classes.

    With skip distance k, a residual connection joins the dense layers i − k and i (from 0), for
    i > 0, i mod k = 0 and equal shapes, see `skip_kind`.

    Args and errors: see `CapsuleNetwork`. Images have at least 17×17 pixels.

    Example:

    >>> model = CapsNet((28, 28, 1), layers=(4, 10), dimensions=(8, 16), routing="em")
    >>> model.output["lengths"].shape, model.output["reconstruction"].shape
    ((None, 10), (None, 28, 28, 1))

    Sources: Sabour, Frosst, Hinton, arXiv 1710.09829; Peer, Stabinger, Rodríguez-Sánchez,
    arXiv 1905.08744; Gugglberger, Peer, Rodríguez-Sánchez, arXiv 2104.07393.
    """

    smallest_image = STEM_KERNEL + PRIMARY_KERNEL - 1

    @staticmethod
    def connect(images, layers, dimensions, *, skips, dtype, routed):
        maps = keras.layers.Conv2D(
            layers[0] * dimensions[0], STEM_KERNEL, activation="relu", dtype=dtype, name="stem"
        )(images)
        primary = PrimaryCapsule(
            layers[0],
            dimensions[0],
            PRIMARY_KERNEL,
            PRIMARY_STRIDES,
            dtype=dtype,
            name="primary_capsules",
        )(maps)
        dense = routed([DenseCapsule] * (len(layers) - 1), layers[1:], dimensions[1:])
        return [Tap("primary_capsules", primary), *residual_stack(primary, dense, skips)]
