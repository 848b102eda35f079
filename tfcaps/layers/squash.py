"""Vectors of any length as capsules."""

import keras

from tfcaps.errors import UsageError
from tfcaps.ops import squash


@keras.saving.register_keras_serializable(package="tfcaps")
class Squash(keras.layers.Layer):
    """Shrinks vectors to a length in [0, 1) and keeps their direction: `tfcaps.ops.squash`.

    Args:
        axis: the axis that holds one capsule. Default -1.

    Input shape: `(B, …)`. Output shape: the same. A mask is passed on.

    Raises:
        ValueError: the axis is no integer, or the one of the batch.

    Example:

    >>> import numpy as np
    >>> capsules = Squash()(np.array([[3.0, 4.0]], "float32"))
    >>> [round(float(x), 4) for x in capsules[0]]        # 25/26 · (0.6, 0.8)
    [0.5769, 0.7692]

    Source: Sabour, Frosst, Hinton: Dynamic routing between capsules, arXiv 1710.09829, eq. 1.
    """

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        if isinstance(axis, bool) or not isinstance(axis, int) or axis == 0:
            raise UsageError(f"Expected axis to be an integer other than 0. Received: {axis!r}")
        self.axis = axis
        self.supports_masking = True

    def build(self, input_shape):
        rank = len(input_shape)
        if not -rank < self.axis < rank:
            raise UsageError(
                f"Expected inputs that have the axis {self.axis} beside the batch's. "
                f"Received: {tuple(input_shape)}"
            )

    def call(self, inputs):
        return squash(inputs, axis=self.axis)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "axis": self.axis}
