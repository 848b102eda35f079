"""The loss of capsule lengths, for integer labels."""

import keras

from tfcaps import labels
from tfcaps.losses.margin import MarginLoss


@keras.saving.register_keras_serializable(package="tfcaps")
class SparseMarginLoss(MarginLoss):
    """`MarginLoss` for integer labels, as Keras' sparse losses take them.

    Args: see `MarginLoss`.

    Call arguments:
        y_true: classes from 0 to K − 1, `(B,)` or `(B, 1)`. Any other number, a fraction too, makes
            the loss NaN.
        y_pred: lengths ‖v‖, `(B, K)`.

    Raises:
        UsageError: the labels have another shape; one-hot ones are for `MarginLoss`.

    Example:

    >>> import numpy as np
    >>> lengths = np.array([[0.4, 0.3]], "float32")
    >>> round(float(SparseMarginLoss()(np.array([0]), lengths)), 6)
    0.27

    Source: Sabour, Frosst, Hinton: Dynamic routing between capsules, arXiv 1710.09829, eq. 4.
    """

    def __init__(
        self, m_plus=0.9, m_minus=0.1, down_weight=0.5, name="sparse_margin_loss", **kwargs
    ):
        super().__init__(m_plus, m_minus, down_weight, name=name, **kwargs)

    def call(self, y_true, y_pred):
        return super().call(labels.one_hot(y_true, y_pred), y_pred)
