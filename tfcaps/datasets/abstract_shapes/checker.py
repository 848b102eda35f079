"""Decides the class of a layout from its geometry alone.

Nothing of how layouts are drawn is used: shapes are compared point by point, and masks, distances
and contacts are computed in the picture.
"""

from collections.abc import Callable

import numpy as np

from tfcaps.datasets.abstract_shapes.generator import problem_number
from tfcaps.datasets.abstract_shapes.layout import Layout
from tfcaps.datasets.abstract_shapes.shapes import Shapes, dilated, filled, marked

NEITHER = -1
_TOUCHING = (3, 11)  # Problems in which outlines meet.
_SAME = 1e-2  # Pixels: what float32 leaves between a shape and its copy.
_ROUNDED = 1.5  # Pixels: what two rounded positions leave of a distance.


def decide(task: str, layout: Layout) -> np.ndarray:
    """The classes of layouts.

    Args:
        task: whose definition decides.
        layout: n layouts; their labels are not looked at.

    Returns:
        int64 (n,): 1: with the relation, 0: without, -1: neither definition holds, or shapes touch
        or leave the picture where they must not.

    Raises:
        UsageError: the task is unknown.

    Example:

    >>> from tfcaps.datasets import abstract_shapes
    >>> layout = abstract_shapes.layouts("svrt_1", 10)
    >>> bool((abstract_shapes.decide("svrt_1", layout) == layout.labels).all())
    True
    """
    number = problem_number(task)
    pixels = Shapes(layout.outlines).pixels + layout.centres[:, :, None]
    whole = ((pixels >= 1) & (pixels <= layout.size - 2)).all((1, 2, 3))
    result = np.full(len(layout), NEITHER)
    if whole.any():
        view = _View(layout.size, layout.outlines[whole], layout.centres[whole])
        one, zero = _RULES[number](view)
        proper = view.outlines_are_apart() | (number in _TOUCHING)
        result[whole] = np.where(proper & (one != zero), one, NEITHER)
    return result


_Verdict = tuple[np.ndarray, np.ndarray]


class _View:
    """What can be read off the geometry of n layouts that lie in the picture."""

    def __init__(self, size: int, outlines: np.ndarray, centres: np.ndarray):
        self.size = size
        self.centres = centres
        self.outlines = outlines.astype(np.float64)
        self.shapes = Shapes(outlines)
        self.count = self.centres.shape[1]

    def position(self, k: int) -> np.ndarray:
        return self.centres[:, k].astype(np.float64)

    def distance(self, a: int, b: int) -> np.ndarray:
        return np.linalg.norm(self.position(a) - self.position(b), axis=1)

    def complex(self, k: int) -> np.ndarray:
        """A shape's points as numbers x + iy, (n, P)."""
        return self.outlines[:, k, :, 0] + 1j * self.outlines[:, k, :, 1]

    def same(self, a: int, b: int) -> np.ndarray:
        return np.abs(self.complex(a) - self.complex(b)).max(1) < _SAME

    def all_same(self, members) -> np.ndarray:
        return np.logical_and.reduce([self.same(members[0], k) for k in members[1:]])

    def none_same(self, members) -> np.ndarray:
        pairs = [(a, b) for a in members for b in members if a < b]
        return ~np.logical_or.reduce([self.same(a, b) for a, b in pairs])

    def similar(self, a: int, b: int) -> tuple[np.ndarray, np.ndarray]:
        """Whether b is a scaled and turned a, and the factor, a complex number."""
        first, second = self.complex(a), self.complex(b)
        factor = (second * first.conj()).sum(1) / (np.abs(first) ** 2).sum(1)
        return np.abs(second - factor[:, None] * first).max(1) < _SAME, factor

    def mask(self, k: int) -> np.ndarray:
        return filled(self.shapes.dense[:, k], self.centres[:, k], self.size)

    def line(self, k: int) -> np.ndarray:
        return marked(self.shapes.pixels[:, k] + self.centres[:, k, None], self.size)

    def contains(self, a: int, b: int) -> tuple[np.ndarray, np.ndarray]:
        """Whether b is inside a, and whether it is outside."""
        solid, line = self.mask(a), self.line(b)
        inside = ~(line & ~solid).any((1, 2))
        return inside, ~(line & solid).any((1, 2))

    def outlines_are_apart(self) -> np.ndarray:
        seen = np.zeros((len(self.centres), self.size, self.size), bool)
        good = np.ones(len(seen), bool)
        for k in range(self.count):
            line = self.line(k)
            good &= ~(seen & line).any((1, 2))
            seen |= dilated(line, diagonal=True)
        return good

    def farther(self, a: np.ndarray, b: np.ndarray, steps: int) -> np.ndarray:
        """Whether so many steps to the neighbours don't lead from mask a to mask b."""
        for _ in range(steps):
            a = dilated(a, diagonal=False)
        return ~(a & b).any((1, 2))


