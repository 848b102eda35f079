"""The definitions of tasks that aren't made of outlines: which class do given scenes have?"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tfcaps.datasets.abstract_shapes.board import BASE, FIELDS, FOCAL, Board
from tfcaps.datasets.abstract_shapes.patterns import Patterns

Verdict = tuple[np.ndarray, np.ndarray, np.ndarray]  # with, without, and whether it is proper


def _covered_once(scene: Patterns) -> np.ndarray:
    """Whether no pixel is covered by two squares, or lies outside of the picture."""
    side = scene.bits.shape[-1] * scene.bit_size
    good = ((scene.corners >= 0) & (scene.corners + side <= scene.size)).all((1, 2))
    for image in np.flatnonzero(good):
        count = np.zeros((scene.size, scene.size), int)
        for x, y in scene.corners[image]:
            count[y : y + side, x : x + side] += 1
        good[image] = count.max() == 1
    return good


def _equal_pairs(scene: Patterns) -> Verdict:
    count = np.array([len({square.tobytes() for square in image}) for image in scene.bits])
    every = scene.bits.shape[1]
    return count == every - 1, count == every, _covered_once(scene)


def _arrangement(scene: Patterns) -> Verdict:
    way = (scene.corners[:, 1] - scene.corners[:, 0]).astype(float)
    # Within an eighth of a turn around the horizontal.
    angle = np.abs(np.arctan2(way[:, 1], way[:, 0]))
    lying = (angle < np.pi / 4) | (angle > 3 * np.pi / 4)
    return lying, ~lying, _covered_once(scene)


def _colours(scene: Board) -> Verdict:
    """By the coloured fields under the whole of each pawn's disc."""
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    rim = BASE * np.stack([np.cos(angles), np.sin(angles)], -1)
    points = scene.pawns[:, :, None] + 0.999 * rim
    colours = np.floor(points).sum(-1) % 2
    on_board = ((points >= 0) & (points < FIELDS)).all((1, 2, 3))
    return (colours == 1).all((1, 2)), (colours == 0).all((1, 2)), on_board & _in_picture(scene)


def _in_picture(scene: Board) -> np.ndarray:
    """Whether cameras see the whole board, by turning it about two axes."""
    cosine, sine, rise, distance = scene.cameras.T
    corners = np.array([[0, 0, 0], [0, FIELDS, 0], [FIELDS, 0, 0], [FIELDS, FIELDS, 0]], float)
    good = np.ones(len(scene), bool)
    for corner in corners - [FIELDS / 2, FIELDS / 2, 0]:
        towards = corner[0] * cosine + corner[1] * sine
        aside = corner[1] * cosine - corner[0] * sine
        ahead = distance - towards * np.sqrt(1 - rise**2)
        above = -towards * rise
        reach = np.maximum(np.abs(aside), np.abs(above)) / ahead * FOCAL
        good &= reach <= 0.5
    return good


SCENE_RULES: dict[str, Callable[[Any], Verdict]] = {
    "psvrt_same": _equal_pairs,
    "psvrt_same_four": _equal_pairs,
    "psvrt_arranged": _arrangement,
    **dict.fromkeys(
        (
            "checkerboard",
            "checkerboard_placed",
            "checkerboard_rotated",
            "checkerboard_five",
            "checkerboard_five_rotated",
        ),
        _colours,
    ),
}
