"""Ways to draw one layout: the geometry is the same, only what is seen of it differs."""

from typing import NamedTuple

import numpy as np

from tfcaps.datasets.abstract_shapes.draws import Draws
from tfcaps.datasets.abstract_shapes.shapes import dilated, marked, parity
from tfcaps.errors import UsageError

DEFAULT_RENDERING = "outline"
_GREY = 128
_DASH, _PERIOD = 4.0, 7.0  # Pixels along an outline: what is drawn, and from dash to dash.
_DOTS = 4.0  # Pixels from dot to dot.
_FEWEST = 4  # Dashes or dots of an outline, however short.
_LINE_COLOURS, _BACKGROUND_COLOURS = (128, 255), (0, 95)  # Of each channel.
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
# What is drawn by chance: branches of an image's key that a layout doesn't use.
_BACKGROUND, _COLOURS, _NOISE = 2, 3, 4
_CHANNELS = (1, 3)


class Drawing(NamedTuple):
    """What a rendering gets of n images with S shapes.

    Args:
        size: height and width, pixels.
        points: (n, S, Q, 2), x and y in the picture, neighbours at most a pixel apart.
        pixels: int64 (n, S, Q, 2), where these are on the grid.
        keys: uint64 (n,), from which comes whatever a rendering draws by chance.
    """

    size: int
    points: np.ndarray
    pixels: np.ndarray
    keys: np.ndarray

    def lines(self) -> np.ndarray:
        """The outlines as masks, (n, size, size)."""
        return marked(self.pixels.reshape(len(self.pixels), -1, 2), self.size)

    def paint(self, images: np.ndarray, where: np.ndarray, values) -> None:
        """Writes values at the pixels of those shapes that `where` (n, S) says."""
        image, shape = np.nonzero(where)
        cells = self.pixels[image, shape]
        images[image[:, None], cells[..., 1], cells[..., 0]] = values


def _white(masks: np.ndarray) -> np.ndarray:
    return masks.view(np.uint8)[..., None] * np.uint8(255)


def _outline(drawing: Drawing) -> np.ndarray:
    return _white(drawing.lines())


def _thick(drawing: Drawing) -> np.ndarray:
    return _white(dilated(drawing.lines(), diagonal=True))


def _filled(drawing: Drawing) -> np.ndarray:
    """White shapes; one within another is a hole in it, so that it is still seen."""
    masks = parity(drawing.points, drawing.size)
    holes = _are_within(drawing, masks)
    # White at last: where lines of shapes meet, they stay.
    for value in (False, True):
        drawing.paint(masks, holes != value, value)
    return _white(masks)


def _are_within(drawing: Drawing, masks: np.ndarray) -> np.ndarray:
    """Which shapes lie within an odd number of others, (n, S).

    The pixels next to a shape's uppermost, lowest, leftmost and rightmost ones are looked up: at
    most one or two of them are another's where shapes only touch.
    """
    pixels, image = drawing.pixels, np.arange(len(masks))[:, None]
    odd = np.zeros(pixels.shape[:2], np.int64)
    for axis in (0, 1):
        along = pixels[..., axis]
        for extreme, step in ((along.argmin(2), -1), (along.argmax(2), 1)):
            cells = np.take_along_axis(pixels, extreme[..., None, None], 2)[:, :, 0]
            cells[..., axis] += step
            odd += masks[image, cells[..., 1], cells[..., 0]]
    return odd >= 3


def _along(points: np.ndarray, period: float) -> np.ndarray:
    """How many periods of about so many pixels an outline has up to each point, (n, S, Q).

    A whole number of them go around an outline, so that its end meets its beginning.
    """
    steps = np.linalg.norm(np.roll(points, -1, 2) - points, axis=-1)
    reached = np.cumsum(steps, axis=2)
    total = reached[..., -1:]
    count = np.maximum(np.rint(total / period), _FEWEST)
    return (reached - steps) / total * count


def _broken(drawing: Drawing, drawn: np.ndarray) -> np.ndarray:
    """The points of the outlines that are drawn, white."""
    masks = np.zeros((len(drawing.pixels), drawing.size, drawing.size), bool)
    image, shape, point = np.nonzero(drawn)
    cells = drawing.pixels[image, shape, point]
    masks[image, cells[:, 1], cells[:, 0]] = True
    return _white(masks)


def _dashed(drawing: Drawing) -> np.ndarray:
    return _broken(drawing, _along(drawing.points, _PERIOD) % 1 < _DASH / _PERIOD)


def _dots(drawing: Drawing) -> np.ndarray:
    number = np.floor(_along(drawing.points, _DOTS))
    return _broken(drawing, number != np.roll(number, 1, 2))


def _grey(drawing: Drawing) -> np.ndarray:
    return np.maximum(_outline(drawing), np.uint8(_GREY))


