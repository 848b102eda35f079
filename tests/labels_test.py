"""Labels and targets of every shape that a user may have: the right number, or one sentence."""

import re

import keras
import numpy as np
import pytest

from tests import backend
from tfcaps import labels, losses
from tfcaps.errors import UsageError

LENGTHS = np.array([[0.5, 0.3, 0.05], [0.6, 0.1, 0.95]], "float32")
CLASSES = np.array([0, 2])
ONE_HOT = np.eye(3, dtype="float32")[CLASSES]
# (0.9 − 0.5)² + ½(0.3 − 0.1)², and ½(0.6 − 0.1)²
BY_HAND = [0.18, 0.125]


def each(loss: type, y_true, lengths=LENGTHS) -> np.ndarray:
    return backend.numpy(loss(reduction=None)(y_true, lengths))


class TestOneHot:
    @pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool"])
    def test_of_any_dtype(self, dtype):
        np.testing.assert_allclose(
            each(losses.MarginLoss, ONE_HOT.astype(dtype)), BY_HAND, rtol=1e-6
        )

    def test_several_classes_at_once(self):
        # 0.4² + 0.6² + 0 for the first: the last class is short enough
        several = np.array([[1, 1, 0], [0, 0, 0]])
        # and ½(0.5² + 0.85²) where there is none
        np.testing.assert_allclose(
            each(losses.MarginLoss, several), [0.16 + 0.36, 0.5 * (0.25 + 0.7225)], rtol=1e-6
        )

    def test_soft(self):
        soft = 0.8 * ONE_HOT + 0.1
        # first class 0.9·0.4² + 0.05·0.4², second 0.1·0.6² + 0.45·0.2², third 0.1·0.85²
        by_hand = 0.95 * 0.16 + 0.036 + 0.018 + 0.07225
        assert each(losses.MarginLoss, soft)[0] == pytest.approx(by_hand, rel=1e-5)

    @pytest.mark.parametrize("wrong", [-1.0, 2.0, np.nan])
    def test_numbers_outside_are_told(self, wrong):
        one_hot = ONE_HOT.copy()
        one_hot[0, 1] = wrong
        np.testing.assert_array_equal(np.isnan(each(losses.MarginLoss, one_hot)), [True, False])

    @pytest.mark.parametrize("shape", [(2,), (2, 1), (2, 4), (1, 3), (3,), (2, 3, 1)])
    def test_other_shapes(self, shape):
        sentence = (
            "Expected one-hot labels of shape (2, 3), while integers are for `SparseMarginLoss`. "
            f"Received: {shape}"
        )
        with pytest.raises(UsageError, match=re.escape(sentence)):
            losses.MarginLoss()(np.zeros(shape, "int64"), LENGTHS)


class TestIntegers:
    @pytest.mark.parametrize("dtype", ["int64", "uint8", "float32"])
    @pytest.mark.parametrize("shape", [(2,), (2, 1)])
    def test_as_one_hot(self, shape, dtype):
        classes = CLASSES.reshape(shape).astype(dtype)
        np.testing.assert_allclose(each(losses.SparseMarginLoss, classes), BY_HAND, rtol=1e-6)

    @pytest.mark.parametrize("wrong", [-1, 3, 0.5, np.nan])
    def test_what_is_no_class_is_told(self, wrong):
        classes = np.array([wrong, 2.0])
        actual = each(losses.SparseMarginLoss, classes)
        np.testing.assert_array_equal(np.isnan(actual), [True, False])

    @pytest.mark.parametrize("shape", [(2, 3), (2, 2), (3,), (1,), (), (2, 1, 1)])
    def test_other_shapes(self, shape):
        sentence = (
            "Expected integer labels of shape (2,) or (2, 1), while one-hot ones are for "
            f"`MarginLoss`. Received: {shape}"
        )
        with pytest.raises(UsageError, match=re.escape(sentence)):
            losses.SparseMarginLoss()(np.zeros(shape), LENGTHS)

    def test_of_places(self):
        lengths = np.stack([LENGTHS, LENGTHS[::-1]])
        classes = np.array([[0, 2], [2, 0]])
        np.testing.assert_allclose(
            each(losses.SparseMarginLoss, classes, lengths), [BY_HAND, BY_HAND[::-1]], rtol=1e-6
        )


class TestOneCapsule:
    LENGTHS = np.array([[0.5], [0.6]], "float32")

    @pytest.mark.parametrize("shape", [(2,), (2, 1)])
    def test_whether_it_is_there(self, shape):
        # 0.4², and ½·0.5²
        actual = each(losses.MarginLoss, np.array([1, 0]).reshape(shape), self.LENGTHS)
        np.testing.assert_allclose(actual, [0.16, 0.125], rtol=1e-6)

    @pytest.mark.parametrize("shape", [(2,), (2, 1)])
    def test_the_only_class_is_0(self, shape):
        actual = each(losses.SparseMarginLoss, np.array([0, 1]).reshape(shape), self.LENGTHS)
        np.testing.assert_allclose(actual[0], 0.16, rtol=1e-6)
        assert np.isnan(actual[1])


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_sample_weights(shape):
    weights = np.array([1.0, 3.0]).reshape(shape)
    for loss, y_true in ((losses.MarginLoss(), ONE_HOT), (losses.SparseMarginLoss(), CLASSES)):
        actual = backend.numpy(loss(y_true, LENGTHS, sample_weight=weights))
        np.testing.assert_allclose(actual, (0.18 + 3 * 0.125) / 2, rtol=1e-6)


class TestImages:
    def test_channel_may_be_missing(self):
        images, drawn = np.ones((2, 3, 4)), np.zeros((2, 3, 4, 1))
        np.testing.assert_allclose(each(losses.ReconstructionLoss, images, drawn), [12.0, 12.0])

    @pytest.mark.parametrize(
        "shape", [(2, 3, 4), (1, 3, 4, 2), (2, 3, 4, 1), (2, 4, 3, 2), (2, 24)]
    )
    def test_other_shapes(self, shape):
        with pytest.raises(UsageError) as caught:
            losses.ReconstructionLoss()(np.zeros(shape), np.zeros((2, 3, 4, 2)))
        assert str(caught.value) == (f"Expected images of shape (2, 3, 4, 2). Received: {shape}")


@pytest.mark.parametrize(
    ("loss", "targets", "predictions"),
    [
        (losses.MarginLoss, (0, 3), (0, 3)),
        (losses.SparseMarginLoss, (0,), (0, 3)),
        (losses.SparseMarginLoss, (0, 1), (0, 3)),
        (losses.ReconstructionLoss, (0, 4, 4, 1), (0, 4, 4, 1)),
    ],
)
def test_empty_batch_is_as_in_keras(loss, targets, predictions):
    for reduction in ("sum_over_batch_size", "sum", None):
        own = loss(reduction=reduction)(np.zeros(targets), np.zeros(predictions))
        keras_own = keras.losses.MeanSquaredError(reduction=reduction)(
            np.zeros((0, 3)), np.zeros((0, 3))
        )
        np.testing.assert_array_equal(backend.numpy(own), backend.numpy(keras_own))


def test_alike_keeps_the_dtype_of_the_predictions():
    y_pred = keras.ops.convert_to_tensor(LENGTHS.astype("float16"))
    targets = labels.alike(keras.ops.convert_to_tensor(ONE_HOT), y_pred, of="labels")
    assert keras.backend.standardize_dtype(targets.dtype) == "float16"
