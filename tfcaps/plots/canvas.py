"""What all figures share: sizes, colours, pixels, and the way to a file or an array."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from tfcaps import files

# Two colours of Okabe and Ito's palette: told apart under every common colour blindness.
BLUE = "#0072B2"
VERMILLION = "#D55E00"

TITLE_SIZE = 12
LABEL_SIZE = 11
TICK_SIZE = 10

DOTS_PER_INCH = 120


def new_figure(width: float, height: float, *, pictures: bool = False) -> Figure:
    """Returns an empty white figure of that many inches whose parts make room for each other.

    `pictures` says that what it will hold has a fixed proportion of height to width.
    """
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08, compress=pictures)
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout=layout)
    figure.set_facecolor("white")
    return figure


def style_chart(axes: Axes, *, title: str, x_label: str, y_label: str = "") -> None:
    """Gives a chart its texts, a light grid behind the data, and no frame on two sides.

    The legend stands in a line of its own between title and data, where it hides nothing.
    """
    axes.set_title(title, fontsize=TITLE_SIZE, loc="left", pad=22, parse_math=False)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=2,
        borderaxespad=0.2,
        borderpad=0.0,
        columnspacing=1.2,
        frameon=False,
        fontsize=TICK_SIZE,
    )
    axes.set_xlabel(x_label, fontsize=LABEL_SIZE)
    axes.set_ylabel(y_label, fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=TICK_SIZE)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def legend_above(figure: Figure, handles: Mapping[str, Any], *, columns: int) -> None:
    """One legend for all panels of a figure, above them.

    Args:
        figure: with the panels.
        handles: what is drawn, by what it is called.
        columns: at most so many beside each other.
    """
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside upper center",
        ncols=min(columns, len(handles)),
        frameon=False,
        fontsize=TICK_SIZE,
    )


def style_picture(axes: Axes) -> None:
    """Takes frame and tick marks off an axes that shows pixels; tick labels stay."""
    axes.tick_params(length=0, labelsize=TICK_SIZE)
    axes.spines[:].set_visible(False)


def check_images(name: str, images: np.ndarray, rank: int) -> np.ndarray:
    """Returns `images` as an array, or raises ValueError if it isn't of that rank and non-empty."""
    images = np.asarray(images)
    if images.ndim != rank or images.size == 0:
        raise ValueError(
            f"Expected {name} as a non-empty array of rank {rank} that ends in height, width, "
            f"channels. Received shape: {images.shape}"
        )
    return images


def as_rgb(images: np.ndarray) -> np.ndarray:
    """Turns pixels (..., C) in [0, 1] into colours (..., 3) that can be drawn.

    One channel is grey; any number of channels but 1 and 3 is shown as their mean, in grey. What
    lies outside [0, 1] is clipped and NaN is black, so that a diverged network can be looked at.
    """
    images = np.nan_to_num(np.asarray(images, dtype="float32"))
    if images.shape[-1] != 3:
        images = np.repeat(images.mean(axis=-1, keepdims=True), 3, axis=-1)
    return np.clip(images, 0.0, 1.0)


def montage(images: np.ndarray, gap: int) -> np.ndarray:
    """Lays images (rows, columns, H, W, 3) out on one white picture, `gap` pixels between them."""
    rows, columns, height, width, _ = images.shape
    cells = np.ones((rows, columns, height + gap, width + gap, 3), dtype="float32")
    cells[:, :, :height, :width] = images
    # (rows, columns, h, w, 3) -> (rows, h, columns, w, 3): pixels of one line become neighbours.
    picture = cells.swapaxes(1, 2).reshape(rows * (height + gap), columns * (width + gap), 3)
    return picture[: rows * (height + gap) - gap, : columns * (width + gap) - gap]


def cell_centres(count: int, size: int, gap: int) -> np.ndarray:
    """Returns the pixel coordinates (count,) of the middle of each row or column of a montage."""
    return np.arange(count) * (size + gap) + (size - 1) / 2


def save(figure: Figure, path: str | os.PathLike) -> pathlib.Path:
    """Writes a figure as a PNG file, whole or not at all.

    The picture is written beside `path` and then renamed, so that an earlier file stays as it was
    until the new one is complete. Missing folders are made.

    Args:
        figure: The figure.
        path: The file to write; its content is PNG whatever it is called.

    Returns:
        The path of the file.

    Raises:
        OSError: If the file can't be written. Nothing is left beside `path` then.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path, durable=False) as temporary:
        figure.savefig(temporary, format="png")
    return path


def to_array(figure: Figure) -> np.ndarray:
    """Draws a figure and returns its pixels, uint8 of shape (height, width, 3).

    Example:
        >>> from tfcaps import plots
        >>> figure = plots.learning_curves({"loss": [0.5, 0.25]})
        >>> pixels = plots.to_array(figure)
        >>> pixels.dtype, pixels.shape[-1]
        (dtype('uint8'), 3)
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
