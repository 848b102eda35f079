"""The layer that sums each feature map up to one number, and groups these numbers into capsules."""

import keras
from keras import ops

from tfcaps.errors import UsageError, positive_int
from tfcaps.layers import checks
from tfcaps.ops import exponential_squash


@keras.saving.register_keras_serializable(package="tfcaps")
class DepthwisePrimaryCapsule(keras.layers.Layer):
    """Primary capsules: a depthwise convolution that covers the whole map, grouped and squashed.

    With one kernel and one bias per channel, `z_c = Σ_{h,w} K_{hwc} x_{hwc} + bias_c`, for signals
    `Σ_t K_{tc} x_{tc} + bias_c`, and
    `u = (1 − e^{−‖z‖}) z/‖z‖` for each group z of `dim` channels. The paper's 9×9 kernel is what
    covers the map of a 28×28 image.

    Args:
        capsules: number of capsules.
        dim: capsule dimension D.
        kernel_initializer: of K `(H, W, 1, C)` or `(T, 1, C)`, whose fan in is H·W or T. Default
            "glorot_uniform".

    Input shape: `(B, H, W, C)` or `(B, T, C)` with C = capsules · dim. Output shape:
    `(B, capsules, dim)`.

    Raises:
        ValueError: an argument is not a positive integer, or the maps have another number of
            channels or no known size.

    Example:

    >>> import numpy as np
    >>> layer = DepthwisePrimaryCapsule(capsules=16, dim=8)
    >>> tuple(layer(np.zeros((2, 9, 9, 128), "float32")).shape)
    (2, 16, 8)

    Source: Mazzia, Salvetti, Chiaberge: Efficient-CapsNet, arXiv 2101.12491.
    """

    def __init__(self, capsules, dim, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.capsules = positive_int("capsules", capsules)
        self.dim = positive_int("dim", dim)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        checks.rank("feature maps", input_shape, expected="(B, H, W, C) or (B, T, C)")
        _, *sizes, channels = input_shape
        if None in sizes or channels != self.capsules * self.dim:
            raise UsageError(
                "Expected feature maps of a known size with capsules · dim = "
                f"{self.capsules * self.dim} channels. Received: {tuple(input_shape)}"
            )
        # As convolutions tell it: what a capsule sees of the maps.
        self.kernel_size = tuple(sizes)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*sizes, 1, channels),
            initializer=self.kernel_initializer,
        )
        self.bias = self.add_weight(name="bias", shape=(channels,), initializer="zeros")

    def call(self, inputs):
        # A convolution with a single place is a sum of products, and far slower as a convolution.
        kernel = ops.squeeze(ops.convert_to_tensor(self.kernel), -2)
        places = tuple(range(1, len(inputs.shape) - 1))
        summary = ops.sum(inputs * kernel, axis=places) + self.bias
        return exponential_squash(ops.reshape(summary, (-1, self.capsules, self.dim)))

    def compute_output_shape(self, input_shape):
        return input_shape[0], self.capsules, self.dim

    def get_config(self):
        return {
            **super().get_config(),
            "capsules": self.capsules,
            "dim": self.dim,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