def _texture(drawing: Drawing) -> np.ndarray:
    """White on noise: each pixel of the background has a grey value of its own below 128."""
    words = -(-(drawing.size**2) // 8)
    noise = Draws(drawing.keys).branch(_NOISE).words(words).view(np.uint8)[:, : drawing.size**2]
    lines = drawing.lines()
    return np.where(lines, np.uint8(255), noise.reshape(lines.shape) >> 1)[..., None]


def _colour(drawing: Drawing) -> np.ndarray:
    """Each shape has a light colour, each background a dark one; copies have different colours."""
    draws, (n, count) = Draws(drawing.keys), drawing.pixels.shape[:2]
    background = draws.branch(_BACKGROUND).integers(*_BACKGROUND_COLOURS, 3)
    colours = draws.branch(_COLOURS).integers(*_LINE_COLOURS, count, 3).astype(np.uint8)
    images = np.empty((n, drawing.size, drawing.size, 3), np.uint8)
    images[:] = background[:, None, None]
    drawing.paint(images, np.ones((n, count), bool), colours.reshape(-1, 1, 3))
    return images


def _anti_aliased(drawing: Drawing) -> np.ndarray:
    """Grey values: how much of a line, one pixel wide, runs through each pixel.

    Each point of an outline stands for the length between its neighbours, and gives it to the
    four pixels around it, the nearer the more.
    """
    points = drawing.points.reshape(-1, *drawing.points.shape[2:])
    steps = np.linalg.norm(np.roll(points, -1, 1) - points, axis=-1)
    length = ((steps + np.roll(steps, 1, 1)) / 2).ravel()
    n, size = len(drawing.points), drawing.size
    flat = drawing.points.reshape(-1, 2)
    first = np.floor(flat).astype(np.int64)
    far = flat - first
    image = np.repeat(np.arange(n), len(flat) // n)
    cells = (image * size + first[:, 1]) * size + first[:, 0]
    ink = np.zeros(n * size * size)
    for down, vertical in ((0, 1 - far[:, 1]), (1, far[:, 1])):
        for right, horizontal in ((0, 1 - far[:, 0]), (1, far[:, 0])):
            weights = length * vertical * horizontal
            ink += np.bincount(cells + down * size + right, weights, minlength=len(ink))
    return np.rint(np.minimum(ink, 1) * 255).astype(np.uint8).reshape(n, size, size, 1)


def _inverted(drawing: Drawing) -> np.ndarray:
    return ~_outline(drawing)


RENDERINGS = {
    DEFAULT_RENDERING: _outline,
    "thick": _thick,
    "filled": _filled,
    "dashed": _dashed,
    "dots": _dots,
    "grey": _grey,
    "texture": _texture,
    "colour": _colour,
    "anti_aliased": _anti_aliased,
    "inverted": _inverted,
}


def renderings() -> tuple[str, ...]:
    """The ways to draw a layout, by name.

    `outline` (white lines of one pixel on black), `thick` (three pixels), `filled`, `dashed`,
    `dots`, `grey` (on a grey background), `texture` (on noise), `colour` (each shape and each
    background has its own), `anti_aliased` (lines at their place between the pixels, in grey
    values), `inverted` (black on white).

    Example:

    >>> from tfcaps.datasets import abstract_shapes
    >>> len(abstract_shapes.renderings()), abstract_shapes.renderings()[0]
    (10, 'outline')
    """
    return tuple(RENDERINGS)


def check_rendering(rendering: str, channels: int | None) -> None:
    """Refuses what `rendered` doesn't know.

    Raises:
        UsageError: the rendering or the number of channels is unknown.
    """
    if rendering not in RENDERINGS:
        raise UsageError(
            f"Expected a rendering among {', '.join(RENDERINGS)}. Received: {rendering}"
        )
    if channels is not None and channels not in _CHANNELS:
        raise UsageError(f"Expected 1 or 3 channels. Received: {channels!r}")


def only_rendering(rendering: str, channels: int | None) -> None:
    """Refuses all but the default, for scenes that aren't made of outlines.

    Raises:
        UsageError: it is another rendering, or the number of channels is unknown.
    """
    check_rendering(rendering, channels)
    if rendering != DEFAULT_RENDERING:
        raise UsageError(
            f"Expected the rendering {DEFAULT_RENDERING} of a task that has no outlines. "
            f"Received: {rendering}"
        )


def rendered(drawing: Drawing, rendering: str, channels: int | None) -> np.ndarray:
    """Images, uint8 (n, size, size, C).

    Args:
        drawing: what is drawn.
        rendering: how, one of `renderings()`.
        channels: 1 or 3. None: what the rendering has.
    """
    return _with_channels(RENDERINGS[rendering](drawing), channels)


def _with_channels(images: np.ndarray, channels: int | None) -> np.ndarray:
    if channels is None or channels == images.shape[-1]:
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=-1)
    return np.rint(images @ _LUMINANCE).astype(np.uint8)[..., None]
