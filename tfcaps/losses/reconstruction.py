"""The loss of reconstructed images."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfcaps")
class ReconstructionLoss(keras.losses.Loss):
    """Squared error of an image: `Σ (y − ŷ)²` over its pixels, averaged over the batch.

    Call arguments:
        y_true: images in [0, 1], `(B, H, W, C)`.
        y_pred: reconstructions, of the same shape.

    Example:

    >>> import numpy as np
    >>> float(ReconstructionLoss()(np.ones((2, 4, 4, 1)), np.zeros((2, 4, 4, 1))))
    16.0

    Source: Sabour, Frosst, Hinton: Dynamic routing between capsules, arXiv 1710.09829.
    """

    def __init__(self, name="reconstruction_loss", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        squares = ops.square(ops.cast(y_true, y_pred.dtype) - y_pred)
        return ops.sum(ops.reshape(squares, (-1, math.prod(y_pred.shape[1:]))), axis=-1)
