"""tf.data: the numbered images, in their order."""

import numpy as np
import pytest
import tensorflow as tf

from tfcaps.datasets import abstract_shapes
from tfcaps.errors import UsageError


def test_so_many_images(monkeypatch):
    from tfcaps.datasets.abstract_shapes import pipelines

    monkeypatch.setattr(pipelines, "_AT_ONCE", 4)
    options = {"seed": 3, "split": "validation", "rendering": "colour"}
    data = abstract_shapes.dataset("svrt_22", 10, **options)
    assert data.cardinality() == 10
    expected = abstract_shapes.generate("svrt_22", 10, **options)
    images, labels = next(iter(data.batch(20)))
    np.testing.assert_array_equal(images, expected.images)
    np.testing.assert_array_equal(labels, expected.labels)
    assert (images.dtype, labels.dtype) == (tf.uint8, tf.int64)


def test_without_an_end(monkeypatch):
    from tfcaps.datasets.abstract_shapes import pipelines

    monkeypatch.setattr(pipelines, "_AT_ONCE", 4)
    data = abstract_shapes.dataset("svrt_14", size=96, channels=3)
    assert data.cardinality() == tf.data.INFINITE_CARDINALITY
    images, _ = next(iter(data.batch(9)))
    assert images.shape == (9, 96, 96, 3)


def test_wrong_input():
    with pytest.raises(UsageError, match=r"number of images to be a positive integer. Received: 0"):
        abstract_shapes.dataset("svrt_1", 0)
    with pytest.raises(UsageError, match=r"Expected a split among .* Received: dev$"):
        abstract_shapes.dataset("svrt_1", split="dev")
    with pytest.raises(UsageError, match=r"Expected 3 to 7 shapes for odd_one_out, .*: 8$"):
        abstract_shapes.dataset("odd_one_out", shapes=8)


def test_number_of_shapes():
    images, _ = next(iter(abstract_shapes.dataset("odd_one_out", 3, shapes=6).batch(3)))
    expected = abstract_shapes.layouts("odd_one_out", 3, shapes=6)
    assert expected.outlines.shape[1] == 6
    np.testing.assert_array_equal(images, expected.render())
