"""The definitions of the clean sets, for layouts that are given: which class do they have?

Shapes are different only if their outlines are, whichever points these have; distances between
shapes are compared without any order of the shapes.
"""

import numpy as np

from tfcaps.datasets.abstract_shapes.svrt_rules import SVRT_RULES, between, mirror_image
from tfcaps.datasets.abstract_shapes.view import ROUNDED, SAME, Verdict, View

_DIFFERENT = 1.25  # Pixels at the best angle; more would leave few shapes.
# Several angles at which an outline is compared with another one; radians.
_TURNS = np.arange(64) * (2 * np.pi / 64)


def _copies(one: list[list[int]], zero: list[list[int]]):
    """Groups of copies, different from group to group."""

    def holds(view, groups):
        good = np.ones(len(view.centres), bool)
        for group in groups:
            if len(group) > 1:
                good &= view.all_same(group)
        return (
            good & view.all_different([group[0] for group in groups]) if len(groups) > 1 else good
        )

    def rule(view: View) -> Verdict:
        return holds(view, one), holds(view, zero)

    return rule


def _is_square(view: View) -> np.ndarray:
    """Whether four positions are the corners of a square: four sides, and two diagonals."""
    apart = [view.distance(a, b) for a in range(4) for b in range(a + 1, 4)]
    lengths = np.sort(np.stack(apart, 1), axis=1)
    sides = np.ptp(lengths[:, :4], axis=1) < ROUNDED
    diagonals = np.abs(lengths[:, 4:] - np.sqrt(2) * lengths[:, :1]).max(1) < ROUNDED
    return sides & diagonals


def _square(view: View) -> Verdict:
    copies, is_square = view.all_same([0, 1, 2, 3]), _is_square(view)
    return copies & is_square, copies & ~is_square


def _square_kinds(view: View) -> Verdict:
    is_square, members = _is_square(view), [0, 1, 2, 3]
    return is_square & view.all_same(members), is_square & view.all_different(members)


def _line_kinds(view: View) -> Verdict:
    in_line, members = between(view, (0, 1), 2), [0, 1, 2]
    return in_line & view.all_same(members), in_line & view.all_different(members)


def _distances(view: View) -> Verdict:
    one, zero = SVRT_RULES[6](view)
    return one & view.different(0, 2), zero & view.different(0, 2)


def _equidistant(view: View) -> Verdict:
    one, zero = SVRT_RULES[17](view)
    return one & view.different(0, 3), zero & view.different(0, 3)


def _mirrored_shapes(view: View) -> Verdict:
    """All partners are mirror images; or one pair is, and two are of copies."""
    left, right = view.centres[:, :3], view.centres[:, 3:]
    # x + x' = size - 1, and y = y'.
    places = np.abs(left + right * [1, -1] - [view.size - 1, 0]).max((1, 2)) < ROUNDED
    mirrored, copied = [], []
    for k in range(3):
        image = -view.complex(k).conj()
        mirrored.append(view.distance_of(view.complex(k + 3), image) < SAME)
        copied.append(view.same(k, k + 3) & (view.distance_of(view.complex(k), image) >= ROUNDED))
    mirrored, copied = np.sum(mirrored, axis=0), np.sum(copied, axis=0)
    return places & (mirrored == 3), places & (mirrored == 1) & (copied == 2)


def _similar(view: View, *, turned: bool) -> Verdict:
    """The same at two scales, and turned; or not so, at any angle that may be."""
    same, factor = view.similar(0, 1)
    if not turned:
        same &= np.abs(factor - np.abs(factor)) < 1e-3 * np.abs(factor)
    first, second = view.complex(0), view.complex(1)
    # Boxes turn, lengths don't: they give the scale.
    lengths = [np.abs(np.diff(each, axis=1)).sum(1) for each in (first, second)]
    scaled = first * (lengths[1] / lengths[0])[:, None]
    nearest = np.full(len(first), np.inf)
    for angle in _TURNS if turned else [0.0]:
        nearest = np.minimum(nearest, view.distance_of(scaled * np.exp(1j * angle), second))
    return same, ~same & (nearest >= _DIFFERENT)


def _reflection(view: View) -> Verdict:
    image = mirror_image(view)
    apart = view.distance_of(view.complex(1), image)
    return apart < SAME, apart >= ROUNDED


CLEAN_RULES = {
    1: _copies([[0, 1]], [[0], [1]]),
    5: _copies([[0, 1], [2, 3]], [[0], [1], [2], [3]]),
    6: _distances,
    7: _copies([[0, 1, 2], [3, 4, 5]], [[0, 1], [2, 3], [4, 5]]),
    10: _square,
    14: SVRT_RULES[14],
    15: _square_kinds,
    16: _mirrored_shapes,
    17: _equidistant,
    18: SVRT_RULES[18],
    19: lambda view: _similar(view, turned=False),
    20: _reflection,
    21: lambda view: _similar(view, turned=True),
    22: _line_kinds,
}
