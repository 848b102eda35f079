"""How much of a branch a residual connection lets in."""

import keras
from keras import ops

_FIRST = 0.2


@keras.saving.register_keras_serializable(package="tfcaps")
class Gate(keras.layers.Layer):
    """A learnt part of what comes in: `y = g · x`, of a residual connection's branch.

    The gate g is one number, 0.2 at first. So a stack of branches, each added to what is below it,
    begins nearly as the identity in any depth, with gradients in all of its layers; and it learns
    how much of each branch to let in.

    Input and output shape: any, the same.

    Example:

    >>> import numpy as np
    >>> Gate()(np.array([[5.0, 10.0]], "float32")).numpy().tolist()
    [[1.0, 2.0]]

    Sources: Bachlechner et al.: ReZero is all you need, arXiv 2003.04887, and De, Smith: Batch
    normalization biases residual blocks towards the identity function, arXiv 2002.10444, which
    begin with 0.
    """

    def build(self, input_shape):
        self.gate = self.add_weight(
            name="gate", shape=(), initializer=keras.initializers.Constant(_FIRST)
        )

    def call(self, inputs):
        return ops.cast(self.gate, self.compute_dtype) * inputs

    def compute_output_shape(self, input_shape):
        return input_shape
