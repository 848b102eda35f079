"""The problems of `svrt` in which shapes lie in each other, or touch at a point."""

import numpy as np

from tfcaps.datasets.abstract_shapes.draws import Draws, Problem, first_accepted
from tfcaps.datasets.abstract_shapes.shapes import Shapes, all_filled, ends, grown, placed
from tfcaps.datasets.abstract_shapes.svrt import BIG, SMALL, drawn

_ATTEMPTS = 150
_PLACES_AT_ONCE = 1024
MOST_SHARED = {3: 3, 11: 4}
_NOWHERE = 10**6


def _around(draws, shapes: Shapes, size: int, masks):
    """Positions of a big shape, and of small ones whose pixels all lie where they are allowed to.

    That is said by masks in the big one's grid, (n, side, side), one for each small shape.
    """
    first, last = shapes.room(size)
    big = draws.branch(0).integers(first[:, 0], np.maximum(first, last)[:, 0], 2)

    def allowed(shape, centres, rows):
        return shapes.all_at(masks[shape - 1], shape, centres - big[rows], rows)

    return placed(draws, shapes, size, big=big, allowed=allowed, attempts=_ATTEMPTS)


def _zones(shapes: Shapes) -> tuple[np.ndarray, np.ndarray]:
    """Where another outline may be inside the first one, and outside, without touching it."""
    solid, near = shapes.filled_grids(0), shapes.touch_grid(0)
    return solid & ~near, ~solid & ~near


def _with_big(draws, size: int, count: int) -> np.ndarray:
    big = drawn(draws.branch(0), 1, BIG, size)
    return np.concatenate([big, drawn(draws.branch(1), count, SMALL, size, largest=BIG[0])], 1)


def _inside(draws, labels, size):
    """4: a small shape inside a big one, or outside."""
    points = _with_big(draws, size, 1)
    shapes = Shapes(points)
    within, without = _zones(shapes)
    allowed = np.where((labels == 1)[:, None, None], within, without)
    return points, *_around(draws.branch(2), shapes, size, [allowed])


def _one_inside(draws, labels, size):
    """23: of two small shapes one is inside a big one, or both or none are."""
    points = _with_big(draws, size, 2)
    shapes = Shapes(points)
    within, without = _zones(shapes)
    first = draws.branch(3).integers(0, 1) == 1
    second = first ^ (labels == 1)
    allowed = [np.where(each[:, None, None], within, without) for each in (first, second)]
    return points, *_around(draws.branch(2), shapes, size, allowed)


