"""Layouts that are drawn for both classes at once, so that nothing but the relation differs.

Each image is drawn twice, with and without the relation, from the same random numbers, and it is
taken only if both fit. So no rejection makes the classes' sizes or places differ. Shapes that are
to differ are flips of each other: they have the same area, bounding box, number of corners and
length of line. Centres lie between the pixels, so that copies aren't the same pixels.
"""

import numpy as np

from tfcaps.datasets.abstract_shapes.contours import turned
from tfcaps.datasets.abstract_shapes.draws import Draws, first_accepted
from tfcaps.datasets.abstract_shapes.svrt import drawn

# Flips: bit 0 is that of x, bit 1 that of y, so one after the other is the exclusive or.
FLIPS = np.array([[1, 1], [-1, 1], [1, -1], [-1, -1]], np.float32)
MIRROR, TURN = 1, 3
# Centres are multiples of it (pixels): such sums are exact.
_GRAIN = 1 / 256
_GAP = 2  # Pixels from box to box: one white pixel between the lines, however they are rounded.
# Flips of a shape are somewhere so far apart, as a part of its radius R.
_DISTINCT = 1 / 6
_DISTINCT_TURNED = 0.19  # More, as only some angles are tried.
_FEW, _MANY = 16, 64  # So many points of two compared outlines are enough.
_ROTATIONS = 16
_SHAPE_ATTEMPTS = 200
# Shapes that don't fit at once are drawn anew sooner than that many places are tried.
_PLACE_ATTEMPTS, _FEW_ATTEMPTS = 12, 3
_ATTEMPTS = 100


def flipped(points: np.ndarray, flips: np.ndarray) -> np.ndarray:
    """Outlines (n, P, 2), flipped as numbers (n, …) say, (n, …, P, 2)."""
    factors = FLIPS[flips][..., None, :]
    return points.reshape(len(points), *(1,) * (flips.ndim - 1), *points.shape[1:]) * factors


def distance(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The largest distance of a point of one outline (n, P, 2) from another one's, (n,)."""
    few, many = (
        each[:, :: max(1, each.shape[1] // most)]
        for each, most in ((points, _FEW), (others, _MANY))
    )
    squares = np.square(few[:, :, None, 0] - many[:, None, :, 0])
    squares += np.square(few[:, :, None, 1] - many[:, None, :, 1])
    return np.sqrt(squares.min(2).max(1))


def both(zero: np.ndarray, one: np.ndarray) -> np.ndarray:
    """What the classes have, (n, …) each, in one array (n, 2, …)."""
    return np.stack([zero, one], 1)


def lopsided(draws: Draws, radii: tuple[float, float], size: int, *, largest=None, any_turn=False):
    """Outlines of which all four flips differ, (n, P, 2), with the middle of their box at 0.

    Args:
        draws: of n images.
        radii: R and r of `outlines`, pixels of 128×128 images.
        size: of the picture.
        largest: as for `outlines`.
        any_turn: they are also to differ from their mirror image however that is turned.
    """
    part = _DISTINCT_TURNED if any_turn else _DISTINCT
    least = np.float32(part * radii[0] * size / 128)

    def propose(draws, rows):
        points = drawn(draws, 1, radii, size, largest=largest)[:, 0]
        points -= ((points.max(1) + points.min(1)) / 2)[:, None]
        good = np.ones(len(rows), bool)
        for other in _images(points, any_turn):
            left = np.flatnonzero(good)
            good[left] = distance(points[left], other[left]) >= least
        return (points,), good

    (points,), found = first_accepted(draws, propose, attempts=_SHAPE_ATTEMPTS)
    return points, found


def _images(points: np.ndarray, any_turn: bool):
    if not any_turn:
        return [points * flip for flip in FLIPS[1:]]
    angles = np.arange(_ROTATIONS) * (2 * np.pi / _ROTATIONS)
    directions = np.stack([np.cos(angles), np.sin(angles)], -1).astype(np.float32)
    return [turned(points * FLIPS[MIRROR], direction) for direction in directions]


def orders(draws: Draws, count: int) -> np.ndarray:
    """A random order of 0 … count - 1 for each image, (n, count)."""
    return np.argsort(draws.uniform(0, 1, count), axis=1)


def _fit(centres: np.ndarray, reach: np.ndarray, size: int) -> np.ndarray:
    """Whether shapes with boxes centres ± reach, (m, S, 2), are in the picture, none touching."""
    good = ((centres - reach >= 1) & (centres + reach <= size - 2)).all((1, 2))
    for b in range(1, centres.shape[1]):
        for a in range(b):
            left = np.flatnonzero(good)
            gaps = np.abs(centres[left, a] - centres[left, b]) - reach[left, a] - reach[left, b]
            good[left] = gaps.max(1) >= _GAP
    return good


def scattered(draws: Draws, reach: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Places (n, S, 2) anywhere for boxes of half sizes `reach`, and for which images they fit."""
    n, count = reach.shape[:2]
    centres = np.zeros((n, count, 2))
    good = np.asarray((reach <= (size - 3) / 2).all((1, 2)))
    for shape in range(count):
        rows = np.flatnonzero(good)

        def propose(draws, pending, shape=shape, rows=rows):
            images = rows[pending]
            own = reach[images, shape]
            new = 1 + own + draws.uniform(0, 1, 2) * (size - 3 - 2 * own)
            free = np.ones(len(images), bool)
            for other in range(shape):
                apart = np.abs(new - centres[images, other]) - own - reach[images, other]
                free &= apart.max(1) >= _GAP + 2 * _GRAIN
            return (new,), free

        branch = draws.branch(shape).take(rows)
        (new,), found = first_accepted(branch, propose, attempts=_PLACE_ATTEMPTS)
        centres[rows, shape] = new
        good[rows[~found]] = False
    return centres, good


def twins(draws: Draws, labels, size: int, points: np.ndarray, propose, *, attempts=_ATTEMPTS):
    """The layouts of the class that each image has.

    Args:
        draws: of n images.
        labels: (n,).
        size: of the picture.
        points: (n, 2, S, P, 2): the outlines without and with the relation.
        propose: (draws, rows, reach (m, S, 2)) → the centres (m, 2, S, 2) for both, and which are
            possible, (m,).
        attempts: how often at most.

    Returns:
        The outlines (n, S, P, 2), the centres (n, S, 2), and for which images both classes fit.
    """
    reach = np.abs(points).max((1, 3)).astype(np.float64)

    def checked(draws, rows):
        centres, good = propose(draws, rows, reach[rows])
        centres = np.rint(centres / _GRAIN) * _GRAIN
        for kind in (0, 1):
            left = np.flatnonzero(good)
            good[left] = _fit(centres[left, kind], reach[rows[left]], size)
        return (centres,), good

    (centres,), found = first_accepted(draws, checked, attempts=attempts)
    each = np.arange(len(labels))
    return points[each, labels], centres[each, labels], found


def twins_anywhere(draws: Draws, labels, size: int, points: np.ndarray):
    """`twins` with free places, the same in both classes."""

    def propose(draws, rows, reach):
        centres, good = scattered(draws, reach, size)
        return np.stack([centres, centres], 1), good

    return twins(draws, labels, size, points, propose, attempts=_FEW_ATTEMPTS)
