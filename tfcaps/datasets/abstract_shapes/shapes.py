"""Outlines on the grid of pixels: what they cover, and whether they touch."""

import functools

import numpy as np

from tfcaps.datasets.abstract_shapes.contours import dense
from tfcaps.datasets.abstract_shapes.draws import Draws, first_accepted

_MARGIN = 3  # Pixels around a shape in its grid: two for what is near, one that is far for sure.
_ATTEMPTS = 60
_AT_ONCE = 64  # Masks that fit into a processor's cache.
_MANY_STEPS = 5
_PLACES_AT_ONCE = 2048
_COARSE = 8  # Of this many points, one is looked up before all are.


def dilated(masks: np.ndarray, *, diagonal: bool) -> np.ndarray:
    """Masks (n, h, w), grown by one pixel to 4, or with the diagonal ones 8, neighbours."""
    grown = masks.copy()
    grown[:, 1:] |= masks[:, :-1]
    grown[:, :-1] |= masks[:, 1:]
    rows = grown.copy() if diagonal else masks
    grown[:, :, 1:] |= rows[:, :, :-1]
    grown[:, :, :-1] |= rows[:, :, 1:]
    return grown


def grown(masks: np.ndarray, steps: int, *, diagonal: bool = False) -> np.ndarray:
    """Masks (n, h, w), grown so many times as `dilated` does."""
    if steps >= _MANY_STEPS and not diagonal:
        return _within(masks, steps)
    result = np.empty_like(masks)
    for start in range(0, len(masks), _AT_ONCE):
        part = masks[start : start + _AT_ONCE]
        for _ in range(steps):
            part = dilated(part, diagonal=diagonal)
        result[start : start + _AT_ONCE] = part
    return result


def _within(masks: np.ndarray, steps: int) -> np.ndarray:
    """Where masks (n, h, w) are at most so many steps to the four neighbours away, at most 250.

    Steps are counted in four passes over the rows: down, up, and the same of the transposed masks.
    """
    result = np.empty_like(masks)
    for start in range(0, len(masks), _AT_ONCE):
        part = masks[start : start + _AT_ONCE]
        far = np.where(part, np.uint8(0), np.uint8(steps + 1))
        for _ in range(2):
            far = np.ascontiguousarray(far.swapaxes(1, 2))
            rows = range(1, far.shape[1])
            for row in rows:
                np.minimum(far[:, row], far[:, row - 1] + 1, out=far[:, row])
            for row in reversed(rows):
                np.minimum(far[:, row - 1], far[:, row] + 1, out=far[:, row - 1])
        result[start : start + _AT_ONCE] = far <= steps
    return result


