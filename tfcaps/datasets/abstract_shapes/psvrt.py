"""Squares of bits: the same or not, side by side or one above the other.

Each is a function (draws, labels, size) → bits (n, S, 4, 4), corners (n, S, 2), and which images
are accepted. Squares that differ have the same bits in another order, so the same number of them.

Source: Kim, Ricci, Serre, Not-So-CLEVR, Interface Focus 2018.
"""

import functools

import numpy as np

from tfcaps.datasets.abstract_shapes.draws import Problem, first_accepted
from tfcaps.datasets.abstract_shapes.patterns import bit_size
from tfcaps.datasets.abstract_shapes.twins import orders

_SIDE = 4  # bits
_LEAST = 4  # bits in which two squares differ, at least
_ATTEMPTS = 200


def _squares(draws, count: int):
    """Bits in so many orders, (n, count, 16), no two of them near each other."""

    def propose(draws, rows):
        first = draws.integers(0, 1, _SIDE**2).astype(np.uint8)
        each = [
            first,
            *(np.take_along_axis(first, orders(draws, _SIDE**2), 1) for _ in range(count - 1)),
        ]
        squares = np.stack(each, 1)
        differ = (squares[:, :, None] != squares[:, None]).sum(-1) + 16 * np.eye(count, dtype=int)
        return (squares,), (differ >= _LEAST).all((1, 2))

    (squares,), found = first_accepted(draws, propose, attempts=_ATTEMPTS)
    return squares, found


def _places(draws, count: int, size: int, allowed=None):
    """Corners of squares, at least a bit from each other, (n, count, 2)."""
    bit = bit_size(size)
    side = _SIDE * bit

    def propose(draws, rows):
        corners = draws.integers(0, size - side, count, 2)
        gaps = np.abs(corners[:, :, None] - corners[:, None]).max(-1)
        gaps += np.eye(count, dtype=int) * size
        good = (gaps >= side + bit).all((1, 2))
        return (corners,), good & allowed(corners) if allowed else good

    (corners,), found = first_accepted(draws, propose, attempts=_ATTEMPTS)
    return corners, found


def _same(draws, labels, size, *, shapes: int):
    """Two of the squares are the same, or all differ."""
    squares, differ = _squares(draws.branch(0), shapes)
    squares[:, 1] = np.where((labels == 1)[:, None], squares[:, 0], squares[:, 1])
    corners, found = _places(draws.branch(1), shapes, size)
    return squares.reshape(len(labels), shapes, _SIDE, _SIDE), corners, differ & found


def _arranged(draws, labels, size):
    """Two squares are farther from each other in x than in y, or in y than in x."""
    squares, differ = _squares(draws.branch(0), 2)

    def clear(corners):
        apart = np.abs(corners[:, 1] - corners[:, 0])
        return np.abs(apart[:, 0] - apart[:, 1]) >= size // 16

    corners, found = _places(draws.branch(1), 2, size, clear)
    apart = np.abs(corners[:, 1] - corners[:, 0])
    exchanged = (apart[:, 0] > apart[:, 1]) != (labels == 1)
    corners = np.where(exchanged[:, None, None], corners[..., ::-1], corners)
    return squares.reshape(len(labels), 2, _SIDE, _SIDE), corners, differ & found


PSVRT: dict[str, Problem] = {
    "psvrt_same": functools.partial(_same, shapes=2),
    "psvrt_same_four": functools.partial(_same, shapes=4),
    "psvrt_arranged": _arranged,
}
