"""The loss of reconstructed images."""

import keras
from keras import ops

from tfcaps import labels


@keras.saving.register_keras_serializable(package="tfcaps")
class ReconstructionLoss(keras.losses.Loss):
    """Squared error of an image: `Σ (y − ŷ)²` over its pixels, averaged over the batch.

    Call arguments:
        y_true: images in [0, 1], `(B, H, W, C)`.
        y_pred: reconstructions, of the same shape.

    Raises:
        UsageError: the shapes differ.

    Example:

    >>> import numpy as np
    >>> float(ReconstructionLoss()(np.ones((2, 4, 4, 1)), np.zeros((2, 4, 4, 1))))
    16.0

    Source: Sabour, Frosst, Hinton: Dynamic routing between capsules, arXiv 1710.09829.
    """

    def __init__(self, name="reconstruction_loss", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        squares = ops.square(labels.alike(y_true, y_pred, of="images") - y_pred)
        return ops.sum(squares, axis=tuple(range(1, len(squares.shape))))
