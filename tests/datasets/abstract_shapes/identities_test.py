"""Identities: of shapes that are scaled, turned and mirrored by hand, and of tasks."""

import numpy as np
import pytest

from tfcaps.datasets import abstract_shapes

TRIANGLE = np.array([[1.0, 0.0], [-2.0, 1.0], [0.5, -3.0]])


def _identities(*shapes) -> abstract_shapes.Identities:
    outlines = np.stack(shapes)[None].astype(np.float32)
    layout = abstract_shapes.Layout(
        96, np.zeros(1, int), outlines, np.zeros((1, len(shapes), 2), int), np.zeros(1, np.uint64)
    )
    return layout.identities()


def test_shapes_made_by_hand():
    quarter = TRIANGLE[:, ::-1] * [-1, 1]  # (x, y) to (-y, x): a quarter from x towards y
    other = TRIANGLE * [1, 2]
    found = _identities(TRIANGLE, 3 * quarter, other, TRIANGLE * [1, -1], TRIANGLE * [-1, 1], other)
    assert found.kinds.tolist() == [[0, 0, 2, 0, 0, 2]]
    np.testing.assert_allclose(found.scales, [[1, 3, 1, 1, 1, 1]], rtol=1e-6)
    np.testing.assert_allclose(np.abs(found.rotations), [[0, np.pi / 2, 0, 0, np.pi, 0]], atol=1e-6)
    assert found.rotations[0, 1] > 0
    assert found.mirrored.tolist() == [[False, False, False, True, True, False]]


@pytest.mark.parametrize(
    ("task", "kinds"),
    [
        ("svrt_1", {1: [0, 0], 0: [0, 1]}),
        ("svrt_5", {1: [0, 0, 2, 2], 0: [0, 1, 2, 3]}),
        ("svrt_7", {1: [0, 0, 0, 3, 3, 3], 0: [0, 0, 2, 2, 4, 4]}),
        ("svrt_21", {1: [0, 0], 0: [0, 1]}),
        ("svrt_5_clean", {1: [0, 0, 0, 0], 0: [0, 0, 0, 0]}),
    ],
)
def test_kinds_of_tasks(task, kinds):
    layout = abstract_shapes.layouts(task, 60)
    found = layout.identities().kinds
    for label, expected in kinds.items():
        assert (found[layout.labels == label] == expected).all()


def test_scales_of_half_copies():
    layout = abstract_shapes.layouts("svrt_9", 40)
    np.testing.assert_allclose(layout.identities().scales, [[1, 0.5, 0.5]] * 40, rtol=1e-5)
