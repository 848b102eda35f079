"""Bundle entropy of all layers over a training."""

import itertools
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from tfcaps.plots import canvas

# Without conflict: a grey that the colour map, which begins with a pale yellow, does not have.
_NO_CONFLICT = "#e9edf2"
_COLORS = "YlOrRd"
_LARGEST_COLOR_RANGE = (0.12, 1.0)  # its first colours are nearly white
_NAMED_LAYERS = 40
_NAMED_COLUMNS = 12
_BAR_WIDTH = 0.2  # inches
_LEAST_WIDTH = 6.5  # inches, for the title beside the layers' names
_ROW_HEIGHT = 0.2
_COLUMN_WIDTH = 0.35


def entropy_heatmap(
    entropies: np.ndarray,
    layer_names: Sequence[str],
    *,
    columns: Sequence[float] | None = None,
    x_label: str = "Epoch",
    title: str = "Bundle entropy",
) -> Figure:
    """Draws bundle entropy as a heat map, layers × epochs; the lowest layer is at the bottom.

    A layer without conflict, H = 0, is grey; any H > 0, however small, has a colour. A value that
    isn't known, NaN, is white.

    Args:
        entropies: H in nats, (L, T).
        layer_names: of the L layers, from the lowest on.
        columns: what to write below the T columns. Default: 1, 2, 3, …
        x_label: what the columns are. Default "Epoch".
        title: Default "Bundle entropy".

    Raises:
        ValueError: the shapes don't fit, there is nothing to draw, or an H is negative.

    Example:

    >>> from tfcaps.plots.entropies import entropy_heatmap
    >>> figure = entropy_heatmap([[0.0, 0.0], [0.0, 1.2]], ["block1", "block2"])
    >>> figure.axes[0].get_title(loc="left")
    'Bundle entropy: 1 of 2 layers conflict in the end'
    """
    values = np.asarray(entropies, dtype="float64")
    if values.ndim != 2 or values.size == 0 or len(values) != len(layer_names):
        raise ValueError(
            f"Expected entropies of {len(layer_names)} layers as (L, T). Received: {values.shape}"
        )
    if (values < 0).any():
        raise ValueError(f"Expected entropies >= 0. Received: {np.nanmin(values)}")
    layers, steps = values.shape
    figure = canvas.new_figure(
        min(max(_LEAST_WIDTH, 2.6 + _COLUMN_WIDTH * steps), 14.0),
        min(max(2.6, 1.2 + _ROW_HEIGHT * layers), 10.0),
    )
    axes = figure.subplots()
    axes.set_facecolor("white")
    _draw_cells(figure, axes, values)
    conflicting = int((values[:, -1] > 0).sum())
    axes.set_title(
        f"{title}: {conflicting} of {layers} layers conflict in the end",
        fontsize=canvas.TITLE_SIZE,
        loc="left",
        parse_math=False,
    )
    _name_columns(axes, steps, columns, x_label)
    _name_layers(axes, layer_names)
    axes.spines[:].set_visible(False)
    return figure


def _draw_cells(figure, axes, values):
    """Draws conflict-free cells in their own colour, and the others above them."""
    extent = (-0.5, values.shape[1] - 0.5, -0.5, values.shape[0] - 0.5)
    common = {"aspect": "auto", "origin": "lower", "interpolation": "nearest", "extent": extent}
    known = np.where(np.isnan(values), np.nan, 0.0)
    axes.imshow(known, cmap=ListedColormap([_NO_CONFLICT]), **common)
    largest = np.nanmax(values, initial=0.0)
    low, high = _LARGEST_COLOR_RANGE
    colors = ListedColormap(matplotlib.colormaps[_COLORS](np.linspace(low, high, 256)))
    drawn = axes.imshow(
        np.where(values > 0, values, np.nan),
        cmap=colors,
        norm=Normalize(0.0, largest if largest > 0 else 1.0),
        **common,
    )
    if largest > 0:
        aspect = figure.get_figheight() / _BAR_WIDTH
        bar = figure.colorbar(drawn, ax=axes, pad=0.02, aspect=aspect)
        bar.set_label("H in nats", fontsize=canvas.LABEL_SIZE)
        bar.ax.tick_params(labelsize=canvas.TICK_SIZE)
        bar.outline.set_visible(False)


def _name_columns(axes, steps, columns, x_label):
    names = list(range(1, steps + 1)) if columns is None else list(columns)
    # The first column and round numbers after it: 1, 5, 10, …
    every = next(n for n in itertools.count(1) if n * _NAMED_COLUMNS >= steps and _is_round(n))
    shown = [index for index in range(steps) if index == 0 or (index + 1) % every == 0]
    axes.set_xticks(shown, [f"{names[index]:g}" for index in shown], fontsize=canvas.TICK_SIZE)
    axes.set_xlabel(f"{x_label} (grey: no conflict)", fontsize=canvas.LABEL_SIZE)


def _is_round(number):
    """Whether a number is 1, 2 or 5 times a power of 10."""
    return str(number).rstrip("0") in ("1", "2", "5")


def _name_layers(axes, layer_names):
    every = -(-len(layer_names) // _NAMED_LAYERS)
    shown = list(range(0, len(layer_names), every))
    axes.yaxis.set_major_locator(FixedLocator(shown))
    axes.set_yticklabels(
        [layer_names[index] for index in shown], fontsize=canvas.TICK_SIZE - 2, parse_math=False
    )
    axes.tick_params(length=0)
