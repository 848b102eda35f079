"""Cross-entropy with smoothed labels."""

import keras
import numpy as np
import pytest

from tests import backend
from tfcaps.errors import UsageError
from tfcaps.losses import SmoothedCrossEntropy

LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, -3.0]], "float32")
CLASSES = np.array([2, 1])


def by_hand(logits, classes, smoothing):
    logits = np.asarray(logits, "float64")
    logs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    shares = np.full(logits.shape, smoothing / logits.shape[1])
    shares[np.arange(len(classes)), classes] += 1 - smoothing
    return -(shares * logs).sum(axis=-1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_value(smoothing, shape):
    loss = SmoothedCrossEntropy(smoothing, reduction="none")
    actual = loss(CLASSES.reshape(shape), LOGITS)
    np.testing.assert_allclose(
        backend.numpy(actual), by_hand(LOGITS, CLASSES, smoothing), rtol=1e-5
    )


def test_without_smoothing_as_keras():
    expected = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(CLASSES, LOGITS)
    np.testing.assert_allclose(
        backend.numpy(SmoothedCrossEntropy(0.0)(CLASSES, LOGITS)),
        backend.numpy(expected),
        rtol=1e-6,
    )


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_bad_smoothing(smoothing):
    with pytest.raises(UsageError, match=r"smoothing in \[0, 1\)"):
        SmoothedCrossEntropy(smoothing)


def test_labels_of_another_shape():
    with pytest.raises(UsageError, match="integer labels of shape"):
        SmoothedCrossEntropy()(np.eye(3)[CLASSES], LOGITS)
