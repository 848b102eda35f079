"""Masks of capsules, by hand."""

import numpy as np
import pytest

from tests import backend
from tfcaps import layers
from tfcaps.errors import UsageError

CAPSULES = np.array(
    [[[3.0, 4.0], [0.0, 6.0], [1.0, 1.0]], [[-2.0, -1.0], [1.0, 1.0], [0.0, 2.0]]], "float32"
)


def mask(**arguments) -> np.ndarray:
    return backend.numpy(layers.CapsuleMask()(CAPSULES, **arguments))


def kept(*indices: int) -> np.ndarray:
    expected = np.zeros_like(CAPSULES)
    for sample, index in enumerate(indices):
        expected[sample, index] = CAPSULES[sample, index]
    return expected


def test_longest_without_label():
    """Lengths 5, 6, 1.4 and 2.2, 1.4, 2."""
    np.testing.assert_array_equal(mask(), kept(1, 0))


def test_label():
    one_hot = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]], "float32")
    np.testing.assert_array_equal(mask(label=one_hot), kept(2, 1))


def test_unknown_labels_row_by_row():
    one_hot = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]], "float32")
    np.testing.assert_array_equal(mask(label=one_hot), kept(2, 0))
    np.testing.assert_array_equal(mask(label=np.zeros((2, 3), "int64")), kept(1, 0))


def test_equal_lengths_keep_just_one():
    capsules = np.ones((1, 3, 2), "float32")
    assert np.sum(backend.numpy(layers.CapsuleMask()(capsules))) == 2.0


@pytest.mark.parametrize("shape", [(2,), (2, 1), (1, 3), (2, 4)])
def test_label_of_another_shape(shape):
    with pytest.raises(UsageError) as caught:
        mask(label=np.zeros(shape, "float32"))
    assert f"Expected one-hot labels of shape (2, 3). Received: {shape}" in str(caught.value)


def test_numbers_that_are_no_shares_are_told():
    one_hot = np.array([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]], "float32")
    masked = mask(label=one_hot)
    assert np.isnan(masked[0, 1]).all()
    np.testing.assert_array_equal(masked[1], kept(0, 1)[1])
