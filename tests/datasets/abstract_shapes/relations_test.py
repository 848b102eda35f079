"""Single relations: the checker follows when a relation is taken away by hand."""

import dataclasses

import numpy as np
import pytest

from tfcaps.datasets import abstract_shapes

RELATIONS = (
    *("same", "mirrored", "inside", "touching"),
    *("aligned", "larger", "symmetric", "odd_one_out"),
)
FLIP = np.array([-1, 1], np.float32)


def _with(task, count=60):
    """Layouts with the relation, of which each test takes it away."""
    layout = abstract_shapes.layouts(task, 2 * count, seed=5)
    rows = np.flatnonzero(layout.labels == 1)[: count // 2]
    return dataclasses.replace(
        layout,
        **{name: getattr(layout, name)[rows] for name in ("labels", "outlines", "centres", "keys")},
    )


def _decided(task, layout, **changes):
    return abstract_shapes.decide(task, dataclasses.replace(layout, **changes)).tolist()


def test_names():
    assert tuple(n for n in abstract_shapes.names() if n in RELATIONS) == RELATIONS


@pytest.mark.parametrize(
    ("task", "other"), [("same", 0), ("mirrored", -1), ("odd_one_out", -1), ("symmetric", 1)]
)
def test_a_flipped_shape(task, other):
    layout = _with(task)
    outlines = layout.outlines.copy()
    outlines[:, 0] *= FLIP
    decided = _decided(task, layout, outlines=outlines)
    # The flip of one of two mirrored shapes is a copy: without the relation.
    expected = {"mirrored": 0}.get(task, other)
    assert decided == [expected] * len(layout)


def test_copies_have_no_odd_one():
    layout = _with("odd_one_out")
    outlines = np.repeat(layout.outlines[:, :1], 4, axis=1)
    assert _decided("odd_one_out", layout, outlines=outlines) == [0] * len(layout)


def test_exchanged_places_make_the_right_one_larger():
    layout = _with("larger")
    decided = _decided("larger", layout, centres=layout.centres[:, ::-1])
    # Where the large one still is in the picture
    assert set(decided) <= {0, -1}
    assert decided.count(0) > len(layout) // 2


def test_a_shape_half_a_picture_away_is_not_inside():
    layout = _with("inside")
    centres = layout.centres.copy()
    centres[:, 2] = (centres[:, 2] + 64) % 128
    decided = _decided("inside", layout, centres=centres)
    assert set(decided) <= {0, -1, 1}
    assert decided.count(0) > len(layout) // 2


def test_shapes_on_each_other_are_neither():
    layout = _with("touching")
    centres = np.repeat(layout.centres[:, :1], 2, axis=1)
    assert _decided("touching", layout, centres=centres) == [-1] * len(layout)


def test_shapes_far_from_each_other_do_not_touch():
    layout = _with("touching")
    centres = layout.centres.copy()
    # Into the opposite corner of the picture: at least 128 - 2 · 48 px from where the other is.
    first, last = (layout.outlines[:, 1].min(1), layout.outlines[:, 1].max(1))
    low, high = np.ceil(1 - first), np.floor(126 - last)
    centres[:, 1] = np.where(centres[:, 0] > 64, low, high).astype(int)
    decided = _decided("touching", layout, centres=centres)
    assert set(decided) <= {0, -1}
    assert decided.count(0) > len(layout) // 2


def test_a_moved_end_is_not_in_line():
    layout = _with("aligned")
    centres = layout.centres.copy()
    along = centres[:, 1] - centres[:, 0]
    across = np.stack([-along[:, 1], along[:, 0]], 1) / np.linalg.norm(along, axis=1)[:, None]
    centres[:, 2] += 12 * across
    assert 1 not in _decided("aligned", layout, centres=centres)


def test_classes_have_the_same_sizes():
    layout = abstract_shapes.layouts("symmetric", 400, seed=2)
    boxes = np.ptp(layout.outlines[:, 0], axis=1)
    one, zero = boxes[layout.labels == 1], boxes[layout.labels == 0]
    error = np.sqrt(one.var(0) / len(one) + zero.var(0) / len(zero))
    assert (np.abs(one.mean(0) - zero.mean(0)) < 4 * error).all()
