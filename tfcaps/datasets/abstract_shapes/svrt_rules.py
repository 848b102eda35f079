"""The definitions of the 23 problems, for layouts that are given: which class do they have?

Each is a function of a view, which says for each layout whether it is with the relation, and
whether it is without; it may be neither.
"""

from collections.abc import Callable

import numpy as np

from tfcaps.datasets.abstract_shapes.shapes import dilated
from tfcaps.datasets.abstract_shapes.view import ROUNDED, SAME, Verdict, View


def _copies(one: list[list[int]], zero: list[list[int]]) -> Callable[[View], Verdict]:
    """Groups of copies, different from group to group, for both classes."""

    def rule(view: View) -> Verdict:
        def holds(groups):
            good = view.none_same([group[0] for group in groups]) if len(groups) > 1 else True
            for group in groups:
                if len(group) > 1:
                    good = good & view.all_same(group)
            return good

        return holds(one), holds(zero)

    return rule


def _near_outline(view: View) -> Verdict:
    inside, _ = view.contains(0, 1)
    big, small = view.line(0), view.line(1)
    twice = dilated(dilated(big, diagonal=True), diagonal=True)
    return (
        inside & (twice & small).any((1, 2)),
        inside & view.farther(big, small, view.size // 8),
    )


def _contacts(view: View) -> Verdict:
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


def _contact(view: View) -> Verdict:
    big, medium = view.mask(0), view.mask(1)
    shared = (big & medium).sum((1, 2))
    return (shared >= 1) & (shared <= 4), view.farther(big, medium, view.size // 12)


def _distances(view: View) -> Verdict:
    difference = np.abs(view.distance(0, 1) - view.distance(2, 3))
    kinds = view.same(0, 1) & view.same(2, 3) & ~view.same(0, 2)
    return kinds & (difference < 2 * ROUNDED), kinds & (difference >= view.size / 6)


def _half_copy(view: View) -> Verdict:
    first, second = view.complex(0), view.complex(1)
    same = np.abs(first - 2 * second).max(1) < SAME
    inside, outside = view.contains(0, 1)
    return inside & same, (inside & ~same) | (outside & same)


def between(view: View, ends: tuple[int, int], third: int) -> np.ndarray:
    """Whether a position is on the segment between two others."""
    a, b, point = (view.position(k) for k in (*ends, third))
    u, v = b - a, point - a
    length = np.maximum(np.linalg.norm(u, axis=1), 1e-9)
    along, across = (u * v).sum(1) / length, np.abs(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]) / length
    return (across < ROUNDED) & (along > 0) & (along < length)


def _middle(view: View) -> Verdict:
    first, second = view.complex(0), view.complex(1)
    sizes = view.same(1, 2) & (np.abs(first - 2 * second).max(1) < SAME)
    at_end = between(view, (0, 1), 2) | between(view, (0, 2), 1)
    return sizes & at_end, sizes & between(view, (1, 2), 0)


def _is_square(view: View) -> np.ndarray:
    """Whether four positions, in order around it, are the corners of a square."""
    middle = view.centres.mean(1)
    spokes = [view.position(k) - middle for k in range(4)]
    errors = []
    for k in range(4):
        quarter = np.stack([-spokes[k][:, 1], spokes[k][:, 0]], 1)
        errors.append(np.abs(spokes[(k + 1) % 4] - quarter).max(1))
    return np.max(errors, axis=0) < ROUNDED


def _square(view: View) -> Verdict:
    copies, is_square = view.all_same([0, 1, 2, 3]), _is_square(view)
    return copies & is_square, copies & ~is_square


def _square_kinds(view: View) -> Verdict:
    is_square, members = _is_square(view), [0, 1, 2, 3]
    return is_square & view.all_same(members), is_square & view.none_same(members)


def _opposite(view: View) -> Verdict:
    apart = np.stack([view.distance(1, 2), view.distance(0, 2), view.distance(0, 1)], 1)
    return apart.argmin(1) == 0, apart.argmin(1) != 0


def _offsets(view: View) -> Verdict:
    kinds = view.same(0, 1) & view.same(2, 3)
    first = view.position(2) - view.position(0)
    second = view.position(3) - view.position(1)
    apart = np.linalg.norm(first - second, axis=1)
    return kinds & (apart == 0), kinds & (apart >= view.size / 4)


def line_or_not(view: View) -> Verdict:
    """Of three positions, whether the third is between the others, and whether none is near it."""
    gaps = []
    for ends, third in (((0, 1), 2), ((0, 2), 1), ((1, 2), 0)):
        a, b, point = (view.position(k) for k in (*ends, third))
        parts = np.linspace(0, 1, 513)[:, None, None]
        gaps.append(np.linalg.norm(a + parts * (b - a) - point, axis=-1).min(0))
    return between(view, (0, 1), 2), np.min(gaps, axis=0) >= view.size / 20


def _line(view: View) -> Verdict:
    one, zero = line_or_not(view)
    copies = view.all_same([0, 1, 2])
    return copies & one, copies & zero


def _line_kinds(view: View) -> Verdict:
    in_line = between(view, (0, 1), 2)
    return in_line & view.all_same([0, 1, 2]), in_line & view.none_same([0, 1, 2])


def _partners(view: View) -> tuple[np.ndarray, np.ndarray]:
    """Whether all positions, and whether all heights, are mirrored about the vertical mid-line."""
    left, right = view.centres[:, :3], view.centres[:, 3:]
    heights = (left[..., 1] == right[..., 1]).all(1)
    return heights & (left[..., 0] + right[..., 0] == view.size - 1).all(1), heights


def _mirrored_shapes(view: View) -> Verdict:
    places, _ = _partners(view)
    halves = view.all_same([0, 1, 2]) & view.all_same([3, 4, 5]) & places
    mirrored = np.abs(view.complex(0) + view.complex(3).conj()).max(1) < SAME
    return halves & mirrored, halves & view.same(0, 3)


def _mirrored_places(view: View) -> Verdict:
    places, heights = _partners(view)
    copies = view.all_same(range(6))
    return copies & places, copies & heights & ~places


def _equidistant(view: View) -> Verdict:
    kinds = view.all_same([0, 1, 2]) & ~view.same(0, 3)
    reach = np.stack([view.distance(k, 3) for k in range(3)], 1)
    equal = np.ptp(reach, axis=1) < ROUNDED
    return kinds & equal, kinds & ~equal


def _scaled(view: View) -> Verdict:
    same, factor = view.similar(0, 1)
    unturned = np.abs(factor.imag) < 1e-3 * np.abs(factor)
    return same & unturned, ~same


def _turned(view: View) -> Verdict:
    same, _ = view.similar(0, 1)
    return same, ~same


def mirror_image(view: View) -> np.ndarray:
    """Shape 0 as a mirror between the shapes 0 and 1 shows it, (n, P) complex."""
    across = view.position(1) - view.position(0)
    direction = across[:, 0] + 1j * across[:, 1]
    # Reflecting z so that the direction d becomes -d: -d²/|d|² · conj(z).
    return -((direction / np.abs(direction)) ** 2)[:, None] * view.complex(0).conj()


def _reflection(view: View) -> Verdict:
    same = np.abs(view.complex(1) - mirror_image(view)).max(1) < SAME
    return same, ~same & ~view.same(0, 1)


def _inside(view: View) -> Verdict:
    return view.contains(0, 1)


def _one_inside(view: View) -> Verdict:
    (in_a, out_a), (in_b, out_b) = view.contains(0, 1), view.contains(0, 2)
    return (in_a & out_b) | (out_a & in_b), (in_a & in_b) | (out_a & out_b)


SVRT_RULES = {
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
