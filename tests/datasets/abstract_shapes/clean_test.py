"""Clean sets: what their classes have in common, computed from the geometry in float64."""

import dataclasses

import numpy as np
import pytest

from tfcaps.datasets import abstract_shapes
from tfcaps.datasets.abstract_shapes import twins

CLEAN = [name for name in abstract_shapes.names() if name.endswith("_clean")]
FLIPPED = [f"svrt_{number}_clean" for number in (1, 5, 6, 7, 10, 14, 15, 16, 17, 18, 22)]


def _areas(outlines: np.ndarray) -> np.ndarray:
    """The shoelace formula, (n, S)."""
    x, y = np.moveaxis(outlines.astype(np.float64), -1, 0)
    return np.abs((x * np.roll(y, -1, -1) - y * np.roll(x, -1, -1)).sum(-1)) / 2


def _lengths(outlines: np.ndarray) -> np.ndarray:
    steps = np.roll(outlines, -1, 2).astype(np.float64) - outlines
    return np.linalg.norm(steps, axis=-1).sum(-1)


def test_the_clean_problems():
    numbers = (1, 5, 6, 7, 10, 14, 15, 16, 17, 18, 19, 20, 21, 22)
    assert [f"svrt_{number}_clean" for number in numbers] == CLEAN


@pytest.mark.parametrize("task", FLIPPED)
def test_all_shapes_of_an_image_have_the_same_measures(task):
    outlines = abstract_shapes.layouts(task, 100).outlines
    boxes = np.ptp(outlines, axis=2)
    np.testing.assert_allclose(boxes, np.broadcast_to(boxes[:, :1], boxes.shape), atol=1e-4)
    for measured in (_areas(outlines), _lengths(outlines)):
        np.testing.assert_allclose(
            measured, np.broadcast_to(measured[:, :1], measured.shape), rtol=1e-4
        )


@pytest.mark.parametrize("task", ["svrt_19_clean", "svrt_21_clean"])
def test_shapes_of_any_scale_have_the_same_measures(task):
    outlines = abstract_shapes.layouts(task, 100).outlines
    compact = _areas(outlines) / _lengths(outlines) ** 2
    np.testing.assert_allclose(compact[:, 0], compact[:, 1], rtol=1e-4)


@pytest.mark.parametrize("task", CLEAN)
def test_places_have_one_distribution(task):
    layout = abstract_shapes.layouts(task, 2000, seed=8)
    measures = np.concatenate(
        [layout.centres.mean(1), layout.centres.std(1), np.ptp(layout.centres, axis=1)], 1
    )
    one, zero = measures[layout.labels == 1], measures[layout.labels == 0]
    error = np.sqrt(one.var(0) / len(one) + zero.var(0) / len(zero))
    assert (np.abs(one.mean(0) - zero.mean(0)) <= 4.5 * error + 1e-9).all()
    # Spreads of these measures as well: squared deviations from the common mean.
    squares = (measures - measures.mean(0)) ** 2
    one, zero = squares[layout.labels == 1], squares[layout.labels == 0]
    error = np.sqrt(one.var(0) / len(one) + zero.var(0) / len(zero))
    assert (np.abs(one.mean(0) - zero.mean(0)) <= 4.5 * error + 1e-9).all()


def test_copies_are_not_the_same_pixels():
    layout = abstract_shapes.layouts("svrt_1_clean", 200)
    ink = [
        dataclasses.replace(
            layout, outlines=layout.outlines[:, k : k + 1], centres=layout.centres[:, k : k + 1]
        )
        .render()
        .astype(bool)
        .sum((1, 2, 3))
        for k in (0, 1)
    ]
    same = (ink[0] == ink[1])[layout.labels == 1].mean()
    other = (ink[0] == ink[1])[layout.labels == 0].mean()
    # As rare in one class as in the other, within what 100 images tell
    assert same < 0.5
    assert abs(same - other) < 4 * np.sqrt(2 * 0.25 / 100)


def test_the_checker_sees_another_shape():
    layout = abstract_shapes.layouts("svrt_5_clean", 50)
    changed = layout.outlines.copy()
    changed[:, 0] *= 0.9
    moved = dataclasses.replace(layout, outlines=changed)
    assert (abstract_shapes.decide("svrt_5_clean", moved)[layout.labels == 1] == -1).all()


def test_the_checker_sees_that_a_square_is_none():
    layout = abstract_shapes.layouts("svrt_10_clean", 200)
    one = layout.labels == 1
    centres = layout.centres.copy()
    centres[:, 0] = (centres[:, 0] + centres.mean(1)) / 2
    moved = dataclasses.replace(layout, centres=centres)
    assert not (abstract_shapes.decide("svrt_10_clean", moved)[one] == 1).any()


def test_the_checker_sees_a_flip():
    layout = abstract_shapes.layouts("svrt_22_clean", 50)
    changed = layout.outlines.copy()
    changed[:, 1:] = changed[:, :1]
    copies = dataclasses.replace(layout, outlines=changed)
    assert (abstract_shapes.decide("svrt_22_clean", copies) == 1).all()
    changed = changed * np.array([[1, 1], [-1, 1], [1, -1]], np.float32)[:, None]
    flips = dataclasses.replace(layout, outlines=changed)
    assert (abstract_shapes.decide("svrt_22_clean", flips) == 0).all()


def test_boxes_that_fit():
    reach = np.full((1, 2, 2), 2.0)
    # Boxes from 1 to 5 and from 7 to 11: two pixels from line to line, one to the border.
    near = np.array([[[3.0, 3.0], [9.0, 3.0]]])
    assert twins._fit(near, reach, 13).tolist() == [True]
    assert twins._fit(near - [0.1, 0], reach, 13).tolist() == [False]
    assert twins._fit(near - [[0, 0], [0.1, 0]], reach, 13).tolist() == [False]
    assert twins._fit(near, reach, 12).tolist() == [False]


def test_flips_of_an_outline():
    points = np.array([[[1, 2], [3, 4], [5, 7]]], np.float32)
    flips = twins.flipped(points, np.array([[0, 1, 2, 3]]))
    expected = [[1, 2], [-1, 2], [1, -2], [-1, -2]]
    np.testing.assert_array_equal(flips[0, :, 0], expected)
