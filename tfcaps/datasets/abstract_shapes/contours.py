"""Random closed outlines, of which the shapes are made."""

import numpy as np

from tfcaps.datasets.abstract_shapes.draws import Draws, first_accepted

# A displaced point lies within this part of its segment's length from the midpoint.
_ROUGHNESS = np.float32(0.2)
# Segments that are about so long (pixels) get straight: below it nobody sees the displacement.
_SHORTEST = 2.0
# Each straight segment has so many pixels at most, in x and in y.
STEPS = 4
_ATTEMPTS = 1000
_CURVE_ATTEMPTS = 40
_CURVES_AT_ONCE = 1024


def levels(radius: float) -> int:
    """How often the segments of an outline within `radius` pixels are halved."""
    return max(1, int(np.ceil(np.log2(np.sqrt(2.0) * radius / _SHORTEST) - 0.3)))


def outlines(
    draws: Draws, count: int, radius: float, hole: float, *, largest: float | None = None
) -> np.ndarray:
    """Draws outlines around the origin: one point in each quadrant, joined by rough curves.

    The four points are uniform in the ring from `hole` to `radius`. Each segment is halved, and
    its midpoint displaced within a disc of a fifth of its length, again and again. A curve with a
    point outside the ring is drawn anew; at last the outline is turned by any angle.

    Args:
        draws: of n images.
        count: outlines for each image, S.
        radius: pixels, R.
        hole: pixels, r: no point comes nearer to the origin, so it lies inside.
        largest: the radius that it may be scaled to, which decides the number of points. Default
            None: `radius`.

    Returns:
        float32 (n, S, P, 2), x and y, closed: the last point is followed by the first.

    Source: Fleuret et al., Comparing machines and humans on a visual categorization test, 2011.
    """
    depth = levels(largest or radius)

    longest = STEPS * radius / (largest or radius)

    def propose(draws: Draws, _) -> tuple:
        corners, _ = _corners(draws.branch(0), radius, hole)
        curves, found = _curves(draws.branch(1), corners, depth, (hole, radius), longest)
        return (curves.reshape(len(draws), -1, 2),), found

    each = draws.each(count)
    (points,), found = first_accepted(each, propose, attempts=_ATTEMPTS)
    if not found.all():
        raise RuntimeError(f"no outline within {radius} and outside {hole} pixels was found")
    points = turned(points, each.branch(_ATTEMPTS).directions())
    return points.reshape(len(draws), count, *points.shape[1:])


def turned(points: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Points (…, P, 2), turned (and scaled) so that (1, 0) becomes the direction (…, 2)."""
    x, y = points[..., 0], points[..., 1]
    c, s = directions[..., 0, None], directions[..., 1, None]
    return np.stack([c * x - s * y, s * x + c * y], -1)


def reflected(points: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Points (…, P, 2), reflected so that the direction (…, 2) becomes its negative."""
    along = np.einsum("...pk,...k->...p", points, directions)
    return points - 2 * along[..., None] * directions[..., None, :]


def dense(points: np.ndarray) -> np.ndarray:
    """Outlines (…, P, 2) with STEPS - 1 points more on each segment, (…, STEPS·P, 2)."""
    # As complex numbers: loops over the last axis, of two, would take several times as long.
    kind = np.result_type(points.dtype, np.complex64)
    corners = np.ascontiguousarray(points).view(kind)[..., 0]
    segments = np.roll(corners, -1, -1) - corners
    between = np.empty((*corners.shape, STEPS), kind)
    for step in range(STEPS):
        between[..., step] = corners + np.float32(step / STEPS) * segments
    return between.view(points.dtype).reshape(*points.shape[:-2], STEPS * points.shape[-2], 2)


def _squared(vectors: np.ndarray) -> np.ndarray:
    """Squares of the lengths of vectors (…, 2); a sum over so short an axis would be slow."""
    return np.square(vectors[..., 0]) + np.square(vectors[..., 1])


def _corners(draws: Draws, radius: float, hole: float) -> tuple[np.ndarray, np.ndarray]:
    """A point in each quadrant's part of the ring, (n, 4, 2), in order around the origin."""

    def propose(draws: Draws, _) -> tuple:
        squares = draws.uniform(hole**2, radius**2, 4)
        points = np.abs(draws.directions(4)) * np.sqrt(squares).astype(np.float32)[..., None]
        points *= np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]], np.float32)
        following = np.roll(points, -1, 1)
        lengths = np.sqrt(_squared(following - points))
        areas = points[..., 0] * following[..., 1] - points[..., 1] * following[..., 0]
        # A chord that cuts far into the hole has hardly a curve that doesn't.
        return (points,), (areas >= (hole - lengths * _ROUGHNESS / 2) * lengths).all(1)

    (points,), found = first_accepted(draws, propose, attempts=_ATTEMPTS)
    return points, found


def _curves(
    draws: Draws, corners: np.ndarray, depth: int, ring: tuple[float, float], longest: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rough curves from corner to corner, (n, 4, 2^depth, 2), and for which images all are found.

    Each curve is drawn on its own until it stays in the ring; all at once would hardly ever do.
    """
    ends = np.stack([corners, np.roll(corners, -1, 1)], 2).reshape(-1, 2, 2)

    def propose(draws: Draws, pending: np.ndarray) -> tuple:
        curves, kept = ends[pending], np.arange(len(pending))
        for level in range(depth):
            curves = halved(draws.branch(level).take(kept), curves)
            squares = _squared(curves[:, 1::2])
            good = ((squares >= ring[0] ** 2) & (squares <= ring[1] ** 2)).all(1)
            curves, kept = curves[good], kept[good]
        steps = np.abs(curves[:, 1:] - curves[:, :-1]).reshape(len(curves), 2 ** (depth + 1))
        good = steps.max(1, initial=0) <= longest
        accepted = np.zeros(len(pending), bool)
        accepted[kept[good]] = True
        result = np.zeros((len(pending), 2**depth, 2), np.float32)
        result[kept] = curves[:, :-1]
        return (result,), accepted

    (curves,), found = first_accepted(
        draws.each(4), propose, attempts=_CURVE_ATTEMPTS, at_once=_CURVES_AT_ONCE
    )
    whole = np.asarray(found.reshape(-1, 4).all(1))
    return curves.reshape(len(corners), 4, 2**depth, 2), whole


def halved(draws: Draws, curves: np.ndarray) -> np.ndarray:
    """Curves (n, P, 2) with a displaced point on each segment, (n, 2·P - 1, 2)."""
    steps = curves[:, 1:] - curves[:, :-1]
    reach = _ROUGHNESS * np.sqrt(_squared(steps))[..., None]
    result = np.empty((len(curves), 2 * curves.shape[1] - 1, 2), np.float32)
    result[:, ::2] = curves
    result[:, 1::2] = curves[:, :-1] + steps * np.float32(0.5) + reach * draws.discs(steps.shape[1])
    return result
