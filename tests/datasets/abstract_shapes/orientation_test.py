"""Orientation: one class is the other, turned by hand."""

import dataclasses

import numpy as np
import pytest

from tfcaps.datasets import abstract_shapes

FAMILIES = [name for name in abstract_shapes.names() if name.startswith("orientation")]


def test_names():
    assert [
        "orientation",
        *(
            f"orientation_{family}"
            for family in ("ellipses", "rough", "small", "large", "thin", "several")
        ),
    ] == FAMILIES


@pytest.mark.parametrize("task", FAMILIES)
def test_x_and_y_exchanged_are_the_other_class(task):
    layout = abstract_shapes.layouts(task, 50)
    turned = dataclasses.replace(
        layout, outlines=layout.outlines[..., ::-1], centres=layout.centres[..., ::-1]
    )
    np.testing.assert_array_equal(abstract_shapes.decide(task, turned), 1 - layout.labels)


@pytest.mark.parametrize("task", FAMILIES)
def test_a_shape_as_long_as_thick_is_neither(task):
    layout = abstract_shapes.layouts(task, 20)
    outlines = layout.outlines / np.ptp(layout.outlines, axis=2, keepdims=True) * 20
    assert (
        abstract_shapes.decide(task, dataclasses.replace(layout, outlines=outlines)) == -1
    ).all()


@pytest.mark.parametrize(
    ("task", "count", "shortest", "longest"),
    [
        ("orientation", 1, 32, 56),
        ("orientation_small", 1, 14, 24),
        ("orientation_large", 1, 68, 112),
        ("orientation_several", 4, 18, 32),
    ],
)
def test_lengths(task, count, shortest, longest):
    layout = abstract_shapes.layouts(task, 300, size=256)
    lengths = np.ptp(layout.outlines, axis=2).max(-1) / 2  # In pixels of 128×128 images
    assert lengths.shape == (300, count)
    assert shortest <= lengths.min() < shortest + 2
    assert longest - 2 < lengths.max() <= longest


def test_outlines_have_no_gaps():
    points = abstract_shapes.layouts("orientation_large", 20, size=256).outlines
    assert np.abs(np.roll(points, -1, 2) - points).max() <= 4
