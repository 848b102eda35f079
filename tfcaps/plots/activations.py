"""Images that a layer's capsules answer to."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from tfcaps.plots import canvas

_COLUMNS = 8
_INCHES = 1.25  # a picture's width
_LONGEST_CAPTION = 18


def activation_grid(
    images: np.ndarray, captions: Sequence[str], *, title: str | None = None
) -> Figure:
    """Draws a picture per capsule, with a caption above each.

    Args:
        images: (K, H, W, C) in [0, 1].
        captions: one for each picture, such as the capsule's number and length.
        title: Text over the figure, optional.

    Returns:
        The figure, up to eight pictures in a row.

    Raises:
        ValueError: If `images` isn't of that rank, or there are more or fewer captions.

    Example:
        >>> import numpy as np
        >>> from tfcaps.plots.activations import activation_grid
        >>> figure = activation_grid(np.zeros((2, 28, 28, 1)), ["0: 0.91", "1: 0.87"])
        >>> [axes.get_title() for axes in figure.axes]
        ['0: 0.91', '1: 0.87']

    Source: Peer, Stabinger, Rodríguez-Sánchez: γ-capsules, arXiv 1812.09707.
    """
    images = canvas.check_images("images", images, rank=4)
    count, height, width, _ = images.shape
    if len(captions) != count:
        raise ValueError(f"Expected {count} captions. Received: {len(captions)}")
    # As few empty places as there can be, and then as few rows.
    columns = min(range(min(count, 5), _COLUMNS + 1), key=lambda n: (-count % n, -n))
    rows = -(-count // columns)
    picture_height = _INCHES * height / width
    # Titles need some width, whatever few pictures there are.
    figure = canvas.new_figure(
        max(columns * (_INCHES + 0.15), 3.0) + 0.2,
        rows * (picture_height + 0.4) + (0.6 if title else 0.2),
        pictures=True,
    )
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[count:]:
        axis.remove()
    for axis, image, caption in zip(axes.flat, canvas.as_rgb(images), captions):  # noqa: B905
        axis.imshow(image, vmin=0.0, vmax=1.0)
        axis.set_xticks([])
        axis.set_yticks([])
        # A frame, as most pictures are as white as the paper somewhere.
        axis.spines[:].set_color("#bbbbbb")
        short = (
            caption if len(caption) <= _LONGEST_CAPTION else f"{caption[: _LONGEST_CAPTION - 1]}…"
        )
        axis.set_title(short, fontsize=canvas.TICK_SIZE, pad=3, parse_math=False)
    if title:
        figure.suptitle(title, fontsize=canvas.TITLE_SIZE, wrap=True, parse_math=False)
    return figure
