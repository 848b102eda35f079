"""Single relations as tasks: same, mirrored, inside, touching, aligned, larger, symmetric, odd one.

Each is a function as in `svrt`, and drawn as in `clean` where the relation allows it.
"""

import functools

import numpy as np

from tfcaps.datasets.abstract_shapes.clean import arranged, line_or_not, same_or_not
from tfcaps.datasets.abstract_shapes.containment import contact
from tfcaps.datasets.abstract_shapes.contours import halved, levels
from tfcaps.datasets.abstract_shapes.draws import Problem, first_accepted
from tfcaps.datasets.abstract_shapes.shapes import Shapes, ends, grown, placed
from tfcaps.datasets.abstract_shapes.svrt import drawn
from tfcaps.datasets.abstract_shapes.twins import (
    MIRROR,
    both,
    distance,
    flipped,
    lopsided,
    scattered,
    twins,
    twins_anywhere,
)

MEDIUM = (21, 2)  # the radii R and r of `outlines`
_ATTEMPTS = 150
_MOST_SHARED = 3
_AT_ONCE = 1024  # Halves are made quickly.
_LEVEL = 1 / 50  # How far the mean of a half may lie from its middle, as a part of R.


def _mirrored(draws, labels, size):
    """A shape and its mirror image, left and right exchanged, or two copies."""
    points, found = lopsided(draws.branch(0), MEDIUM, size)
    first = draws.branch(1).integers(0, 3, 1)
    second = both(first, first ^ MIRROR)
    outlines = flipped(points, np.concatenate([both(first, first), second], 2))
    outlines, centres, good = twins_anywhere(draws.branch(2), labels, size, outlines)
    return outlines, centres, good & found


def _inside(draws, labels, size):
    """A small shape inside one of two larger ones, or outside both."""
    large = drawn(draws.branch(0), 2, (28, 14), size)
    small = drawn(draws.branch(1), 1, (7, 1), size, largest=28)
    points = np.concatenate([large, small], 1)
    shapes = Shapes(points)
    near = [shapes.touch_grid(k) for k in (0, 1)]
    solid = [shapes.filled_grids(k) for k in (0, 1)]
    centres, good = placed(draws.branch(2), Shapes(large), size)
    first, last = shapes.room(size)
    goal = draws.branch(3).integers(0, 1)
    reach = 28 * size / 128

    def propose(draws, rows):
        one = (labels[rows] == 1)[:, None]
        around = centres[rows, goal[rows]] + np.rint(draws.uniform(-reach, reach, 2))
        new = np.where(one, around, draws.integers(first[rows, 2], last[rows, 2], 2))
        new = new.astype(np.int64)
        free = good[rows] & ((new >= first[rows, 2]) & (new <= last[rows, 2])).all(1)
        for other in (0, 1):
            left = np.flatnonzero(free)
            images = rows[left]
            offsets = new[left] - centres[images, other]
            is_goal = (labels[images] == 1) & (goal[images] == other)
            inside = shapes.looked_up(solid[other], 2, offsets, images) == is_goal[:, None]
            touching = shapes.looked_up(near[other], 2, offsets, images)
            free[left] = (inside & ~touching).all(1)
        return (new,), free

    (third,), found = first_accepted(draws.branch(4), propose, attempts=_ATTEMPTS)
    return points, np.concatenate([centres, third[:, None]], 1), found


