"""Pawns on a checkerboard: all on light fields, or all on dark ones.

Each is a function (draws, labels, size) → pawns (n, K, 2), cameras (n, 4), and which images are
accepted, as `Board` has them.
"""

import functools

import numpy as np

from tfcaps.datasets.abstract_shapes.board import BASE, FIELDS
from tfcaps.datasets.abstract_shapes.draws import Problem, first_accepted

_ATTEMPTS = 300
# Sine of the elevation, and distance in fields: of a camera in its place, and of a moving one.
_RISE, _DISTANCE = 0.7, 12.0
_RISES, _DISTANCES = (0.55, 0.8), (13.0, 16.0)


def _fields(draws, labels, count: int):
    """Fields of the class's colour, no two of them neighbours, (n, count, 2)."""

    def propose(draws, rows):
        fields = draws.integers(0, FIELDS - 1, count, 2)
        right_colour = fields.sum(-1) % 2 == labels[rows][:, None]
        gaps = np.abs(fields[:, :, None] - fields[:, None]).max(-1)
        gaps += np.eye(count, dtype=int) * FIELDS
        return (fields,), right_colour.all(1) & (gaps >= 2).all((1, 2))

    (fields,), found = first_accepted(draws, propose, attempts=_ATTEMPTS)
    return fields, found


def _pawns(draws, labels, size, *, shapes=1, placed=False, moving=False):
    """Pawns in the middle of their fields, or anywhere in them, seen from one place or from any.

    Args:
        draws: of n images.
        labels: (n,), 1: on light fields.
        size: of the picture.
        shapes: how many pawns.
        placed: whether they stand anywhere in their fields.
        moving: whether the camera does.
    """
    del size
    fields, found = _fields(draws.branch(0), labels, shapes)
    # Their discs stay within the field.
    room = 0.5 - BASE if placed else 0.0
    pawns = fields + 0.5 + draws.branch(1).uniform(-room, room, shapes, 2)
    return pawns, _cameras(draws.branch(2), moving), found


def _cameras(draws, moving: bool) -> np.ndarray:
    if not moving:
        return np.broadcast_to([0.0, -1.0, _RISE, _DISTANCE], (len(draws), 4)).copy()
    rise, distance = draws.uniform(*_RISES), draws.uniform(*_DISTANCES)
    return np.concatenate([draws.directions(), np.stack([rise, distance], 1)], 1)


CHECKERBOARD: dict[str, Problem] = {
    "checkerboard": _pawns,
    "checkerboard_placed": functools.partial(_pawns, placed=True),
    "checkerboard_rotated": functools.partial(_pawns, placed=True, moving=True),
    "checkerboard_five": functools.partial(_pawns, shapes=5, placed=True),
    "checkerboard_five_rotated": functools.partial(_pawns, shapes=5, placed=True, moving=True),
}
