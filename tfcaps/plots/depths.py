"""Accuracy against the number of layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from tfcaps.plots import canvas

# Of Okabe and Ito's palette; a routing that isn't here gets matplotlib's next colour.
_STYLES = {
    "rba": (canvas.BLUE, "o"),
    "em": (canvas.VERMILLION, "s"),
    "sda": ("#009E73", "^"),
    "mean": ("#555555", "D"),
}
# Curves at the same depth stand beside each other, so that their bars don't hide one another.
_SPREAD = 0.16

Curve = tuple[Sequence[int], Sequence[float], Sequence[float]]


def depth_curves(panels: Mapping[str, Mapping[tuple[str, bool], Curve]]) -> Figure:
    """Draws accuracy against depth, mean ± standard deviation, a panel per data set.

    A routing has a colour; curves of networks with residual connections are solid, and those of
    networks without are dashed.

    Args:
        panels: for each panel's title and each (routing, with residual connections): depths, and
            mean and standard deviation of the accuracy.

    Returns:
        The figure.

    Raises:
        ValueError: If there is no panel, a panel has no curve, or columns differ in length.

    Example:
        >>> from tfcaps.plots.depths import depth_curves
        >>> figure = depth_curves({"mnist": {("em", True): ([2, 3], [0.9, 0.8], [0.01, 0.02])}})
        >>> figure.axes[0].get_title(loc="left")
        'mnist'

    Source: Gugglberger, Peer, Rodríguez-Sánchez: Training deep capsule networks with residual
    connections, arXiv 2104.07393.
    """
    if not panels or not all(panels.values()):
        raise ValueError(f"Expected panels with curves. Received: {dict(panels)}")
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = canvas.new_figure(0.6 + 4.6 * columns, 0.7 + 3.5 * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    handles: dict[str, Any] = {}
    for axis, (title, curves) in zip(axes.flat, panels.items()):  # noqa: B905
        handles |= _draw_panel(axis, title, curves)
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    canvas.legend_above(figure, handles, columns=4)
    return figure


def _draw_panel(axes: Axes, title: str, curves: Mapping[tuple[str, bool], Curve]) -> dict:
    """Draws a panel and returns its curves by what the legend calls them."""
    handles = {}
    shifts = np.linspace(-_SPREAD, _SPREAD, len(curves)) if len(curves) > 1 else [0.0]
    for index, ((routing, has_skips), columns) in enumerate(curves.items()):
        depths, means, stds = (np.asarray(column, "float64") for column in columns)
        if not len(depths) == len(means) == len(stds) > 0:
            raise ValueError(
                f"Expected columns of one length for {routing}. "
                f"Received: {len(depths)}, {len(means)}, {len(stds)}"
            )
        color, marker = _STYLES.get(routing, (f"C{index}", "v"))
        handles[f"{routing}{', skips' if has_skips else ''}"] = axes.errorbar(
            depths + shifts[index],
            means,
            # An accuracy doesn't leave [0, 1]. Lists, as older Matplotlib takes a row of one number
            # for a number.
            yerr=[
                np.minimum(stds, means).tolist(),
                np.minimum(stds, np.subtract(1.0, means)).tolist(),
            ],
            color=color,
            marker=marker,
            markersize=5,
            linestyle="-" if has_skips else "--",
            markerfacecolor=color if has_skips else "white",
            linewidth=1.6,
            capsize=3,
        )
    axes.set_title(title, fontsize=canvas.TITLE_SIZE, loc="left", parse_math=False)
    axes.set_xlabel("Capsule layers", fontsize=canvas.LABEL_SIZE)
    place: Any = axes.get_subplotspec()  # each of these axes has one
    if place.is_first_col():
        axes.set_ylabel("Test accuracy", fontsize=canvas.LABEL_SIZE)
    axes.tick_params(labelsize=canvas.TICK_SIZE, labelleft=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    return handles
