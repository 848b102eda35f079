"""Labels in TensorFlow's graphs, where batches may be of any size."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.labels_test import BY_HAND, CLASSES, LENGTHS, ONE_HOT
from tfcaps import losses
from tfcaps.errors import UsageError


def traced(loss, *shapes):
    specs = [tf.TensorSpec(shape) for shape in shapes]
    return tf.function(loss(reduction=None), input_signature=specs)


@pytest.mark.parametrize("shape", [(None, 3), (None, None), None])
def test_one_hot(shape):
    loss = traced(losses.MarginLoss, shape, (None, 3))
    np.testing.assert_allclose(loss(ONE_HOT, LENGTHS), BY_HAND, rtol=1e-6)
    with pytest.raises(Exception, match="must match"):
        loss(ONE_HOT[:1], LENGTHS)


@pytest.mark.parametrize("shape", [(None,), (None, 1), None])
def test_integers(shape):
    loss = traced(losses.SparseMarginLoss, shape, (None, 3))
    classes = CLASSES.astype("float32").reshape([-1, *(shape or ())[1:]])
    np.testing.assert_allclose(loss(classes, LENGTHS), BY_HAND, rtol=1e-6)
    with pytest.raises(Exception, match=r"must match|requested shape has"):
        loss(classes[:1], LENGTHS)


def test_what_is_known_is_told_at_once():
    """And `fit` passes the sentence on as it is."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    model.compile("sgd", losses.MarginLoss())
    with pytest.raises(UsageError) as caught:
        model.fit(LENGTHS, ONE_HOT[:, :1], verbose=0)
    assert str(caught.value) == (
        "Expected one-hot labels of shape (B, 3), while integers are for `SparseMarginLoss`. "
        "Received: (B, 1)"
    )


def test_fit():
    """Two epochs with integer labels are two epochs with their one-hot ones."""
    histories = []
    for loss, targets in (("SparseMarginLoss", CLASSES), ("MarginLoss", ONE_HOT)):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
        model.compile("sgd", getattr(losses, loss)())
        history = model.fit(LENGTHS, targets, epochs=2, verbose=0)
        histories.append(history.history["loss"])
    np.testing.assert_allclose(*histories, rtol=1e-6)