def _copies(one: list[list[int]], zero: list[list[int]]) -> Callable[[_View], _Verdict]:
    """Groups of copies, different from group to group, for both classes."""

    def rule(view: _View) -> _Verdict:
        def holds(groups):
            good = view.none_same([group[0] for group in groups]) if len(groups) > 1 else True
            for group in groups:
                if len(group) > 1:
                    good = good & view.all_same(group)
            return good

        return holds(one), holds(zero)

    return rule


def _near_outline(view: _View) -> _Verdict:
    inside, _ = view.contains(0, 1)
    big, small = view.line(0), view.line(1)
    twice = dilated(dilated(big, diagonal=True), diagonal=True)
    return (
        inside & (twice & small).any((1, 2)),
        inside & view.farther(big, small, view.size // 8),
    )


def _contacts(view: _View) -> _Verdict:
    masks = [view.mask(k) for k in range(4)]
    shared = {(a, b): (masks[a] & masks[b]).sum((1, 2)) for a in range(4) for b in range(a + 1, 4)}

    def apart(first, second):
        return view.farther(
            np.logical_or.reduce([masks[k] for k in first]),
            np.logical_or.reduce([masks[k] for k in second]),
            view.size // 8,
        )

    def touching(pixels):
        return (pixels >= 1) & (pixels <= 3)

    pairs = touching(shared[0, 1]) & touching(shared[2, 3]) & apart([0, 1], [2, 3])
    third = (masks[2] & (masks[0] | masks[1])).sum((1, 2))
    return pairs, touching(shared[0, 1]) & touching(third) & apart([0, 1, 2], [3])


def _contact(view: _View) -> _Verdict:
    big, medium = view.mask(0), view.mask(1)
    shared = (big & medium).sum((1, 2))
    return (shared >= 1) & (shared <= 4), view.farther(big, medium, view.size // 12)


def _distances(view: _View) -> _Verdict:
    difference = np.abs(view.distance(0, 1) - view.distance(2, 3))
    kinds = view.same(0, 1) & view.same(2, 3) & ~view.same(0, 2)
    return kinds & (difference < 2 * _ROUNDED), kinds & (difference >= view.size / 6)


def _half_copy(view: _View) -> _Verdict:
    first, second = view.complex(0), view.complex(1)
    same = np.abs(first - 2 * second).max(1) < _SAME
    inside, outside = view.contains(0, 1)
    return inside & same, (inside & ~same) | (outside & same)


def _between(view: _View, ends: tuple[int, int], third: int) -> np.ndarray:
    """Whether a position is on the segment between two others."""
    a, b, point = (view.position(k) for k in (*ends, third))
    u, v = b - a, point - a
    length = np.maximum(np.linalg.norm(u, axis=1), 1e-9)
    along, across = (u * v).sum(1) / length, np.abs(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]) / length
    return (across < _ROUNDED) & (along > 0) & (along < length)


def _middle(view: _View) -> _Verdict:
    first, second = view.complex(0), view.complex(1)
    sizes = view.same(1, 2) & (np.abs(first - 2 * second).max(1) < _SAME)
    at_end = _between(view, (0, 1), 2) | _between(view, (0, 2), 1)
    return sizes & at_end, sizes & _between(view, (1, 2), 0)


def _is_square(view: _View) -> np.ndarray:
    """Whether four positions, in order around it, are the corners of a square."""
    middle = view.centres.mean(1)
    spokes = [view.position(k) - middle for k in range(4)]
    errors = []
    for k in range(4):
        quarter = np.stack([-spokes[k][:, 1], spokes[k][:, 0]], 1)
        errors.append(np.abs(spokes[(k + 1) % 4] - quarter).max(1))
    return np.max(errors, axis=0) < _ROUNDED


def _square(view: _View) -> _Verdict:
    copies, is_square = view.all_same([0, 1, 2, 3]), _is_square(view)
    return copies & is_square, copies & ~is_square


def _square_kinds(view: _View) -> _Verdict:
    is_square, members = _is_square(view), [0, 1, 2, 3]
    return is_square & view.all_same(members), is_square & view.none_same(members)


def _opposite(view: _View) -> _Verdict:
    apart = np.stack([view.distance(1, 2), view.distance(0, 2), view.distance(0, 1)], 1)
    return apart.argmin(1) == 0, apart.argmin(1) != 0


def _offsets(view: _View) -> _Verdict:
    kinds = view.same(0, 1) & view.same(2, 3)
    first = view.position(2) - view.position(0)
    second = view.position(3) - view.position(1)
    apart = np.linalg.norm(first - second, axis=1)
    return kinds & (apart == 0), kinds & (apart >= view.size / 4)


def _line(view: _View) -> _Verdict:
    copies = view.all_same([0, 1, 2])
    gaps = []
    for ends, third in (((0, 1), 2), ((0, 2), 1), ((1, 2), 0)):
        a, b, point = (view.position(k) for k in (*ends, third))
        parts = np.linspace(0, 1, 513)[:, None, None]
        gaps.append(np.linalg.norm(a + parts * (b - a) - point, axis=-1).min(0))
    far = np.min(gaps, axis=0) >= view.size / 20
    return copies & _between(view, (0, 1), 2), copies & far


def _line_kinds(view: _View) -> _Verdict:
    in_line = _between(view, (0, 1), 2)
    return in_line & view.all_same([0, 1, 2]), in_line & view.none_same([0, 1, 2])


def _partners(view: _View) -> tuple[np.ndarray, np.ndarray]:
    """Whether all positions, and whether all heights, are mirrored about the vertical mid-line."""
    left, right = view.centres[:, :3], view.centres[:, 3:]
    heights = (left[..., 1] == right[..., 1]).all(1)
    return heights & (left[..., 0] + right[..., 0] == view.size - 1).all(1), heights


def _mirrored_shapes(view: _View) -> _Verdict:
    places, _ = _partners(view)
    halves = view.all_same([0, 1, 2]) & view.all_same([3, 4, 5]) & places
    mirrored = np.abs(view.complex(0) + view.complex(3).conj()).max(1) < _SAME
    return halves & mirrored, halves & view.same(0, 3)


def _mirrored_places(view: _View) -> _Verdict:
    places, heights = _partners(view)
    copies = view.all_same(range(6))
    return copies & places, copies & heights & ~places


def _equidistant(view: _View) -> _Verdict:
    kinds = view.all_same([0, 1, 2]) & ~view.same(0, 3)
    reach = np.stack([view.distance(k, 3) for k in range(3)], 1)
    equal = np.ptp(reach, axis=1) < _ROUNDED
    return kinds & equal, kinds & ~equal


def _scaled(view: _View) -> _Verdict:
    same, factor = view.similar(0, 1)
    unturned = np.abs(factor.imag) < 1e-3 * np.abs(factor)
    return same & unturned, ~same


def _turned(view: _View) -> _Verdict:
    same, _ = view.similar(0, 1)
    return same, ~same


def _reflection(view: _View) -> _Verdict:
    across = view.position(1) - view.position(0)
    direction = across[:, 0] + 1j * across[:, 1]
    # Reflecting z so that the direction d becomes -d: -d²/|d|² · conj(z).
    image = -((direction / np.abs(direction)) ** 2)[:, None] * view.complex(0).conj()
    same = np.abs(view.complex(1) - image).max(1) < _SAME
    return same, ~same & ~view.same(0, 1)


def _inside(view: _View) -> _Verdict:
    return view.contains(0, 1)


def _one_inside(view: _View) -> _Verdict:
    (in_a, out_a), (in_b, out_b) = view.contains(0, 1), view.contains(0, 2)
    return (in_a & out_b) | (out_a & in_b), (in_a & in_b) | (out_a & out_b)


_RULES = {
    1: _copies([[0, 1]], [[0], [1]]),
    2: _near_outline,
    3: _contacts,
    4: _inside,
    5: _copies([[0, 1], [2, 3]], [[0], [1], [2], [3]]),
    6: _distances,
    7: _copies([[0, 1, 2], [3, 4, 5]], [[0, 1], [2, 3], [4, 5]]),
    8: _half_copy,
    9: _middle,
    10: _square,
    11: _contact,
    12: _opposite,
    13: _offsets,
    14: _line,
    15: _square_kinds,
    16: _mirrored_shapes,
    17: _equidistant,
    18: _mirrored_places,
    19: _scaled,
    20: _reflection,
    21: _turned,
    22: _line_kinds,
    23: _one_inside,
}
