"""Orientation: objects that lie, or that stand, and families of them to transfer to.

Each is a function as in `svrt`; one class is the other with x and y exchanged.
"""

import functools

import numpy as np

from tfcaps.datasets.abstract_shapes.contours import STEPS
from tfcaps.datasets.abstract_shapes.draws import Problem
from tfcaps.datasets.abstract_shapes.svrt import drawn
from tfcaps.datasets.abstract_shapes.twins import both, twins_anywhere

_ROUGH = (48, 16)  # the radii R and r of `outlines`, before it is stretched


def _rectangles(draws, half: np.ndarray, size: int, longest: float) -> np.ndarray:
    """Outlines with half sizes (n, S, 2), (n, S, P, 2), with as many points on each side."""
    count = _points(longest)
    part = np.arange(count) / count * 2 - 1
    one = np.ones(count)
    # Around: along the lower side, up, back, down.
    x = np.concatenate([part, one, -part, -one])
    y = np.concatenate([-one, part, one, -part])
    return half[:, :, None] * np.stack([x, y], -1)


def _points(longest: float) -> int:
    """How many of them a side of so many pixels needs, near enough for `dense`."""
    return int(np.ceil(longest / STEPS)) + 1


def _ellipses(draws, half: np.ndarray, size: int, longest: float) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 4 * _points(longest), endpoint=False)
    return half[:, :, None] * np.stack([np.cos(angles), np.sin(angles)], -1)


def _rough(draws, half: np.ndarray, size: int, longest: float) -> np.ndarray:
    """Outlines of `outlines`, stretched to these half sizes."""
    points = drawn(draws, half.shape[1], _ROUGH, size)
    low, high = points.min(2, keepdims=True), points.max(2, keepdims=True)
    return (2 * points - low - high) / (high - low) * half[:, :, None]


def _lying(draws, labels, size, *, shapes=1, long=(16, 28), thin=(0.2, 0.45), form=_rectangles):
    """Objects that are longer in x, or in y.

    Args:
        draws: of n images.
        labels: (n,), 1: in x.
        size: of the picture.
        shapes: how many.
        long: half their length, pixels of 128×128 images, from and to.
        thin: their thickness as a part of their length, from and to.
        form: which outlines they have.
    """
    more = draws.branch(0)
    half = more.uniform(*long, shapes) * size / 128
    half = np.stack([half, half * more.uniform(*thin, shapes)], -1)
    one = form(draws.branch(1), half, size, 2 * long[1] * size / 128).astype(np.float32)
    return twins_anywhere(draws.branch(2), labels, size, both(one[..., ::-1], one))


ORIENTATION: dict[str, Problem] = {
    "orientation": _lying,
    "orientation_ellipses": functools.partial(_lying, form=_ellipses),
    "orientation_rough": functools.partial(_lying, form=_rough),
    "orientation_small": functools.partial(_lying, long=(7, 12)),
    "orientation_large": functools.partial(_lying, long=(34, 56)),
    "orientation_thin": functools.partial(_lying, thin=(0.08, 0.15)),
    "orientation_several": functools.partial(_lying, shapes=4, long=(9, 16)),
}
