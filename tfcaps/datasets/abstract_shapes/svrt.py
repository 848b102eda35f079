"""The 23 problems of the synthetic visual reasoning test: how their layouts are drawn.

Each is a function (draws, labels, size) → outlines (n, S, P, 2), positions (n, S, 2), and which of
the n images are accepted. Lengths in the descriptions are pixels of 128×128 images; they grow with
the images, but the distance of one pixel at which outlines touch does not.

Source: Fleuret et al., Comparing machines and humans on a visual categorization test, 2011.
"""

import functools

import numpy as np

from tfcaps.datasets.abstract_shapes.contours import outlines, reflected, turned
from tfcaps.datasets.abstract_shapes.draws import Draws, Problem
from tfcaps.datasets.abstract_shapes.shapes import Shapes, arranged, placed

SMALL, BIG = (10, 1), (48, 21)  # the radii R and r of `outlines`
_PART = 128 / 6
_MIRROR = np.array([-1, 1], np.float32)


def drawn(draws: Draws, count: int, radii, size: int, *, largest=None) -> np.ndarray:
    """`outlines` with radii in pixels of 128×128 images."""
    unit = size / 128
    return outlines(
        draws, count, radii[0] * unit, radii[1] * unit, largest=largest and largest * unit
    )


def _chosen(points: np.ndarray, labels: np.ndarray, one: tuple, zero: tuple) -> np.ndarray:
    """The outlines that each class has, (n, S, P, 2), by their numbers."""
    kinds = np.where(labels[:, None] == 1, np.array(one), np.array(zero))
    return points[np.arange(len(points))[:, None], kinds]


def _repeated(points: np.ndarray, count: int) -> np.ndarray:
    """The first outline of each image, `count` times."""
    return np.repeat(points[:, :1], count, axis=1)


def _kinds(draws, labels, size, *, one: tuple, zero: tuple, radii: tuple):
    """Problems 1, 5, 7: free positions; the classes differ in which shapes are the same."""
    points = drawn(draws.branch(0), max(one + zero) + 1, radii, size)
    points = _chosen(points, labels, one, zero)
    return points, *placed(draws.branch(1), Shapes(points), size)


def _distances(draws, labels, size):
    """6: two pairs of copies; the distance within a pair is the same in both, or differs."""
    points = _chosen(drawn(draws.branch(0), 2, SMALL, size), labels, (0, 0, 1, 1), (0, 0, 1, 1))

    def propose(draws, rows):
        free = draws.uniform(0, size, 4, 2)
        reach = draws.uniform(0, size / 2)[:, None, None] * draws.directions(2)
        pairs = draws.uniform(0, size, 2, 2)
        equal = np.stack([pairs - reach, pairs + reach], 2).reshape(-1, 4, 2)
        lengths = np.linalg.norm(free[:, 1::2] - free[:, ::2], axis=-1)
        # A pixel more, since positions are rounded.
        differ = np.abs(lengths[:, 0] - lengths[:, 1]) >= _PART * size / 128 + 2
        one = labels[rows] == 1
        return np.where(one[:, None, None], equal, free), one | differ

    return points, *arranged(draws.branch(1), Shapes(points), size, propose)


def corners(draws, size, largest=0.5):
    """The corners of a square, (m, 4, 2), any angle, radius up to such a part of the picture."""
    spoke = draws.uniform(0, largest * size)[:, None] * draws.directions()
    other = np.stack([-spoke[:, 1], spoke[:, 0]], -1)
    reach = np.abs(spoke).max(1)[:, None]
    middle = draws.uniform(reach, size - reach, 2)[:, None]
    return middle + np.stack([spoke, other, -spoke, -other], 1)


def _square(draws, labels, size):
    """10: four copies on the corners of a square, or anywhere."""
    points = _repeated(drawn(draws.branch(0), 1, SMALL, size), 4)

    def propose(draws, rows):
        free = draws.uniform(0, size, 4, 2)
        one = (labels[rows] == 1)[:, None, None]
        return np.where(one, corners(draws, size), free), np.ones(len(rows), bool)

    return points, *arranged(draws.branch(1), Shapes(points), size, propose)


def _square_kinds(draws, labels, size):
    """15: the corners of a square hold four copies, or four different shapes."""
    points = drawn(draws.branch(0), 4, SMALL, size)
    points = _chosen(points, labels, (0, 0, 0, 0), (0, 1, 2, 3))

    def propose(draws, rows):
        return corners(draws, size), np.ones(len(rows), bool)

    return points, *arranged(draws.branch(1), Shapes(points), size, propose)


