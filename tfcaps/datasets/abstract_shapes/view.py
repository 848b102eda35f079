"""What can be read off the geometry of layouts, to decide their classes."""

import numpy as np

from tfcaps.datasets.abstract_shapes.shapes import Shapes, dilated, filled, marked, on_grid

SAME = 1e-2  # Pixels: what float32 leaves between a shape and its copy.
ROUNDED = 1.5  # Pixels: what two rounded positions leave of a distance.

Verdict = tuple[np.ndarray, np.ndarray]


class View:
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
        return np.abs(self.complex(a) - self.complex(b)).max(1) < SAME

    def distance_of(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """The largest distance of a point of one outline, (n, P) complex, from the other one's."""
        apart = np.abs(first[:, :, None] - second[:, None])
        return np.maximum(apart.min(2).max(1), apart.min(1).max(1))

    def different(self, a: int, b: int) -> np.ndarray:
        """Whether two outlines are somewhere apart, whichever points they have."""
        return self.distance_of(self.complex(a), self.complex(b)) >= ROUNDED

    def all_different(self, members) -> np.ndarray:
        pairs = [(a, b) for a in members for b in members if a < b]
        return np.logical_and.reduce([self.different(a, b) for a, b in pairs])

    def all_same(self, members) -> np.ndarray:
        return np.logical_and.reduce([self.same(members[0], k) for k in members[1:]])

    def none_same(self, members) -> np.ndarray:
        pairs = [(a, b) for a in members for b in members if a < b]
        return ~np.logical_or.reduce([self.same(a, b) for a, b in pairs])

    def similar(self, a: int, b: int) -> tuple[np.ndarray, np.ndarray]:
        """Whether b is a scaled and turned a, and the factor, a complex number."""
        first, second = self.complex(a), self.complex(b)
        factor = (second * first.conj()).sum(1) / (np.abs(first) ** 2).sum(1)
        return np.abs(second - factor[:, None] * first).max(1) < SAME, factor

    def mask(self, k: int) -> np.ndarray:
        return filled(self.shapes.dense[:, k], self.centres[:, k], self.size)

    def line(self, k: int) -> np.ndarray:
        return marked(on_grid(self.shapes.dense[:, k], self.centres[:, k]), self.size)

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
