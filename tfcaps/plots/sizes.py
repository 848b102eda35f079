"""Accuracy against the number of training examples."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from tfcaps.plots import canvas

# Okabe and Ito's palette, with markers for those who can't tell colours.
_STYLES = (
    (canvas.BLUE, "o"),
    (canvas.VERMILLION, "s"),
    ("#009E73", "^"),
    ("#CC79A7", "D"),
    ("#E69F00", "v"),
    ("#56B4E9", "P"),
)
_COLUMNS = 6

# Numbers of examples, mean accuracies, and standard errors or None.
Curve = tuple[Sequence[int], Sequence[float], Sequence[float | None]]


def accuracy_against_size(
    panels: Mapping[str, Mapping[str, Curve]], *, chance: float = 0.5
) -> Figure:
    """Draws test accuracy against the number of training examples, a panel per task.

    Args:
        panels: for each task and each network: numbers of examples, the mean accuracies, and their
            standard errors, None where there is one training only.
        chance: accuracy of guessing, a dotted line. Default 0.5.

    Returns:
        The figure, up to six panels in a row.

    Raises:
        ValueError: there is no panel, a panel has no curve, or columns differ in length.

    Example:

    >>> from tfcaps import plots
    >>> figure = plots.accuracy_against_size({"svrt_1": {"lenet": ([20], [0.5], [None])}})
    >>> figure.axes[0].get_title(loc="left")
    'svrt_1'
    """
    if not panels or not all(panels.values()):
        raise ValueError(f"Expected panels with curves. Received: {dict(panels)}")
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = canvas.new_figure(1.0 + 2.5 * max(columns, 2), 0.9 + 2.3 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    handles: dict[str, Any] = {}
    for axes, (title, curves) in zip(grid.flat, panels.items()):  # noqa: B905
        for name, curve in curves.items():
            handles[name] = _draw(axes, name, names.index(name), curve)
        axes.axhline(chance, color="#666666", linestyle=":", linewidth=1.2)
        _style(axes, title)
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    _set_sizes(
        grid[0, 0], [size for curves in panels.values() for c in curves.values() for size in c[0]]
    )
    figure.supxlabel("Training images", fontsize=canvas.LABEL_SIZE)
    figure.supylabel("Test accuracy", fontsize=canvas.LABEL_SIZE)
    canvas.legend_above(figure, handles, columns=6)
    return figure


def _draw(axes: Axes, name: str, number: int, curve: Curve) -> Any:
    sizes, means, errors = curve
    if not len(sizes) == len(means) == len(errors) > 0:
        raise ValueError(
            f"Expected columns of one length for {name}. "
            f"Received: {len(sizes)}, {len(means)}, {len(errors)}"
        )
    colour, marker = _STYLES[number % len(_STYLES)]
    return axes.errorbar(
        np.asarray(sizes, "float64"),
        np.asarray(means, "float64"),
        yerr=[error or 0.0 for error in errors],
        color=colour,
        marker=marker,
        markersize=4.5,
        linewidth=1.6,
        capsize=2.5,
    )


def _style(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=canvas.TITLE_SIZE, loc="left", parse_math=False)
    axes.tick_params(labelsize=canvas.TICK_SIZE, labelbottom=True)
    axes.tick_params(axis="x", rotation=60)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _set_sizes(axes: Axes, sizes: Sequence[int]) -> None:
    """A logarithmic axis with the numbers that there are."""
    axes.set_xscale("log")
    ticks = sorted(set(sizes))
    axes.set_xticks(ticks, [_short(size) for size in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def _short(size: int) -> str:
    """A number as it has room below a small panel.

    >>> _short(500), _short(10_000), _short(1_500)
    ('500', '10k', '1500')
    """
    return str(size) if size % 1000 else f"{size // 1000}k"
