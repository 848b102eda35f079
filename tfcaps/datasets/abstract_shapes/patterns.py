"""Squares of random bits, before they are drawn."""

import dataclasses

import numpy as np

from tfcaps.datasets.abstract_shapes.rendering import DEFAULT_RENDERING, only_rendering

_BACKGROUND = 128


@dataclasses.dataclass(frozen=True, eq=False)
class Patterns:
    """What n images of squares of bits show.

    Args:
        size: height and width of the images, in pixels.
        labels: int64 (n,): 1 with the relation, 0 without.
        bits: uint8 (n, S, m, m): 0 or 1, rows from above.
        corners: int64 (n, S, 2): x and y of the squares' upper left pixels.
        keys: uint64 (n,): those of the images.
    """

    size: int
    labels: np.ndarray
    bits: np.ndarray
    corners: np.ndarray
    keys: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def bit_size(self) -> int:
        """Height and width of a bit, in pixels."""
        return bit_size(self.size)

    def render(self, style: str = DEFAULT_RENDERING, *, channels: int | None = None) -> np.ndarray:
        """White and black bits on grey, uint8 (n, size, size, C); arguments as for `Layout`.

        Raises:
            UsageError: the style isn't `outline`, the only one, or channels aren't 1 or 3.
        """
        only_rendering(style, channels)
        images = np.full((len(self), self.size, self.size), _BACKGROUND, np.uint8)
        pixels = np.repeat(np.repeat(self.bits, self.bit_size, 2), self.bit_size, 3) * np.uint8(255)
        steps = np.arange(pixels.shape[-1])
        every = np.arange(len(self))[:, None, None]
        for shape in range(pixels.shape[1]):
            x, y = np.moveaxis(self.corners[:, shape, :, None] + steps, 1, 0)
            images[every, y[:, :, None], x[:, None]] = pixels[:, shape]
        return np.repeat(images[..., None], channels or 1, axis=-1)


def bit_size(size: int) -> int:
    """Pixels of a bit in images of this size."""
    return size // 32
