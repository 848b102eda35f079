"""Those of the 23 problems whose classes can be drawn alike in all but the relation.

Each is a function as in `svrt`. What a definition leaves open is chosen so that counts, areas,
boxes, means and spreads are the same in both classes: see `twins` for shapes and rejections. Where
places make the class, either the shapes change places, or the shapes' x stay and their y are
exchanged; so all places along x, and all along y, are the same in both classes.
"""

import functools

import numpy as np

from tfcaps.datasets.abstract_shapes.contours import reflected, turned
from tfcaps.datasets.abstract_shapes.draws import Problem
from tfcaps.datasets.abstract_shapes.svrt import (
    SMALL,
    circumcentres,
    corners,
    in_line,
    segment_distances,
)
from tfcaps.datasets.abstract_shapes.twins import (
    MIRROR,
    both,
    flipped,
    lopsided,
    orders,
    twins,
    twins_anywhere,
)


def _kinds(draws, points, zero, one) -> np.ndarray:
    """Flips of outlines: equal numbers are the same flip, (n, 2, S, P, 2)."""
    order = orders(draws, 4)
    flips = np.stack([order[:, list(zero)], order[:, list(one)]], 1)
    return flipped(points, flips)


def same_or_not(draws, labels, size, *, zero: tuple, one: tuple, radii: tuple):
    """1, 5, 7: free places; the classes differ in which shapes are the same."""
    points, found = lopsided(draws.branch(0), radii, size)
    outlines = _kinds(draws.branch(1), points, zero, one)
    outlines, centres, good = twins_anywhere(draws.branch(2), labels, size, outlines)
    return outlines, centres, good & found


def arranged(draws, labels, size, *, zero: tuple, one: tuple, places):
    """Small flips of one outline where `places` (draws, size) → centres (m, 2, S, 2), good says."""
    points, found = lopsided(draws.branch(0), SMALL, size)
    outlines = _kinds(draws.branch(1), points, zero, one)

    def propose(draws, rows, reach):
        return places(draws, size)

    outlines, centres, good = twins(draws.branch(2), labels, size, outlines, propose)
    return outlines, centres, good & found


def _in_both(places, draws, size):
    """The same places in both classes."""
    centres = places(draws, size)
    return both(centres, centres), np.ones(len(centres), bool)


def _pairs(draws, size):
    """6: the same four places; which two of them are a pair makes the distances differ."""
    spokes = draws.uniform(0, size / 2)[:, None, None] * draws.directions(2)
    middles = draws.uniform(0, size, 2, 2)
    one = np.stack([middles - spokes, middles + spokes], 2).reshape(-1, 4, 2)
    zero = one[:, [0, 2, 1, 3]]
    lengths = np.linalg.norm(zero[:, 1::2] - zero[:, ::2], axis=-1)
    return both(zero, one), np.abs(lengths[:, 0] - lengths[:, 1]) >= size / 6 + 1


def _heights_exchanged(draws, one: np.ndarray) -> np.ndarray:
    """Places (m, S, 2) with their y in another order."""
    order = orders(draws, one.shape[1])
    zero = one.copy()
    zero[..., 1] = np.take_along_axis(one[..., 1], order, 1)
    return zero


_SQUARE = 0.25  # Half of the diagonal of a square of 10, as a part of the picture.


def _square(draws, size):
    """10: the corners of a square, or what becomes of them when their y are exchanged."""
    # Small ones: four that make no square reach farther, and corners of the picture would tell it.
    one = corners(draws, size, _SQUARE)
    zero = _heights_exchanged(draws, one)
    # In order around their middle, the spokes of a square are quarter turns of each other.
    spokes = zero - zero.mean(1, keepdims=True)
    around = np.argsort(np.arctan2(spokes[..., 1], spokes[..., 0]), axis=1)
    spokes = np.take_along_axis(spokes, around[..., None], 1)
    quarter = np.stack([-spokes[..., 1], spokes[..., 0]], -1)
    errors = np.linalg.norm(np.roll(spokes, -1, 1) - quarter, axis=-1).max(1)
    return both(zero, one), errors >= size / 12


def line_or_not(draws, size):
    """14: three in line, or what becomes of them when their y are exchanged."""
    one = in_line(draws, size)
    zero = _heights_exchanged(draws, one)
    return both(zero, one), (segment_distances(zero) >= size / 20 + 1).all(1)


def _equidistant(draws, size):
    """17: the odd one at the circumcentre of three copies, or one of them there in its place."""
    three = draws.uniform(0, size, 3, 2)
    middle = circumcentres(three)
    inside = (np.abs(middle) < size).all(1)
    one = np.concatenate([three, np.where(inside[:, None], middle, 0)[:, None]], 1)
    # Shape 3 is the odd one: it changes places with the first.
    zero = one[:, [3, 1, 2, 0]]
    off = np.linalg.norm(circumcentres(zero[:, :3]) - zero[:, 3], axis=1) >= size / 6 + 1
    gaps = np.abs(one[:, :, None] - one[:, None]).max(-1) + np.eye(4) * size
    return both(zero, one), inside & off & (gaps >= size / 6).all((1, 2))


def _mirrored(size, left: np.ndarray) -> np.ndarray:
    """Places (m, 3, 2), and those on the other side of the vertical mid-line, (m, 6, 2)."""
    return np.concatenate([left, left * [-1, 1] + [size - 1, 0]], 1)


