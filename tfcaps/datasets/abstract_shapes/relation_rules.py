"""The definitions of the single relations, for layouts that are given: which class do they have?"""

import numpy as np

from tfcaps.datasets.abstract_shapes.svrt_rules import line_or_not
from tfcaps.datasets.abstract_shapes.view import ROUNDED, SAME, Verdict, View

_LARGER = 1.3  # Times: less of a difference in height is neither class.
_LONGER = 2.0  # Times: what is shorter neither lies nor stands.


def _same(view: View) -> Verdict:
    return view.same(0, 1), view.different(0, 1)


def _mirrored(view: View) -> Verdict:
    image = -view.complex(0).conj()
    apart = view.distance_of(view.complex(0), image) >= ROUNDED
    return apart & (view.distance_of(view.complex(1), image) < SAME), apart & view.same(0, 1)


def _inside(view: View) -> Verdict:
    (in_a, out_a), (in_b, out_b) = view.contains(0, 2), view.contains(1, 2)
    return (in_a & out_b) | (out_a & in_b), out_a & out_b


def _touching(view: View) -> Verdict:
    first, second = view.mask(0), view.mask(1)
    shared = (first & second).sum((1, 2))
    return (shared >= 1) & (shared <= 3), view.farther(first, second, view.size // 32)


def _aligned(view: View) -> Verdict:
    different = view.all_different([0, 1, 2])
    one, zero = line_or_not(view)
    return different & one, different & zero


def _larger(view: View) -> Verdict:
    heights = [np.ptp(view.complex(k).imag, axis=1) for k in (0, 1)]
    ratio = heights[0] / heights[1]
    first_is_left = view.position(0)[:, 0] < view.position(1)[:, 0]
    left = np.where(first_is_left, ratio, 1 / ratio)
    return left >= _LARGER, left <= 1 / _LARGER


def _symmetric(view: View) -> Verdict:
    apart = view.distance_of(view.complex(0), -view.complex(0).conj())
    return apart < SAME, apart >= ROUNDED


def _odd_one_out(view: View) -> Verdict:
    last = view.count - 1
    alike = view.all_same(range(last))
    return alike & view.different(0, last), alike & view.same(0, last)


def lies(view: View) -> Verdict:
    """Whether all shapes are longer in x, or all in y, by their boxes."""
    boxes = np.ptp(view.outlines, axis=2)
    ratios = boxes[..., 0] / boxes[..., 1]
    return (ratios >= _LONGER).all(1), (ratios <= 1 / _LONGER).all(1)


RELATION_RULES = {
    "same": _same,
    "mirrored": _mirrored,
    "inside": _inside,
    "touching": _touching,
    "aligned": _aligned,
    "larger": _larger,
    "symmetric": _symmetric,
    "odd_one_out": _odd_one_out,
}
