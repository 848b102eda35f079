"""The loss of capsule lengths."""

import keras
from keras import ops

from tfcaps import labels


@keras.saving.register_keras_serializable(package="tfcaps")
class MarginLoss(keras.losses.Loss):
    """Margin loss: each class' capsule is long when the class is there and short when not.

    `L = Σ_k T_k max(0, m⁺ − ‖v_k‖)² + λ (1 − T_k) max(0, ‖v_k‖ − m⁻)²`, summed over the K classes,
    averaged over the batch.

    Args:
        m_plus: the length that is long enough. Default 0.9.
        m_minus: the length that is short enough. Default 0.1.
        down_weight: λ, the weight of absent classes. Default 0.5.

    Call arguments:
        y_true: one-hot labels T, `(B, K)`; several classes may be there, and labels may be soft.
            Numbers outside of [0, 1] make the loss NaN.
        y_pred: lengths ‖v‖, `(B, K)`.

    Raises:
        UsageError: the labels have another shape; integers `(B,)` are for `SparseMarginLoss`.

    Example:

    >>> import numpy as np
    >>> T, v = np.array([[1.0, 0.0]], "float32"), np.array([[0.4, 0.3]], "float32")
    >>> round(float(MarginLoss()(T, v)), 6)     # (0.9 − 0.4)² + 0.5·(0.3 − 0.1)²
    0.27

    Source: Sabour, Frosst, Hinton: Dynamic routing between capsules, arXiv 1710.09829, eq. 4.
    """

    def __init__(self, m_plus=0.9, m_minus=0.1, down_weight=0.5, name="margin_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.m_plus = m_plus
        self.m_minus = m_minus
        self.down_weight = down_weight

    def call(self, y_true, y_pred):
        y_true = labels.multi_hot(
            y_true, y_pred, otherwise=", while integers are for `SparseMarginLoss`"
        )
        present = ops.square(ops.maximum(self.m_plus - y_pred, 0.0))
        absent = ops.square(ops.maximum(y_pred - self.m_minus, 0.0))
        return ops.sum(y_true * present + self.down_weight * (1.0 - y_true) * absent, axis=-1)

    def get_config(self):
        return {
            **super().get_config(),
            "m_plus": self.m_plus,
            "m_minus": self.m_minus,
            "down_weight": self.down_weight,
        }
