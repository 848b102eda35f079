"""A checkerboard with pawns, seen by a camera, and what renders it."""

import dataclasses

import numpy as np

from tfcaps.datasets.abstract_shapes.draws import Draws
from tfcaps.datasets.abstract_shapes.rendering import DEFAULT_RENDERING, only_rendering

FIELDS = 8  # in a row; a field's side is the unit of length
FOCAL = 1.05  # The camera's focal length, as a part of the picture's side.
# A pawn: a disc, a cone from it up to the neck, and a sphere.
BASE, NECK, HEAD = 0.3, 0.1, 0.19  # radii
NECK_HEIGHT, HEAD_HEIGHT = 0.55, 0.7
_TABLE = 24
_LIGHT, _DARK, _PAWN = (185, 255), (35, 85), (125, 150)
_GREYS = 2  # The branch of an image's key that they are drawn from.
_AT_ONCE = 64


@dataclasses.dataclass(frozen=True, eq=False)
class Board:
    """What n images of a checkerboard show.

    Args:
        size: height and width of the images, in pixels.
        labels: int64 (n,): 1 if all pawns stand on light fields, 0 if on dark ones.
        pawns: float64 (n, K, 2): where they stand, 0 to 8 in x and y; the field (0, 0) is dark.
        cameras: float64 (n, 4): cosine and sine of the azimuth, sine of the elevation, and the
            distance from the middle of the board, which they look at.
        keys: uint64 (n,): from which the grey values come.
    """

    size: int
    labels: np.ndarray
    pawns: np.ndarray
    cameras: np.ndarray
    keys: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def render(self, style: str = DEFAULT_RENDERING, *, channels: int | None = None) -> np.ndarray:
        """The images, uint8 (n, size, size, C); arguments as for `Layout`.

        Raises:
            UsageError: the style isn't `outline`, the only one, or channels aren't 1 or 3.
        """
        only_rendering(style, channels)
        parts = [self._rendered(slice(k, k + _AT_ONCE)) for k in range(0, len(self), _AT_ONCE)]
        return np.repeat(np.concatenate(parts)[..., None], channels or 1, axis=-1)

    def _rendered(self, rows: slice) -> np.ndarray:
        view = _Camera(self.cameras[rows], self.size)
        draws = Draws(self.keys[rows]).branch(_GREYS)
        dark, light, pawn = (draws.integers(*greys) for greys in (_DARK, _LIGHT, _PAWN))
        images = view.board(dark.astype(np.uint8), light.astype(np.uint8))
        feet = np.concatenate([self.pawns[rows], np.zeros((*self.pawns[rows].shape[:2], 1))], -1)
        _, depth = view.seen(feet)
        # What is nearer hides what is farther.
        order = np.argsort(-depth, axis=1)
        every = np.arange(len(images))
        for k in range(feet.shape[1]):
            view.paint_pawn(images, feet[every, order[:, k]], pawn)
        return images


class _Camera:
    """Cameras that look at the middle of the board, upright."""

    def __init__(self, cameras: np.ndarray, size: int):
        self.size, self.focal = size, FOCAL * size
        cosine, sine, self.rise, self.distance = cameras.T
        flat, nought = np.sqrt(1 - self.rise**2), np.zeros(len(cameras))
        self.right = np.stack([-sine, cosine, nought], -1)
        self.up = np.stack([-self.rise * cosine, -self.rise * sine, flat], -1)
        self.ahead = -np.stack([flat * cosine, flat * sine, self.rise], -1)
        self.place = np.array([FIELDS / 2, FIELDS / 2, 0]) - self.distance[:, None] * self.ahead

    def seen(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where points (n, K, 3) are in the picture, (n, K, 2) in pixels, and how far ahead."""
        way = points - self.place[:, None]
        depth, x, y = (
            np.einsum("nkd,nd->nk", way, axis) for axis in (self.ahead, self.right, self.up)
        )
        middle = (self.size - 1) / 2
        scale = self.focal / depth
        return np.stack([middle + scale * x, middle - scale * y], -1), depth

    def board(self, dark: np.ndarray, light: np.ndarray) -> np.ndarray:
        """The fields in the picture, (n, size, size).

        All points of a row of pixels are equally far ahead, so x and y grow evenly along it.
        """
        steps = ((np.arange(self.size) - (self.size - 1) / 2) / self.focal).astype(np.float32)
        across = self.ahead[:, None] - steps[:, None] * self.up[:, None]  # (n, rows, 3)
        reach = self.place[:, None, 2] / -across[..., 2]
        start = self.place[:, None, :2] + reach[..., None] * across[..., :2]
        slope = reach[..., None] * self.right[:, None, :2]
        odd, outside = np.zeros((2, len(dark), self.size, self.size), bool)
        for axis in (0, 1):
            first = start[..., axis, None].astype(np.float32)
            places = first + slope[..., axis, None].astype(np.float32) * steps
            outside |= (places < 0) | (places >= FIELDS)
            odd ^= (places.astype(np.int16) & 1).astype(bool)
        fields = np.where(odd, light[:, None, None], dark[:, None, None])
        return np.where(outside, np.uint8(_TABLE), fields)

    def paint_pawn(self, images: np.ndarray, feet: np.ndarray, grey: np.ndarray) -> None:
        """Paints one pawn at feet (n, 3) into each image."""
        heights = np.array([0, NECK_HEIGHT, HEAD_HEIGHT])
        points = np.repeat(feet[:, None], 3, axis=1)
        points[..., 2] = heights
        centres, depth = self.seen(points)
        scales = self.focal / depth
        half = int(np.ceil(scales.max() * (HEAD_HEIGHT + HEAD + BASE) / 2)) + 1
        middle = np.rint((centres[:, 0] + centres[:, 2]) / 2).astype(np.int64)
        steps = np.arange(-half, half + 1)
        x = (middle[:, 0, None] + steps)[:, None].astype(np.float32)
        y = (middle[:, 1, None] + steps)[:, :, None].astype(np.float32)
        (base_x, base_y), (neck_x, neck_y), (head_x, head_y) = (
            centres[:, k].T[:, :, None, None].astype(np.float32) for k in range(3)
        )
        base, neck, head = (
            (radius * scales[:, k])[:, None, None].astype(np.float32)
            for k, radius in enumerate((BASE, NECK, HEAD))
        )
        flat = base * self.rise[:, None, None].astype(np.float32)
        part = (y - base_y) / (neck_y - base_y)
        width = base + part * (neck - base)
        aside = np.abs(x - (base_x + part * (neck_x - base_x)))
        body = (part >= 0) & (part <= 1) & (aside <= width)
        disc = ((x - base_x) / base) ** 2 + ((y - base_y) / flat) ** 2 <= 1
        ball = (x - head_x) ** 2 + (y - head_y) ** 2
        shade = np.where(ball <= head**2, 1.0 - 0.3 * ball / head**2, 0.85)
        image, row, column = np.nonzero(body | disc | (ball <= head**2))
        rows, columns = row + middle[image, 1] - half, column + middle[image, 0] - half
        shown = (rows >= 0) & (rows < self.size) & (columns >= 0) & (columns < self.size)
        image, row, column = image[shown], row[shown], column[shown]
        values = (grey[image] * shade[image, row, column]).astype(np.uint8)
        images[image, rows[shown], columns[shown]] = values
