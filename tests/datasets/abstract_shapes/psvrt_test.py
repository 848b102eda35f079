"""Squares of bits: pixels and classes, compared with squares that are made by hand."""

import dataclasses

import numpy as np
import pytest

from tfcaps.datasets import abstract_shapes
from tfcaps.errors import UsageError

TASKS = [name for name in abstract_shapes.names() if name.startswith("psvrt")]


def _two(corners) -> abstract_shapes.Patterns:
    bits = np.zeros((1, 2, 4, 4), np.uint8)
    bits[0, :, 0, 1] = 1
    return abstract_shapes.Patterns(
        128, np.array([1]), bits, np.array([corners]), np.zeros(1, np.uint64)
    )


def test_names():
    assert TASKS == ["psvrt_same", "psvrt_same_four", "psvrt_arranged"]


def test_pixels():
    image = _two([[8, 16], [64, 80]]).render()[0, ..., 0]
    expected = np.full((128, 128), 128)
    for x, y in ((8, 16), (64, 80)):
        expected[y : y + 16, x : x + 16] = 0
        expected[y : y + 4, x + 4 : x + 8] = 255
    np.testing.assert_array_equal(image, expected)


def test_classes():
    lying, standing = _two([[8, 40], [64, 20]]), _two([[8, 20], [30, 90]])
    assert abstract_shapes.decide("psvrt_arranged", lying) == [1]
    assert abstract_shapes.decide("psvrt_arranged", standing) == [0]
    assert abstract_shapes.decide("psvrt_same", lying) == [1]
    other = lying.bits.copy()
    other[0, 1, 2, 2] = 1
    assert abstract_shapes.decide("psvrt_same", dataclasses.replace(lying, bits=other)) == [0]


def test_squares_that_overlap_or_leave_the_picture_are_neither():
    assert abstract_shapes.decide("psvrt_same", _two([[8, 40], [20, 40]])) == [-1]
    assert abstract_shapes.decide("psvrt_same", _two([[8, 40], [113, 40]])) == [-1]


@pytest.mark.parametrize("task", TASKS)
def test_squares_of_an_image_have_as_many_ones(task):
    counts = abstract_shapes.layouts(task, 200).bits.sum((2, 3), dtype=int)
    assert (counts == counts[:, :1]).all()
    assert len(np.unique(counts)) > 5


def test_another_rendering():
    with pytest.raises(UsageError, match=r"rendering outline of a task that has no .*: thick$"):
        abstract_shapes.generate("psvrt_same", 2, rendering="thick")


def test_another_kind_of_scene():
    layout = abstract_shapes.layouts("same", 2)
    with pytest.raises(UsageError, match=r"Expected a Patterns for psvrt_same. Received: a Layout"):
        abstract_shapes.decide("psvrt_same", layout)
