"""Checkerboards: what the renderer paints, compared with points that are projected by hand."""

import dataclasses

import numpy as np
import pytest

from tfcaps.datasets import abstract_shapes

TASKS = [name for name in abstract_shapes.names() if name.startswith("checkerboard")]


def _projected(camera, point, size) -> tuple[float, float]:
    """A pinhole camera by rotation matrices: about the vertical, then down."""
    cosine, sine, rise, distance = camera
    flat = np.sqrt(1 - rise**2)
    about = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    towards, aside, up = about @ (np.array(point) - [4, 4, 0])
    # The camera stands at (distance · flat, 0, distance · rise), and looks at the origin.
    ahead = distance - towards * flat - up * rise
    above = up * flat - towards * rise
    scale = 1.05 * size / ahead
    return (size - 1) / 2 + scale * aside, (size - 1) / 2 - scale * above


def _empty(layout):
    return dataclasses.replace(layout, pawns=np.full_like(layout.pawns, 1e3))


def test_names():
    assert [
        "checkerboard",
        *(f"checkerboard_{name}" for name in ("placed", "rotated", "five", "five_rotated")),
    ] == TASKS


@pytest.mark.parametrize("task", ["checkerboard", "checkerboard_rotated"])
def test_fields(task):
    layout = abstract_shapes.layouts(task, 8, size=256)
    images = _empty(layout).render()[..., 0]
    for image, camera in zip(images, layout.cameras, strict=True):
        greys = set()
        for x in range(8):
            for y in range(8):
                column, row = _projected(camera, (x + 0.5, y + 0.5, 0), 256)
                greys.add(((x + y) % 2, int(image[round(row), round(column)])))
        (dark,), (light,) = ([grey for odd, grey in greys if odd == kind] for kind in (0, 1))
        assert 35 <= dark <= 85
        assert 185 <= light <= 255


@pytest.mark.parametrize("task", TASKS)
def test_pawns_are_where_they_stand(task):
    layout = abstract_shapes.layouts(task, 20, size=256)
    differs = layout.render()[..., 0] != _empty(layout).render()[..., 0]
    for image, camera, pawns in zip(differs, layout.cameras, layout.pawns, strict=True):
        heads = [_projected(camera, (*pawn, 0.7), 256) for pawn in pawns]
        feet = [_projected(camera, (*pawn, 0.0), 256) for pawn in pawns]
        for column, row in heads:
            assert image[round(row), round(column)]
        # And nowhere else: all that differs is near some pawn's line from foot to head.
        middles = (np.array(heads) + feet) / 2
        rows, columns = np.nonzero(image)
        gaps = np.hypot(rows[:, None] - middles[:, 1], columns[:, None] - middles[:, 0]).min(1)
        assert gaps.max() < 0.8 * 1.05 * 256 / 7


def test_a_field_further_is_the_other_class():
    layout = abstract_shapes.layouts("checkerboard_placed", 100)
    pawns = layout.pawns.copy()
    pawns[..., 0] = (pawns[..., 0] + 1) % 8
    moved = dataclasses.replace(layout, pawns=pawns)
    np.testing.assert_array_equal(
        abstract_shapes.decide("checkerboard_placed", moved), 1 - layout.labels
    )


def test_between_two_fields_is_neither():
    layout = abstract_shapes.layouts("checkerboard", 20)
    moved = dataclasses.replace(layout, pawns=layout.pawns + np.array([0.5, 0]))
    assert (abstract_shapes.decide("checkerboard", moved) == -1).all()


def test_a_near_pawn_hides_a_far_one():
    layout = abstract_shapes.layouts("checkerboard_five", 1, size=256)
    # One right behind the other: the camera looks along y.
    near, far = [4.5, 2.0], [4.5, 2.4]
    rest = [[0.5, 7.5], [7.5, 7.5], [0.5, 0.5]]
    both = dataclasses.replace(layout, pawns=np.array([[far, near, *rest]])).render()
    alone = dataclasses.replace(layout, pawns=np.array([[near, near, *rest]])).render()
    column, row = _projected(layout.cameras[0], (*near, 0.7), 256)
    around = (slice(round(row) - 3, round(row) + 4), slice(round(column) - 3, round(column) + 4))
    np.testing.assert_array_equal(both[0][around], alone[0][around])
    assert (both != alone).any()


def test_pawns_stay_in_the_middle_unless_placed():
    assert (abstract_shapes.layouts("checkerboard", 50).pawns % 1 == 0.5).all()
    offsets = abstract_shapes.layouts("checkerboard_placed", 200).pawns % 1 - 0.5
    assert 0.15 < np.abs(offsets).max() <= 0.2