def _touching(draws, labels, size):
    """Two shapes that touch at a point, or that are 4 to 16 px apart in x or in y.

    One class is the other with one shape slid away.
    """
    points = drawn(draws.branch(0), 2, MEDIUM, size)
    shapes = Shapes(points)
    n = len(labels)
    axis = draws.branch(1).integers(0, 1)
    offsets, good = np.zeros((n, 2), np.int64), np.zeros(n, bool)
    for along in (0, 1):
        rows = np.flatnonzero(axis == along)
        if rows.size:
            branch = draws.branch(2).take(rows)
            pixels = shapes.pixels[rows]
            offsets[rows], good[rows] = contact(
                branch, pixels[:, 0], pixels[:, 1], along, _MOST_SHARED
            )
    gap = draws.branch(3).integers(size // 32 + 1, size // 8)
    away = offsets + gap[:, None] * np.eye(2, dtype=np.int64)[axis]
    around = grown(shapes.outline_grid(0), size // 32)
    every = np.arange(n)
    good &= ~shapes.any_at(around, 1, away, every)
    chosen = np.where((labels == 1)[:, None], offsets, away)
    # Placed so that either fits: no place tells the class.
    bodies = [
        shapes.pixels[:, 0],
        *(shapes.pixels[:, 1] + each[:, None] for each in (offsets, away)),
    ]
    low, high = ends(np.concatenate(bodies, 1))
    first, last = 1 - low, size - 2 - high
    place = draws.branch(4).integers(first, np.maximum(first, last), 2)
    good &= (first <= last).all(1)
    # The other way round as well: the second shape is not always the right or lower one.
    flips = (draws.branch(5).integers(0, 1, 2) * 2 - 1)[:, None]
    centres = np.stack([place, place + chosen], 1)
    centres = np.where(flips == 1, centres, size - 1 - centres)
    return points * flips[:, None].astype(np.float32), centres, good


def _larger(draws, labels, size):
    """Of two similar shapes the left one is the larger one, or the right one."""
    points, found = lopsided(draws.branch(0), (16, 2), size, largest=32)
    more = draws.branch(1)
    large = more.uniform(1, 2)
    scales = np.stack([large / more.uniform(1.4, 2), large], 1).astype(np.float32)
    pair = flipped(points, more.integers(0, 3, 2))
    outlines = both(pair * scales[..., None, None], pair * scales[:, ::-1, None, None])

    def propose(draws, rows, reach):
        centres, good = scattered(draws, reach, size)
        left_first = np.sort(centres[..., 0], axis=1)
        centres = np.stack([left_first, centres[..., 1]], -1)
        return both(centres, centres), good & (np.ptp(left_first, axis=1) >= size / 8)

    outlines, centres, good = twins(draws.branch(2), labels, size, outlines, propose)
    return outlines, centres, good & found


def _odd_one_out(draws, labels, size, *, shapes: int = 4):
    """Copies, of which one is exchanged for a flip, or none."""
    copies = (0,) * (shapes - 1)
    one, zero = (*copies, 1), (*copies, 0)
    return same_or_not(draws, labels, size, zero=zero, one=one, radii=MEDIUM)


def _halves(draws, radius: float):
    """Rough curves in x > 0 from (0, -a) to (0, a), (n, P, 2), and which are found."""

    def propose(draws, rows):
        top = draws.uniform(radius / 2, radius)
        right, height = draws.uniform(radius / 4, radius), draws.uniform(-0.35, 0.35) * top
        nought = np.zeros_like(top)
        corners = np.stack([nought, -top, right, height, nought, top], 1)
        curves = corners.reshape(-1, 3, 2).astype(np.float32)
        for level in range(levels(radius)):
            curves = halved(draws.branch(level), curves)
        inner = curves[:, 1:-1]
        good = (inner[..., 0] >= 1) & (np.abs(inner[..., 1]) <= top[:, None])
        steps = np.linalg.norm(curves[:, 1:] - curves[:, :-1], axis=-1)
        middles = (curves[:, 1:, 1] + curves[:, :-1, 1]) / 2
        height = (steps * middles).sum(1) / steps.sum(1)
        # Or only a half that is turned would make the mean of all ink the middle of the box.
        return (curves,), good.all(1) & (np.abs(height) <= radius * _LEVEL)

    (curves,), found = first_accepted(draws, propose, attempts=_ATTEMPTS, at_once=_AT_ONCE)
    return curves, found


def _symmetric(draws, labels, size):
    """A shape whose left half is the mirror image of its right half, or that half, turned."""
    radius = 40 * size / 128
    right, found = _halves(draws.branch(0), radius)
    mirrored = (right * np.array([-1, 1], np.float32))[:, ::-1]
    whole = [np.concatenate([right[:, :-1], left[:, :-1]], 1) for left in (-right, mirrored)]
    found &= distance(whole[0], whole[0] * np.array([-1, 1], np.float32)) >= radius / 8
    outlines = np.stack(whole, 1)[:, :, None]
    outlines, centres, good = twins_anywhere(draws.branch(1), labels, size, outlines)
    return outlines, centres, good & found


RELATIONS: dict[str, Problem] = {
    "same": functools.partial(same_or_not, zero=(0, 1), one=(0, 0), radii=MEDIUM),
    "mirrored": _mirrored,
    "inside": _inside,
    "touching": _touching,
    "aligned": functools.partial(arranged, zero=(0, 1, 2), one=(0, 1, 2), places=line_or_not),
    "larger": _larger,
    "symmetric": _symmetric,
    "odd_one_out": _odd_one_out,
}