def segment_distances(centres: np.ndarray) -> np.ndarray:
    """Of three points (n, 3, 2), how far each is from the segment between the others, (n, 3)."""
    result = []
    for point in range(3):
        third, a, b = (centres[:, (point + k) % 3].astype(float) for k in range(3))
        along = b - a
        part = ((third - a) * along).sum(1) / np.maximum((along**2).sum(1), 1e-9)
        foot = a + np.clip(part, 0, 1)[:, None] * along
        result.append(np.linalg.norm(third - foot, axis=1))
    return np.stack(result, 1)


def in_line(draws, size):
    """Two points anywhere and a third one between them, (m, 3, 2)."""
    ends = draws.uniform(0, size, 2, 2)
    part = draws.uniform()[:, None]
    return np.concatenate([ends, (ends[:, 0] + part * (ends[:, 1] - ends[:, 0]))[:, None]], 1)


def _line(draws, labels, size):
    """14: three copies in line, or none nearer than 6 px to the segment between the others."""
    points = _repeated(drawn(draws.branch(0), 1, SMALL, size), 3)

    def propose(draws, rows):
        free = draws.uniform(0, size, 3, 2)
        one = labels[rows] == 1
        far = (segment_distances(np.rint(free)) >= size / 20).all(1)
        return np.where(one[:, None, None], in_line(draws, size), free), one | far

    return points, *arranged(draws.branch(1), Shapes(points), size, propose)


def _line_kinds(draws, labels, size):
    """22: three copies in line, or three different shapes."""
    points = _chosen(drawn(draws.branch(0), 3, SMALL, size), labels, (0, 0, 0), (0, 1, 2))

    def propose(draws, rows):
        return in_line(draws, size), np.ones(len(rows), bool)

    return points, *arranged(draws.branch(1), Shapes(points), size, propose)


def _middle(draws, labels, size):
    """9: of three similar shapes in line, the one of double size is at an end, or in the middle."""
    one = drawn(draws.branch(0), 1, (21, 2), size)
    points = np.concatenate([one, one / 2, one / 2], 1)
    shapes = Shapes(points)
    solid = shapes.filled_grids(0)

    def propose(draws, rows):
        ends = draws.uniform(0, size, 2, 2)
        part = draws.uniform(0.25, 0.75)[:, None]
        between = ends[:, 0] + part * (ends[:, 1] - ends[:, 0])
        at_end = np.stack([ends[:, 0], ends[:, 1], between], 1)
        in_middle = np.stack([between, ends[:, 0], ends[:, 1]], 1)
        centres = np.rint(np.where((labels[rows] == 1)[:, None, None], at_end, in_middle))
        outside = np.ones(len(rows), bool)
        for shape in (1, 2):
            offsets = centres[:, shape] - centres[:, 0]
            outside &= ~shapes.any_at(solid, shape, offsets, rows)
        return centres, outside

    return points, *arranged(draws.branch(1), shapes, size, propose)


def _mirrored(draws, labels, size, *, by_shape: bool):
    """16, 18: three copies and their partners on the other side of the vertical mid-line.

    16 mirrors all positions; its classes differ in whether the partners are mirrored as well.
    18 mirrors no shape; the partners' x is mirrored, or anywhere.
    """
    points = _repeated(drawn(draws.branch(0), 1, SMALL, size), 6)
    if by_shape:
        factors = np.where((labels == 1)[:, None], _MIRROR, np.float32(1))
        points[:, 3:] *= factors[:, None, None]

    def propose(draws, rows):
        left = draws.integers(0, size - 1, 3, 2)
        right = np.stack([size - 1 - left[..., 0], left[..., 1]], -1)
        if not by_shape:
            free = draws.integers(0, size - 1, 3)
            right[..., 0] = np.where((labels[rows] == 1)[:, None], right[..., 0], free)
        return np.concatenate([left, right], 1), np.ones(len(rows), bool)

    return points, *arranged(draws.branch(1), Shapes(points), size, propose, attempts=200)


def circumcentres(centres: np.ndarray) -> np.ndarray:
    """The points that are equally far from three, (n, 2); far away where these are in line."""
    a, b, c = (centres[:, k].astype(float) for k in range(3))
    u, v = b - a, c - a
    cross = 2 * (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])
    squares = (u**2).sum(1)[:, None] * v[:, ::-1] - (v**2).sum(1)[:, None] * u[:, ::-1]
    return a + squares * [1, -1] / np.where(cross == 0, 1e-9, cross)[:, None]


