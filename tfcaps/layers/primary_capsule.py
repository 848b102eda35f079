"""The layer that turns feature maps into capsules."""

import math

import keras
from keras import ops

from tfcaps.convolution import fastest_conv
from tfcaps.errors import UsageError, positive_int
from tfcaps.layers import checks
from tfcaps.ops import for_any_batch, squash

# How layers that were saved by version 0.1.0 call their arguments.
_FORMER_NAMES = {"channels": "capsules"}


class _Conv2D(keras.layers.Conv2D):
    """Keras' valid convolution, computed in the faster way."""

    def convolution_op(self, inputs, kernel):
        return fastest_conv(inputs, kernel, self.strides, super().convolution_op)


@keras.saving.register_keras_serializable(package="tfcaps")
class PrimaryCapsule(keras.layers.Layer):
    """Primary capsules: a convolution whose channels are grouped into squashed vectors.

    `u = squash(reshape(conv(x)))`, a valid convolution of `capsules · dim` filters without
    activation, over the two axes of an image or the one of a signal.

    Args:
        capsules: number of capsule types, one map each.
        dim: capsule dimension D.
        kernel_size: side of the convolution's kernel in pixels, or its length in steps. Default 9.
        strides: stride in pixels or steps. Default 2.
        kernel_initializer: Default "he_normal".

    Input shape: `(B, H, W, C)` or `(B, T, C)`. Output shape: `(B, H'·W'·capsules, dim)` or
    `(B, T'·capsules, dim)` with `H' = (H − kernel_size) // strides + 1`, likewise W' and T'. Sizes
    may be unknown; the capsules of a place stand together, and places are in their order.

    Raises:
        ValueError: an argument is not a positive integer, or the maps are smaller than the kernel.

    Example:

    >>> import numpy as np
    >>> capsules = PrimaryCapsule(capsules=4, dim=8)(np.zeros((2, 20, 20, 3), "float32"))
    >>> tuple(capsules.shape)                        # 6·6·4 capsules
    (2, 144, 8)

    Source: Sabour, Frosst, Hinton: Dynamic routing between capsules, arXiv 1710.09829.
    """

    def __init__(
        self, capsules, dim, kernel_size=9, strides=2, kernel_initializer="he_normal", **kwargs
    ):
        super().__init__(**kwargs)
        self.capsules = positive_int("capsules", capsules)
        self.dim = positive_int("dim", dim)
        self.kernel_size = positive_int("kernel_size", kernel_size)
        self.strides = positive_int("strides", strides)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        checks.rank("feature maps", input_shape, expected="(B, H, W, C) or (B, T, C)")
        sizes = input_shape[1:-1]
        if any(size is not None and size < self.kernel_size for size in sizes):
            least = "×".join([str(self.kernel_size)] * len(sizes))
            raise UsageError(
                f"Expected feature maps of at least {least}. Received: {'×'.join(map(str, sizes))}"
            )
        layer = {1: keras.layers.Conv1D, 2: _Conv2D}[len(sizes)]
        self.convolution = layer(
            self.capsules * self.dim,
            self.kernel_size,
            strides=self.strides,
            kernel_initializer=self.kernel_initializer,
            dtype=self.dtype_policy,
            name="convolution",
        )
        self.convolution.build(input_shape)

    def call(self, inputs):
        maps = for_any_batch(self.convolution, inputs)
        batch, *places, _ = ops.shape(maps)
        return squash(ops.reshape(maps, (batch, math.prod(places) * self.capsules, self.dim)))

    def compute_output_shape(self, input_shape):
        batch, *sizes, _ = input_shape
        if None in sizes:
            return batch, None, self.dim
        places = math.prod((size - self.kernel_size) // self.strides + 1 for size in sizes)
        return batch, places * self.capsules, self.dim

    def get_config(self):
        return {
            **super().get_config(),
            "capsules": self.capsules,
            "dim": self.dim,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }

    @classmethod
    def from_config(cls, config):
        return super().from_config(checks.renamed(config, _FORMER_NAMES))