def _mirrored_places(draws, size):
    """18: mirrored places, or the x of the partners exchanged."""
    # Multiples of a quarter of a pixel, so that sums are exact.
    one = _mirrored(size, draws.integers(0, 4 * (size - 1), 3, 2) / 4)
    zero = one.copy()
    order = orders(draws, 3)
    zero[:, 3:, 0] = np.take_along_axis(one[:, 3:, 0], order, 1)
    return both(zero, one), np.abs(zero - one).max((1, 2)) >= size / 8


def _mirrored_shapes(draws, labels, size):
    """16: three pairs in mirrored places; mirrored shapes in each, or in one alone.

    Half of the six shapes are mirrored in either class, so that the mean of x is the same.
    """
    points, found = lopsided(draws.branch(0), SMALL, size)
    more = draws.branch(1)
    first = more.integers(0, 3, 1)
    side = more.integers(0, 1, 3)
    one = np.concatenate([first ^ side, first ^ side ^ MIRROR], 1)
    # Of three pairs, one is of plain copies, one of mirrored ones, one is as before.
    role = orders(more, 3)
    left = np.where(role == 0, first, np.where(role == 1, first ^ MIRROR, one[:, :3]))
    right = np.where(role == 2, one[:, 3:], left)
    outlines = flipped(points, both(np.concatenate([left, right], 1), one))

    def propose(draws, rows, reach):
        centres = _mirrored(size, draws.uniform(0, size - 1, 3, 2))
        # Places that are mirrored to the last bit would give pixels that are mirrored as well.
        centres = centres + draws.uniform(-0.5, 0.5, 6, 2)
        return both(centres, centres), np.ones(len(rows), bool)

    outlines, centres, good = twins(draws.branch(2), labels, size, outlines, propose)
    return outlines, centres, good & found


def _scaled(draws, labels, size, *, turn: bool):
    """19, 21: one outline at two scales (21: and turned), or one of them mirrored."""
    points, found = lopsided(draws.branch(0), (10.5, 1), size, largest=42, any_turn=turn)
    more = draws.branch(1)
    first = more.integers(0, 3, 1)
    other = first ^ (MIRROR if turn else more.integers(1, 3, 1))
    one = np.concatenate([first, first], 1)
    outlines = flipped(points, both(np.concatenate([first, other], 1), one))
    scales = more.uniform(1, 4, 2).astype(np.float32)[:, None, :, None]
    directions = more.directions(2)[:, None] if turn else np.array([1, 0], np.float32)
    outlines = turned(outlines, scales * directions)
    outlines, centres, good = twins_anywhere(draws.branch(2), labels, size, outlines)
    return outlines, centres, good & found


def _reflection(draws, labels, size):
    """20: the second is the first one's image in a mirror between them, or that image turned."""
    points, found = lopsided(draws.branch(0), (16, 2), size)
    direction = draws.branch(1).directions()
    image = reflected(points, direction)
    one = np.stack([points, image], 1)
    outlines = both(one * np.array([1, -1], np.float32)[:, None, None], one)

    def propose(draws, rows, reach):
        half = draws.uniform(0, size / 2)[:, None] * direction[rows]
        middle = draws.uniform(0, size, 2)
        centres = np.stack([middle - half, middle + half], 1)
        return both(centres, centres), np.ones(len(rows), bool)

    outlines, centres, good = twins(draws.branch(2), labels, size, outlines, propose)
    return outlines, centres, good & found


_SAME, _DIFFERENT = (0, 0, 0, 0), (0, 1, 2, 3)
_OF_ONE_KIND = functools.partial(arranged, zero=_SAME, one=_SAME)
_TWO_PAIRS = (0, 0, 1, 1)
_SIX = (0,) * 6

CLEAN: dict[int, Problem] = {
    1: functools.partial(same_or_not, one=(0, 0), zero=(0, 1), radii=(26, 2.5)),
    5: functools.partial(same_or_not, one=_TWO_PAIRS, zero=_DIFFERENT, radii=(21, 2)),
    6: functools.partial(arranged, one=_TWO_PAIRS, zero=_TWO_PAIRS, places=_pairs),
    7: functools.partial(
        same_or_not, one=(0, 0, 0, 1, 1, 1), zero=(0, 0, 1, 1, 2, 2), radii=(21, 2)
    ),
    10: functools.partial(_OF_ONE_KIND, places=_square),
    14: functools.partial(arranged, zero=(0, 0, 0), one=(0, 0, 0), places=line_or_not),
    15: functools.partial(
        arranged, zero=_DIFFERENT, one=_SAME, places=functools.partial(_in_both, corners)
    ),
    16: _mirrored_shapes,
    17: functools.partial(arranged, zero=(0, 0, 0, 1), one=(0, 0, 0, 1), places=_equidistant),
    18: functools.partial(arranged, zero=_SIX, one=_SIX, places=_mirrored_places),
    19: functools.partial(_scaled, turn=False),
    20: _reflection,
    21: functools.partial(_scaled, turn=True),
    22: functools.partial(
        arranged, zero=(0, 1, 2), one=(0, 0, 0), places=functools.partial(_in_both, in_line)
    ),
}