def ends(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest x and y of pixels (…, Q, 2), (…, 2) each."""
    along = np.ascontiguousarray(np.moveaxis(pixels, -1, -2))
    return along.min(-1), along.max(-1)


def marked(pixels: np.ndarray, side: int) -> np.ndarray:
    """Masks (n, side, side) of pixels (n, Q, 2), x and y."""
    return _at_cells(pixels[..., 1] * side + pixels[..., 0], side)


def _at_cells(cells: np.ndarray, side: int) -> np.ndarray:
    """Masks (n, side, side) of cells (n, Q), counted row by row."""
    masks = np.zeros((len(cells), side * side), bool)
    masks[np.arange(len(cells))[:, None], cells] = True
    return masks.reshape(-1, side, side)


def on_grid(points: np.ndarray, origins: np.ndarray) -> np.ndarray:
    """The pixels of points (…, Q, 2) around origins (…, 2), int64 (…, Q, 2).

    Whole origins are added after rounding, so that copies have the same pixels wherever they are.
    """
    if origins.dtype.kind == "i":
        return np.rint(points).astype(np.int64) + origins[..., None, :]
    return np.rint(points + origins[..., None, :]).astype(np.int64)


def parity(points: np.ndarray, side: int) -> np.ndarray:
    """Masks (n, side, side) of the pixels that an odd number of dense outlines enclose.

    Args:
        points: of S outlines, (n, S, Q, 2); neighbours are at most a pixel apart.
        side: of the masks.

    A pixel is enclosed if a ray to its left crosses an outline an odd number of times.
    """
    if len(points) > _AT_ONCE:
        parts = range(0, len(points), _AT_ONCE)
        return np.concatenate([parity(points[k : k + _AT_ONCE], side) for k in parts])
    following = np.roll(points, -1, 2)
    above, below = np.ceil(points[..., 1]), np.ceil(following[..., 1])
    # Neighbouring points are at most a pixel apart, so they have one row between them or none.
    image, shape, point = np.nonzero(above != below)
    first, second = points[image, shape, point], following[image, shape, point]
    row = np.minimum(above, below)[image, shape, point]
    part = (row - first[:, 1]) / (second[:, 1] - first[:, 1])
    column = np.ceil(first[:, 0] + part * (second[:, 0] - first[:, 0])).astype(np.int64)
    cells = (image * side + row.astype(np.int64)) * (side + 1) + column
    crossings = np.bincount(cells, minlength=len(points) * side * (side + 1))
    crossings = crossings.astype(np.uint8).reshape(-1, side, side + 1)[..., :side]
    return (np.cumsum(crossings, axis=2, dtype=np.uint8) & 1).astype(bool)


def filled(points: np.ndarray, origins: np.ndarray, side: int) -> np.ndarray:
    """Masks (n, side, side) of what one dense outline encloses, and of itself.

    Args:
        points: (n, Q, 2), around the shape's own origin.
        origins: where this is in the masks, (n, 2).
        side: of the masks.
    """
    return all_filled(points[:, None], origins[:, None], side)


def all_filled(points: np.ndarray, origins: np.ndarray, side: int) -> np.ndarray:
    """The same of S outlines (n, S, Q, 2) around (n, S, 2), which share but pixels of their lines.

    Masks of many images are made part by part.
    """
    if len(points) > _AT_ONCE:
        parts = [slice(k, k + _AT_ONCE) for k in range(0, len(points), _AT_ONCE)]
        return np.concatenate([all_filled(points[p], origins[p], side) for p in parts])
    n, count, length = points.shape[:3]
    line = marked(on_grid(points, origins).reshape(n, count * length, 2), side)
    solid = parity(points + origins[:, :, None], side) | line
    # Rounding leaves single pixels just outside an outline: those with a neighbour that is outside.
    return solid & ~dilated(~solid, diagonal=False) | line


class Shapes:
    """S outlines of each of n images, of which each may be moved by whole pixels.

    Args:
        points: (n, S, P, 2), around each shape's own origin.
    """

    def __init__(self, points: np.ndarray):
        self.points = points
        self.dense = dense(points)
        # The outermost pixels are those of points.
        self.low, self.high = (np.rint(end).astype(np.int64) for end in ends(points))
        reach = np.maximum(-self.low, self.high)
        self._half = int(reach.max(initial=0)) + _MARGIN
        self._side = 2 * self._half + 1
        # x and y of the pixels apart, as loops over an axis of two are slow.
        self._axes = [np.rint(self.dense[..., k]).astype(np.int32) for k in (0, 1)]
        self._outlines: dict[int, np.ndarray] = {}
        self._touch: dict[int, np.ndarray] = {}

    @functools.cached_property
    def pixels(self) -> np.ndarray:
        """Of the outlines, int64 (n, S, Q, 2), x and y."""
        return np.stack(self._axes, -1).astype(np.int64)

    def room(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """The first and the last positions at which a pixel is left to the border, (n, S, 2)."""
        return 1 - self.low, size - 2 - self.high

    def outline_grid(self, shape: int) -> np.ndarray:
        """One outline in a grid of its own, (n, side, side)."""
        if shape not in self._outlines:
            x, y = (axis[:, shape] + np.int32(self._half) for axis in self._axes)
            self._outlines[shape] = _at_cells(y * np.int32(self._side) + x, self._side)
        return self._outlines[shape]

    def touch_grid(self, shape: int) -> np.ndarray:
        """The same with all neighbours, where no other outline may be."""
        if shape not in self._touch:
            self._touch[shape] = grown(self.outline_grid(shape), 1, diagonal=True)
        return self._touch[shape]

    def filled_grids(self, shape: int) -> np.ndarray:
        """One shape with its interior, (n, side, side)."""
        middle = np.full((len(self.points), 2), self._half)
        return filled(self.dense[:, shape], middle, self._side)

    def looked_up(
        self, grids, shape: int, offsets: np.ndarray, rows: np.ndarray, *, step: int = 1
    ) -> np.ndarray:
        """What grids (n, side, side) say at a shape's pixels, (m, Q).

        Args:
            grids: the values, the same everywhere at the border.
            shape: the one whose pixels are looked up.
            offsets: its position relative to the grid's middle, (m, 2).
            rows: which of the images, (m,).
            step: one of so many pixels. Default 1: all.
        """
        x, y = (
            self._axes[axis][rows, shape, ::step]
            + (offsets[:, axis, None].astype(np.int32) + np.int32(self._half))
            for axis in (0, 1)
        )
        for places in (x, y):
            np.maximum(places, 0, out=places)
            np.minimum(places, self._side - 1, out=places)
        cells = rows[:, None] * self._side**2 + (y * np.int32(self._side) + x)
        return grids.reshape(-1).take(cells)

    def all_at(self, grids, shape: int, offsets: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Whether grids are true at all of a shape's pixels, (m,); arguments as for `looked_up`."""
        return self._all_at(grids, shape, offsets, rows, true=True)

    def any_at(self, grids, shape: int, offsets: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Whether grids are true at any of a shape's pixels, (m,); arguments as for `looked_up`."""
        return ~self._all_at(grids, shape, offsets, rows, true=False)

    def _all_at(self, grids, shape, offsets, rows, *, true: bool) -> np.ndarray:
        few = self.looked_up(grids, shape, offsets, rows, step=_COARSE)
        result = np.asarray((few if true else ~few).all(1))
        left = np.flatnonzero(result)
        seen = self.looked_up(grids, shape, offsets[left], rows[left])
        result[left] = (seen if true else ~seen).all(1)
        return result

    def touch(self, a: int, b: int, offsets: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Whether shape b, moved by offsets (m, 2) from a, comes to a neighbour of a's outline."""
        result = np.zeros(len(rows), bool)
        near = (offsets + self.low[rows, b] <= self.high[rows, a] + 1) & (
            offsets + self.high[rows, b] >= self.low[rows, a] - 1
        )
        close = np.flatnonzero(near.all(1))
        if close.size:
            result[close] = self.any_at(self.touch_grid(a), b, offsets[close], rows[close])
        return result

    def apart(self, centres: np.ndarray, size: int, rows: np.ndarray) -> np.ndarray:
        """Which of the images `rows` have all shapes in the picture and no two that touch, (m,)."""
        first, last = self.room(size)
        good = ((centres >= first[rows]) & (centres <= last[rows])).all((1, 2))
        for b in range(1, centres.shape[1]):
            for a in range(b):
                left = np.flatnonzero(good)
                offsets = centres[left, b] - centres[left, a]
                good[left] = ~self.touch(a, b, offsets, rows[left])
        return good


def placed(
    draws: Draws,
    shapes: Shapes,
    size: int,
    *,
    big: np.ndarray | None = None,
    allowed=None,
    attempts: int = _ATTEMPTS,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions anywhere, one shape after the other, none touching: (n, S, 2), and where found.

    Args:
        draws: of the images.
        shapes: what is to be placed.
        size: of the picture, in pixels.
        big: the position of shape 0, (n, 2), which the others may touch. Default None: it is placed
            like them.
        allowed: `allowed(shape, centres (m, 2), rows (m,))` says whether a shape may be there,
            (m,). Default None: anywhere.
        attempts: places that are tried for a shape. Default 60.
    """
    n, count = shapes.low.shape[:2]
    first, last = shapes.room(size)
    centres = np.zeros((n, count, 2), np.int64)
    good = np.asarray((first <= last).all((1, 2)))
    begin = 0 if big is None else 1
    if big is not None:
        centres[:, 0] = big
    for shape in range(begin, count):
        rows = np.flatnonzero(good)

        def propose(draws, pending, shape=shape, rows=rows):
            images = rows[pending]
            new = draws.integers(first[images, shape], last[images, shape], 2)
            free = allowed(shape, new, images) if allowed else np.ones(len(images), bool)
            for other in range(begin, shape):
                left = np.flatnonzero(free)
                offsets = new[left] - centres[images[left], other]
                free[left] = ~shapes.touch(other, shape, offsets, images[left])
            return (new,), free

        branch = draws.branch(shape).take(rows)
        (new,), found = first_accepted(branch, propose, attempts=attempts, at_once=_PLACES_AT_ONCE)
        centres[rows, shape] = new
        good[rows[~found]] = False
    return centres, good


def arranged(draws: Draws, shapes: Shapes, size: int, propose, *, attempts: int = _ATTEMPTS):
    """Positions as `propose` (draws, rows) → ((m, S, 2), good (m,)) has them, none touching."""

    def checked(draws, rows):
        centres, good = propose(draws, rows)
        centres = np.rint(centres).astype(np.int64)
        left = np.flatnonzero(good)
        good = good.copy()
        good[left] = shapes.apart(centres[left], size, rows[left])
        return (centres,), good

    (centres,), found = first_accepted(draws, checked, attempts=attempts, at_once=_PLACES_AT_ONCE)
    return centres, found
