"""Cross-entropy with smoothed labels, for integer labels."""

import keras
from keras import ops

from tfcaps import labels
from tfcaps.errors import UsageError


@keras.saving.register_keras_serializable(package="tfcaps")
class SmoothedCrossEntropy(keras.losses.Loss):
    """Cross-entropy of logits with labels of which a part is spread over all classes.

        L = −Σ_k p_k log softmax(y_pred)_k   with  p = (1 − ε) one_hot(y_true) + ε / K

    Keras' sparse loss has no ε, and its smoothed one wants one-hot labels.

    Args:
        smoothing: ε, in [0, 1). Default 0.1.
        name: Default "smoothed_cross_entropy".
        **kwargs: see `keras.losses.Loss`.

    Call arguments:
        y_true: classes from 0 to K − 1, `(B,)` or `(B, 1)`. Any other number, a fraction too, makes
            the loss NaN.
        y_pred: logits `(B, K)`.

    Raises:
        UsageError: ε is out of its range, or the labels have another shape.

    Example:

    >>> import numpy as np
    >>> logits = np.log([[0.8, 0.2]])
    >>> round(float(SmoothedCrossEntropy(0.5)(np.array([0]), logits)), 6)
    0.569717

    That is −0.75 log 0.8 − 0.25 log 0.2.

    Source: Szegedy et al., Rethinking the Inception architecture, arXiv 1512.00567, section 7.
    """

    def __init__(self, smoothing=0.1, name="smoothed_cross_entropy", **kwargs):
        if not 0 <= smoothing < 1:
            raise UsageError(f"Expected smoothing in [0, 1). Received: {smoothing}")
        super().__init__(name=name, **kwargs)
        self.smoothing = smoothing

    def call(self, y_true, y_pred):
        one_hot = labels.one_hot(y_true, y_pred)
        shares = (1.0 - self.smoothing) * one_hot + self.smoothing / y_pred.shape[-1]
        return -ops.sum(shares * ops.log_softmax(y_pred), axis=-1)

    def get_config(self):
        return {**super().get_config(), "smoothing": self.smoothing}
