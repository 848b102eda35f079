"""What images of abstract classes show, before they are drawn."""

import dataclasses

import numpy as np

from tfcaps.datasets.abstract_shapes.contours import dense
from tfcaps.datasets.abstract_shapes.identities import Identities, identities
from tfcaps.datasets.abstract_shapes.rendering import (
    DEFAULT_RENDERING,
    Drawing,
    check_rendering,
    rendered,
)
from tfcaps.datasets.abstract_shapes.shapes import on_grid

# So few fit into a processor's cache.
_AT_ONCE = 64


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """What n images show: all that is needed to draw them, and to tell their classes.

    Args:
        size: height and width of the images, in pixels.
        labels: int64 (n,): 1 with the relation, 0 without.
        outlines: float32 (n, S, P, 2): x and y of each outline's points around its shape's origin;
            the last one is followed by the first. Point k of a copy is point k of the original.
        centres: (n, S, 2): x and y of the origins, in pixels from the upper left pixel; int64, or
            float64 where shapes lie between pixels.
        keys: uint64 (n,): from what a rendering draws its colours and its noise.
    """

    size: int
    labels: np.ndarray
    outlines: np.ndarray
    centres: np.ndarray
    keys: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def identities(self) -> Identities:
        """Which shapes are the same, and how they are scaled, turned and mirrored.

        Example:

        >>> from tfcaps.datasets import abstract_shapes
        >>> layout = abstract_shapes.layouts("odd_one_out", 100)
        >>> odd = layout.identities().mirrored.any(1) | (layout.identities().rotations != 0).any(1)
        >>> bool((odd == layout.labels).all())
        True
        """
        return identities(self.outlines)

    def render(self, style: str = DEFAULT_RENDERING, *, channels: int | None = None) -> np.ndarray:
        """The images, uint8 (n, size, size, C).

        Args:
            style: one of `renderings()`. Defaults to `outline`.
            channels: C, 1 or 3. Default None: 3 for `colour`, else 1.

        Raises:
            UsageError: the style or the number of channels is unknown.

        Example:

        >>> from tfcaps.datasets import abstract_shapes
        >>> layout = abstract_shapes.layouts("svrt_1", 2)
        >>> bool(layout.render("filled").sum() > layout.render().sum())
        True
        """
        check_rendering(style, channels)
        images = []
        for start in range(0, max(1, len(self)), _AT_ONCE):
            rows = slice(start, start + _AT_ONCE)
            points, centres = dense(self.outlines[rows]), self.centres[rows]
            pixels = on_grid(points, centres)
            drawing = Drawing(self.size, points + centres[:, :, None], pixels, self.keys[rows])
            images.append(rendered(drawing, style, channels))
        return np.concatenate(images)
