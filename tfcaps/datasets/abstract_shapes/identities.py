"""Which shapes of a layout are the same, and how they are scaled, turned and mirrored."""

from typing import NamedTuple

import numpy as np

_SAME = 1e-4  # of a shape's size: what float32 leaves between a shape and its image.


class Identities(NamedTuple):
    """Shapes of n images, compared with the first one that is the same up to these three.

    A point z = x + iy of that first shape is s·exp(ir)·z here, or s·exp(ir)·conj(z) if mirrored.

    Args:
        kinds: int64 (n, S): the number of that first shape; shapes with one number are the same.
        scales: float64 (n, S): s, greater than 0.
        rotations: float64 (n, S): r in radians, above -π up to π, from x towards y.
        mirrored: bool (n, S): whether y is negated before it is turned.
    """

    kinds: np.ndarray
    scales: np.ndarray
    rotations: np.ndarray
    mirrored: np.ndarray


def identities(outlines: np.ndarray) -> Identities:
    """Compares outlines, of which point k of a copy is point k of the original.

    Args:
        outlines: (n, S, P, 2), as `Layout` has them.
    """
    points = outlines[..., 0] + 1j * outlines[..., 1].astype(np.float64)
    n, count = points.shape[:2]
    kinds = np.broadcast_to(np.arange(count), (n, count)).copy()
    factors = np.ones((n, count), complex)
    mirrored = np.zeros((n, count), bool)
    for shape in range(count):
        # The last one that fits is the first shape of its kind.
        for first in reversed(range(shape)):
            for mirror in (True, False):
                source = points[:, first].conj() if mirror else points[:, first]
                fits, factor = _fitted(source, points[:, shape])
                kinds[fits, shape] = first
                factors[fits, shape] = factor[fits]
                mirrored[fits, shape] = mirror
    return Identities(kinds, np.abs(factors), np.angle(factors), mirrored)


def _fitted(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether target = f·source, (n, P) each, and f by least squares."""
    factor = (target * source.conj()).sum(1) / (np.abs(source) ** 2).sum(1)
    errors = np.abs(target - factor[:, None] * source).max(1)
    return errors <= _SAME * np.abs(target).max(1), factor
