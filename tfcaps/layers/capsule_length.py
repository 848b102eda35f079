"""Class scores of capsules."""

import keras

from tfcaps.ops import safe_norm


@keras.saving.register_keras_serializable(package="tfcaps")
class CapsuleLength(keras.layers.Layer):
    """Length of each capsule, `‖v‖`: the score of what it stands for, in [0, 1).

    Input shape: `(..., O, E)`. Output shape: `(..., O)`.

    Example:

    >>> import numpy as np
    >>> CapsuleLength()(np.array([[[3.0, 4.0], [0.0, 0.0]]], "float32")).numpy().tolist()
    [[5.0, 0.0]]

    Source: Sabour, Frosst, Hinton: Dynamic routing between capsules, arXiv 1710.09829.
    """

    def call(self, inputs):
        return safe_norm(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape[:-1]