def _equidistant(draws, labels, size):
    """17: the odd one of four has the same distance from the three copies, or is 21 px off."""
    points = _chosen(drawn(draws.branch(0), 2, SMALL, size), labels, (0, 0, 0, 1), (0, 0, 0, 1))
    part = _PART * size / 128

    def propose(draws, rows):
        three, free = draws.integers(0, size - 1, 3, 2), draws.integers(0, size - 1, 1, 2)
        target = circumcentres(three)
        one = labels[rows] == 1
        fourth = np.where(one[:, None, None], np.clip(target, -size, 2 * size)[:, None], free)
        good = one | (np.linalg.norm(free[:, 0] - target, axis=1) >= part)
        centres = np.rint(np.concatenate([three, fourth], 1))
        gaps = np.abs(centres[:, :, None] - centres[:, None]).max(-1)
        gaps += np.eye(4) * size
        return centres, good & (gaps >= part).all((1, 2))

    return points, *arranged(draws.branch(1), Shapes(points), size, propose, attempts=200)


def _opposite(draws, labels, size):
    """12: three on a circle; the two that are close together are the small ones, or aren't."""
    small = drawn(draws.branch(0), 2, (10, 5), size, largest=21)
    points = np.concatenate([drawn(draws.branch(1), 1, (21, 10), size), small], 1)

    def propose(draws, rows):
        spoke = draws.directions()
        half = draws.uniform(0.05 * np.pi, 0.25 * np.pi)
        turns = np.stack([np.cos(half), np.sin(half)], -1)
        pair = [turned(-spoke[:, None], turns * [1, sign])[:, 0] for sign in (1, -1)]
        radius = draws.uniform(0.1 * size, 0.6 * size)[:, None, None]
        middles = draws.uniform(size / 4, 3 * size / 4, 2)[:, None]
        alone_large = np.stack([spoke, *pair], 1)
        alone_small = np.stack([pair[0], spoke, pair[1]], 1)
        one = (labels[rows] == 1)[:, None, None]
        centres = middles + radius * np.where(one, alone_large, alone_small)
        return centres, np.ones(len(rows), bool)

    return points, *arranged(draws.branch(2), Shapes(points), size, propose, attempts=300)


def _offsets(draws, labels, size):
    """13: two copies of a pair of shapes; one pair is a translation of the other, or isn't."""
    big = drawn(draws.branch(0), 1, (32, 16), size)
    small = drawn(draws.branch(1), 1, (10, 5), size, largest=32)
    points = np.concatenate([big, big, small, small], 1)
    quarter = size / 4

    def propose(draws, rows):
        ends = draws.integers(0, size - 1, 2, 2)
        # The outline reaches to a quarter of the picture, and the small shape as far from it.
        near = np.rint(draws.discs(2) * (2 * quarter))
        differ = np.linalg.norm(near[:, 1] - near[:, 0], axis=1) >= quarter
        one = labels[rows] == 1
        near[:, 1] = np.where(one[:, None], near[:, 0], near[:, 1])
        return np.concatenate([ends, ends + near], 1), one | differ

    return points, *arranged(draws.branch(2), Shapes(points), size, propose, attempts=400)


def _scaled(draws, labels, size, *, turn: bool):
    """19, 21: two shapes that are the same up to their scale (21: and rotation), or differ."""
    points = drawn(draws.branch(0), 2, (10.5, 1), size, largest=42)
    points = _chosen(points, labels, (0, 0), (0, 1))
    points = points * draws.uniform(1, 4, 2)[..., None, None].astype(np.float32)
    if turn:
        points = turned(points, draws.branch(2).directions(2))
    return points, *placed(draws.branch(1), Shapes(points), size)


def _reflection(draws, labels, size):
    """20: the second is the first one's mirror image, as if a mirror stood between them, or not."""
    points = drawn(draws.branch(0), 2, (16, 2), size)
    ends = draws.integers(0, size - 1, 2, 2)
    difference = (ends[:, 1] - ends[:, 0]).astype(float)
    length = np.maximum(np.linalg.norm(difference, axis=1), 1)[:, None]
    images = reflected(points[:, 0], (difference / length).astype(np.float32))
    points[:, 1] = np.where((labels == 1)[:, None, None], images, points[:, 1])
    good = Shapes(points).apart(ends, size, np.arange(len(ends)))
    return points, ends, good & (difference != 0).any(1)


PROBLEMS: dict[int, Problem] = {
    1: functools.partial(_kinds, one=(0, 0), zero=(0, 1), radii=(26, 2.5)),
    5: functools.partial(_kinds, one=(0, 0, 1, 1), zero=(0, 1, 2, 3), radii=(21, 2)),
    6: _distances,
    7: functools.partial(_kinds, one=(0, 0, 0, 1, 1, 1), zero=(0, 0, 1, 1, 2, 2), radii=(21, 2)),
    9: _middle,
    10: _square,
    12: _opposite,
    13: _offsets,
    14: _line,
    15: _square_kinds,
    16: functools.partial(_mirrored, by_shape=True),
    17: _equidistant,
    18: functools.partial(_mirrored, by_shape=False),
    19: functools.partial(_scaled, turn=False),
    20: _reflection,
    21: functools.partial(_scaled, turn=True),
    22: _line_kinds,
}
