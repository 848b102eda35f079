"""The block of plain convolutional networks."""

import math

import keras
from keras import ops

from tfcaps.errors import positive_int
from tfcaps.layers import checks
from tfcaps.ops import for_any_batch

# Keras' own 0.99 needs hundreds of steps before inference sees what training saw; a network is
# looked at here after a few dozen.
BATCH_NORMALIZATION = {"momentum": 0.9, "epsilon": 1e-3}


@keras.saving.register_keras_serializable(package="tfcaps")
class PlainBlock(keras.layers.Layer):
    """Two 3×3 convolutions with batch normalisation and ReLU, as in VGG networks.

    `y = relu(BN2(conv2(relu(BN1(conv1(x))))))`. The convolutions have no bias: batch
    normalisation would subtract it again.

    Args:
        filters: channels F of the second convolution, and of the output.
        strides: stride of the first one in pixels. Default 1.
        kernel_initializer: Default "he_normal".
        hidden: channels of the first convolution. Default: F.

    Input shape: `(B, H, W, C)`. Output shape: `(B, ⌈H/strides⌉, ⌈W/strides⌉, F)`.

    Raises:
        ValueError: an argument is not a positive integer, or the input is no feature map.

    Example:

    >>> import numpy as np
    >>> tuple(PlainBlock(8, strides=2)(np.zeros((2, 5, 6, 3), "float32")).shape)
    (2, 3, 3, 8)

    Source: Peer et al., Conflicting bundles, arXiv 2011.02956.
    """

    def __init__(self, filters, strides=1, kernel_initializer="he_normal", hidden=None, **kwargs):
        super().__init__(**kwargs)
        self.filters = positive_int("filters", filters)
        self.hidden = self.filters if hidden is None else positive_int("hidden", hidden)
        self.strides = positive_int("strides", strides)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.conv1 = self._convolution("conv1", self.hidden, size=3, strides=self.strides)
        self.bn1 = self._normalization("bn1")
        self.conv2 = self._convolution("conv2", self.filters, size=3)
        self.bn2 = self._normalization("bn2")

    def build(self, input_shape):
        checks.rank("feature maps", input_shape, expected="(B, H, W, C)")
        hidden_shape = self.conv1.compute_output_shape(input_shape)
        self.conv1.build(input_shape)
        for layer in (self.bn1, self.conv2):
            layer.build(hidden_shape)
        self.bn2.build(self.compute_output_shape(input_shape))

    def call(self, inputs, training=None):
        return ops.relu(self._branch(inputs, training))

    def compute_output_shape(self, input_shape):
        return (*self.conv1.compute_output_shape(input_shape)[:-1], self.filters)

    def multiply_accumulates(self, input_shape):
        """Number of multiply-accumulates of the convolutions for one feature map (H, W, C)."""
        places = math.prod(self.compute_output_shape((None, *input_shape))[1:3])
        # All of a block's convolutions give maps of the same size.
        return places * sum(math.prod(layer.kernel.shape) for layer in self._convolutions())

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "strides": self.strides,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "hidden": self.hidden,
        }

    def _branch(self, inputs, training):
        def branch(x):
            x = ops.relu(self.bn1(self.conv1(x), training=training))
            return self.bn2(self.conv2(x), training=training)

        return for_any_batch(branch, inputs)

    def _convolutions(self):
        return [self.conv1, self.conv2]

    def _convolution(self, name, filters, *, size, strides=1):
        return keras.layers.Conv2D(
            filters,
            size,
            strides=strides,
            padding="same",
            use_bias=False,
            # An initializer without a seed gives every layer that shares it the same numbers.
            kernel_initializer=self.kernel_initializer.clone(),
            dtype=self.dtype_policy,
            name=name,
        )

    def _normalization(self, name):
        return keras.layers.BatchNormalization(
            **BATCH_NORMALIZATION, dtype=self.dtype_policy, name=name
        )