def _near_outline(draws, labels, size):
    """2: a small shape inside a big one, one pixel from its outline, or at least 16."""
    points = _with_big(draws, size, 1)
    shapes = Shapes(points)
    within, _ = _zones(shapes)
    far = labels == 0
    within[far] &= ~grown(shapes.outline_grid(0)[far], size // 8)
    band = grown(shapes.touch_grid(0), 1, diagonal=True)
    first, last = shapes.room(size)
    # Inside the big one's box, wherever that is.
    low = shapes.low[:, 0] - shapes.low[:, 1]
    high = np.maximum(shapes.high[:, 0] - shapes.high[:, 1], low)

    def propose(draws, pending):
        new = draws.integers(low[pending], high[pending], 2)
        free = shapes.all_at(within, 1, new, pending)
        left = np.flatnonzero(free & (labels[pending] == 1))
        free[left] = shapes.any_at(band, 1, new[left], pending[left])
        return (new,), free

    (new,), found = first_accepted(
        draws.branch(2), propose, attempts=_ATTEMPTS, at_once=_PLACES_AT_ONCE
    )
    big = draws.branch(3).integers(first[:, 0], np.maximum(first, last)[:, 0], 2)
    return points, np.stack([big, big + new], 1), found & (first <= last).all((1, 2))


def _copy_inside(draws, labels, size):
    """8: a copy of half the size inside; or inside, but another shape, or a copy, but outside."""
    both = drawn(draws.branch(0), 2, BIG, size)
    other_shape = (labels == 0) & (draws.branch(1).integers(0, 1) == 1)
    second = np.where(other_shape[:, None, None], both[:, 1], both[:, 0]) / 2
    points = np.stack([both[:, 0], second], 1)
    shapes = Shapes(points)
    within, without = _zones(shapes)
    is_inside = (labels == 1) | other_shape
    allowed = np.where(is_inside[:, None, None], within, without)
    return points, *_around(draws.branch(2), shapes, size, [allowed])


def _profiles(pixels: np.ndarray, axis: int, half: int) -> tuple[np.ndarray, np.ndarray]:
    """The first and last pixel along an axis in each line across it, (n, 2·half + 1)."""
    n = len(pixels)
    cells = (np.arange(n)[:, None], pixels[..., 1 - axis] + half)
    low = np.full((n, 2 * half + 1), _NOWHERE)
    high = np.full((n, 2 * half + 1), -_NOWHERE)
    np.minimum.at(low, cells, pixels[..., axis])
    np.maximum.at(high, cells, pixels[..., axis])
    return low, high


def contact(draws, body: np.ndarray, shape: np.ndarray, axis: int, most: int):
    """Moves a shape along an axis until its mask shares 1 to `most` pixels with a body's mask.

    What it shares is exact: in each line, only the body's last and the shape's first pixel meet.

    Args:
        draws: choose the way across.
        body: pixels of outlines, (n, Q, 2).
        shape: pixels of one outline, (n, Q', 2).
        axis: 0: along x; 1: along y.
        most: shared pixels at most.

    Returns:
        The shape's offsets, (n, 2), and which of them are accepted.
    """
    half = int(2 * max(np.abs(body).max(), np.abs(shape).max())) + 2
    _, ends = _profiles(body, axis, half)
    starts, _ = _profiles(shape, axis, half)
    across = 1 - axis
    low = body[..., across].min(1) - shape[..., across].max(1)
    high = body[..., across].max(1) - shape[..., across].min(1)
    sideways = draws.integers(low, high)
    lines = np.arange(2 * half + 1) - sideways[:, None]
    shifted = np.take_along_axis(starts, np.clip(lines, 0, 2 * half), 1)
    shifted = np.where((lines >= 0) & (lines <= 2 * half), shifted, _NOWHERE)
    steps = ends - shifted
    step = steps.max(1)
    shared = (steps == step[:, None]).sum(1)
    offsets = np.zeros((len(body), 2), np.int64)
    offsets[:, axis], offsets[:, across] = step, sideways
    return offsets, (shared <= most) & (np.abs(step) < _NOWHERE // 2)


def _any_way_round(draws, points, centres, size):
    """Flips and transposes whole images, so that no direction is special."""
    flips = draws.integers(0, 1, 2) * 2 - 1
    points = points * flips[:, None, None].astype(np.float32)
    centres = np.where(flips[:, None] == 1, centres, size - 1 - centres)
    swap = (draws.integers(0, 1) == 1)[:, None, None]
    points = np.where(swap[..., None], points[..., ::-1], points)
    return points, np.where(swap, centres[..., ::-1], centres)


def _moved_into(draws, pixels: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Moves that bring bodies of pixels (n, Q, 2) anywhere into the picture, and if they fit."""
    low, high = ends(pixels)
    first, last = 1 - low, size - 2 - high
    return draws.integers(first, np.maximum(first, last), 2), np.asarray((first <= last).all(1))


def _beside(draws, taken: np.ndarray, pixels: np.ndarray, size: int):
    """Moves of bodies (n, Q, 2) into the picture, to where no pixel is taken, (n, size, size)."""

    def propose(draws, rows):
        move, good = _moved_into(draws, pixels[rows], size)
        cells = np.clip(pixels[rows] + move[:, None], 0, size - 1)
        return (move,), good & ~taken[rows[:, None], cells[..., 1], cells[..., 0]].any(1)

    (move,), found = first_accepted(draws, propose, attempts=_ATTEMPTS)
    return move, found


def _solid(shapes: Shapes, centres: np.ndarray, members, size: int) -> np.ndarray:
    """What some shapes cover in the picture, (n, size, size)."""
    return all_filled(shapes.dense[:, members], centres[:, members], size)


def _touching(draws, labels, size):
    """11: a medium shape touches a big one at a point from outside, or is 10 px away."""
    big = drawn(draws.branch(0), 1, (48, 16), size)
    points = np.concatenate([big, drawn(draws.branch(1), 1, (21, 7), size, largest=48)], 1)
    shapes = Shapes(points)
    a, b = shapes.pixels[:, 0], shapes.pixels[:, 1]
    offsets, good = contact(draws.branch(2), a, b, 0, MOST_SHARED[11])
    one = labels == 1
    both = np.concatenate([a, b + offsets[:, None]], 1)
    move, fits = _moved_into(draws.branch(3), np.where(one[:, None, None], both, both[:, :1]), size)
    centres = np.stack([move, move + offsets], 1)
    zero = np.flatnonzero(~one)
    start, alone = _moved_into(draws.branch(5).take(zero), a[zero], size)
    some = Shapes(points[zero])
    taken = np.zeros((len(zero), size, size), bool)
    rows = np.flatnonzero(alone)
    place = np.stack([start[rows], start[rows]], 1)
    taken[rows] = grown(_solid(Shapes(points[zero[rows]]), place, [0], size), size // 12)
    there, free = _beside(draws.branch(4).take(zero), taken, some.pixels[:, 1], size)
    centres[zero] = np.stack([start, there], 1)
    accepted = one & good & fits
    accepted[zero] = alone & free
    return *_any_way_round(draws.branch(6), points, centres, size), accepted


def _pairs(draws, points, size):
    """Two touching pairs, 16 px apart."""
    pixels = Shapes(points).pixels
    good = np.ones(len(points), bool)
    relative = np.zeros((len(points), 4, 2), np.int64)
    for pair in (0, 1):
        a, b = pixels[:, 2 * pair], pixels[:, 2 * pair + 1]
        offsets, fine = contact(draws.branch(pair), a, b, pair, MOST_SHARED[3])
        relative[:, 2 * pair + 1] = offsets
        good &= fine
    return _two_bodies(draws.branch(2), points, relative, ([0, 1], [2, 3]), good, size)


def _cluster(draws, points, size):
    """Three shapes that touch, and one 16 px away."""
    pixels = Shapes(points).pixels
    second, good = contact(draws.branch(0), pixels[:, 0], pixels[:, 1], 0, MOST_SHARED[3])
    body = np.concatenate([pixels[:, 0], pixels[:, 1] + second[:, None]], 1)
    third, fine = contact(draws.branch(1), body, pixels[:, 2], 1, MOST_SHARED[3])
    relative = np.stack([np.zeros_like(second), second, third, np.zeros_like(second)], 1)
    return _two_bodies(draws.branch(2), points, relative, ([0, 1, 2], [3]), good & fine, size)


def _two_bodies(draws, points, relative, bodies, good, size):
    """Places two groups of shapes, at least an eighth of the picture apart."""
    shapes = Shapes(points)
    pixels = shapes.pixels + relative[:, :, None]
    n = len(points)
    first, second = (pixels[:, members].reshape(n, -1, 2) for members in bodies)
    move, fits = _moved_into(draws.branch(0), first, size)
    good = good & fits
    rows = np.flatnonzero(good)
    centres = relative.copy()
    centres[:, bodies[0]] += move[:, None]
    solid = _solid(Shapes(points[rows]), centres[rows], bodies[0], size)
    taken = grown(solid, size // 8)
    there, found = _beside(draws.branch(1).take(rows), taken, second[rows], size)
    good[rows] = found
    centres[rows[:, None], bodies[1]] += there[:, None]
    return centres, good


def _in_contact(draws: Draws, labels, size):
    """3: two pairs that touch at a point, or three in a cluster and one alone; 16 px between."""
    points = drawn(draws.branch(0), 4, (21, 2), size)
    centres, good = np.zeros((len(labels), 4, 2), np.int64), np.zeros(len(labels), bool)
    for label, place in enumerate((_cluster, _pairs)):
        rows = np.flatnonzero(labels == label)
        if rows.size:
            centres[rows], good[rows] = place(
                draws.branch(label + 1).take(rows), points[rows], size
            )
    return *_any_way_round(draws.branch(3), points, centres, size), good


PROBLEMS: dict[int, Problem] = {
    2: _near_outline,
    3: _in_contact,
    4: _inside,
    8: _copy_inside,
    11: _touching,
    23: _one_inside,
}
