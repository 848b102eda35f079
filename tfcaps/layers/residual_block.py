"""The block of residual networks."""

import keras
from keras import ops

from tfcaps.layers.plain_block import PlainBlock
from tfcaps.ops import for_any_batch

# Added to variances before the root, for the branch as it is measured.
_VARIANCE_EPSILON = 1e-6


@keras.saving.register_keras_serializable(package="tfcaps")
class ResidualBlock(PlainBlock):
    """Two convolutions, a branch, whose result is added to the block's input.

    `y = relu(shortcut(x) + keep · branch(x))` with `branch(x) = BN2(conv2(relu(BN1(conv1(x)))))`.
    The shortcut is x itself, or, where stride or number of channels change, a 1×1 convolution
    with batch normalisation.

    As a tap, the branch is `branch(x) / √((var1 + 1e-6)(var2 + 1e-6))` with the moving variances
    of the two batch normalisations, per channel, in the dtype of the variables. Where they have
    other numbers of channels, var1 is the mean over its channels.

    Args:
        filters: channels F of the second convolution, of the shortcut and of the output.
        strides: stride of the first one and of the shortcut in pixels. Default 1.
        kernel_initializer: Default "he_normal".
        hidden: channels of the first convolution. Default: F.

    Call arguments:
        inputs: feature maps `(B, H, W, C)`.
        keep: factor of the branch for each image, `(B,)`: 1 keeps it, 0 removes it. None: 1.
        training: whether batches are normalised by their own moments.
        return_taps: whether the taps are given instead of the output. Default False.

    Returns:
        Feature maps `(B, ⌈H/strides⌉, ⌈W/strides⌉, F)`; with `return_taps` a dict of two of them,
        `branch` and `output`.

    Raises:
        ValueError: an argument is not a positive integer, or the input is no feature map.

    Example:

    >>> import numpy as np
    >>> maps = np.ones((2, 5, 6, 8), "float32")
    >>> block = ResidualBlock(8)
    >>> bool(np.all(block(maps, keep=np.zeros(2, "float32")) == maps))
    True
    >>> {name: tuple(tap.shape) for name, tap in block(maps, return_taps=True).items()}
    {'branch': (2, 5, 6, 8), 'output': (2, 5, 6, 8)}

    Source: Peer et al., Conflicting bundles, arXiv 2011.02956.
    """

    def __init__(self, filters, strides=1, kernel_initializer="he_normal", hidden=None, **kwargs):
        super().__init__(filters, strides, kernel_initializer, hidden, **kwargs)
        self.shortcut_conv = None
        self.shortcut_bn = None

    def build(self, input_shape):
        super().build(input_shape)
        if self.strides == 1 and input_shape[-1] == self.filters:
            return
        self.shortcut_conv = self._convolution(
            "shortcut_conv", self.filters, size=1, strides=self.strides
        )
        self.shortcut_bn = self._normalization("shortcut_bn")
        self.shortcut_conv.build(input_shape)
        self.shortcut_bn.build(self.compute_output_shape(input_shape))

    @property
    def has_identity_shortcut(self) -> bool:
        """Whether the block without its branch is the identity; known once it is built."""
        return self.built and self.shortcut_conv is None

    def call(self, inputs, keep=None, training=None, return_taps=False):
        branch = self._branch(inputs, training)
        kept = branch
        if keep is not None:
            kept = branch * ops.cast(ops.reshape(keep, (-1, 1, 1, 1)), branch.dtype)
        output = ops.relu(self._shortcut(inputs, training) + kept)
        return {"branch": self._measured(branch), "output": output} if return_taps else output

    def compute_output_spec(self, inputs, keep=None, training=None, return_taps=False):
        shape = self.compute_output_shape(inputs.shape)
        output = keras.KerasTensor(shape, dtype=self.compute_dtype)
        if not return_taps:
            return output
        return {"branch": keras.KerasTensor(shape, dtype=self.variable_dtype), "output": output}

    def _shortcut(self, inputs, training):
        if self.shortcut_conv is None:
            return inputs
        return for_any_batch(
            lambda x: self.shortcut_bn(self.shortcut_conv(x), training=training), inputs
        )

    def _measured(self, branch):
        # In the variables' dtype: the factors reach 10⁶, which float16 can't hold.
        branch = ops.cast(branch, self.variable_dtype)
        for layer in (self.bn1, self.bn2):
            variance = ops.convert_to_tensor(layer.moving_variance)
            if variance.shape[0] != self.filters:
                variance = ops.mean(variance)
            branch = branch * ops.rsqrt(variance + _VARIANCE_EPSILON)
        return branch

    def _convolutions(self):
        shortcut = [] if self.shortcut_conv is None else [self.shortcut_conv]
        return [*super()._convolutions(), *shortcut]
