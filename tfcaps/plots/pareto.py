"""What accuracy costs: all attempts of a search, and those that nothing beats."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import (
    EngFormatter,
    LogLocator,
    NullFormatter,
    NullLocator,
    PercentFormatter,
)

from tfcaps.plots import canvas

# From this ratio of the largest cost to the smallest one on, the axis is logarithmic.
_LOG_RATIO = 10.0
# Size of a name and of its distance from its point, in parts of the chart's width and height.
_NAME_SIZE = np.array([0.045, 0.05])
_NAME_OFFSET = np.array([0.028, -0.036])


def pareto_optimal(costs: Sequence[float], accuracies: Sequence[float]) -> np.ndarray:
    """Which points no other one beats: none is cheaper and as good, or better and as cheap.

    A point with a NaN is never one of them, and equal points are all so or none.

    Args:
        costs: (N,), the smaller the better.
        accuracies: (N,), the larger the better.

    Returns:
        Booleans (N,).

    Example:

    >>> from tfcaps import plots
    >>> plots.pareto_optimal([1, 2, 3], [0.5, 0.4, 0.6]).tolist()
    [True, False, True]
    """
    costs, accuracies = np.asarray(costs, "float64"), np.asarray(accuracies, "float64")
    # Axis 0: the one that may beat, axis 1: the one that may be beaten.
    cheaper = costs[:, np.newaxis] <= costs
    better = accuracies[:, np.newaxis] >= accuracies
    strictly = (costs[:, np.newaxis] < costs) | (accuracies[:, np.newaxis] > accuracies)
    known = ~np.isnan(costs) & ~np.isnan(accuracies)
    return known & ~(cheaper & better & strictly).any(axis=0)


def pareto_front(
    costs: Sequence[float],
    accuracies: Sequence[float],
    labels: Sequence[str],
    *,
    x_label: str,
    y_label: str = "Validation accuracy",
    start: int | None = 0,
    log_x: bool | None = None,
    title: str = "Accuracy of all attempts",
) -> Figure:
    """Draws accuracy against cost; the points that nothing beats are joined by a step line.

    Points have their names where there is room, first those of the front. The point of the best
    accuracy, the cheapest of them, is marked with a star. Attempts whose cost or accuracy isn't
    finite are not drawn.

    Args:
        costs: of N attempts, positive.
        accuracies: of N attempts, in [0, 1].
        labels: their names, short ones such as numbers.
        x_label: what the costs are.
        y_label: Default "Validation accuracy".
        start: index of the attempt that the search began with, marked with a square; None for
            none. Default 0.
        log_x: whether the costs' axis is logarithmic. Default None: if they span a factor of 10.
        title: Default "Accuracy of all attempts".

    Raises:
        ValueError: there is no finite point, or there are other numbers of values or names.

    Example:

    >>> from tfcaps import plots
    >>> figure = plots.pareto_front([20, 10, 30], [0.5, 0.6, 0.8], ["0", "1", "2"], x_label="ms")
    >>> sorted(text.get_text() for text in figure.axes[0].texts)
    ['0', '1', '2']
    """
    if len({len(costs), len(accuracies), len(labels)}) != 1:
        raise ValueError(
            "Expected as many accuracies and labels as costs. "
            f"Received: {len(accuracies)}, {len(labels)} and {len(costs)}"
        )
    costs, accuracies = np.asarray(costs, "float64"), np.asarray(accuracies, "float64")
    known = np.isfinite(costs) & np.isfinite(accuracies)
    if not known.any():
        raise ValueError(f"Expected at least one finite point. Received: {len(costs)} others")
    began = np.arange(len(costs)) == (-1 if start is None else start)
    costs, accuracies, began = costs[known], accuracies[known], began[known]
    names = [str(label) for label, drawn in zip(labels, known, strict=True) if drawn]
    front = pareto_optimal(costs, accuracies)

    figure = canvas.new_figure(7.0, 4.8)
    axes = figure.subplots()
    _draw_points(axes, costs, accuracies, front, began)
    canvas.style_chart(axes, title="", x_label=x_label, y_label=y_label)
    # The legend has two lines.
    axes.set_title(title, fontsize=canvas.TITLE_SIZE, loc="left", pad=38, parse_math=False)
    _scale(axes, costs, log_x)
    _write_names(axes, costs, accuracies, names, front)
    return figure


def _draw_points(axes, costs, accuracies, front, began):
    """Draws all points, and over them the front, the start and the best one."""
    rest = ~front
    axes.scatter(costs[rest], accuracies[rest], color="#9aa5b1", s=26, label="attempt", zorder=2)
    # By cost, and the same place only once.
    steps = np.unique(np.stack([costs[front], accuracies[front]]), axis=1)
    axes.step(*steps, where="post", color=canvas.BLUE, linewidth=1.6, zorder=3)
    axes.plot(*steps, "o", color=canvas.BLUE, markersize=5.5, label="Pareto front", zorder=4)
    hollow = {"facecolors": "none", "linewidths": 1.6, "zorder": 6}
    if began.any():
        axes.scatter(
            costs[began],
            accuracies[began],
            marker="s",
            s=110,
            edgecolors="black",
            label="start",
            **hollow,
        )
    axes.scatter(
        *steps[:, -1:],
        marker="*",
        s=190,
        color=canvas.VERMILLION,
        edgecolors="white",
        linewidths=0.6,
        label=f"best {steps[1, -1]:.2%}",
        zorder=5,
    )


def _scale(axes, costs, log_x):
    if log_x is None:
        log_x = costs.min() > 0 and costs.max() / costs.min() >= _LOG_RATIO
    if log_x:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
    if costs.max() >= 1e4:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    elif log_x:
        axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.margins(0.1, 0.12)


def _write_names(axes, costs, accuracies, names, front):
    """Writes the front's names above it, where no point is, and other names where there is room."""
    axes.autoscale_view()
    to_chart = axes.transData + axes.transAxes.inverted()
    places = to_chart.transform(np.stack([costs, accuracies], axis=1))
    texts = np.empty((0, 2))
    for index in np.lexsort((-costs, ~front)):  # the front first, and of it the best
        side = -1 if front[index] else 1
        text = places[index] + side * _NAME_OFFSET
        if not (_is_free(text, texts, 1.0) and (front[index] or _is_free(text, places, 0.7))):
            continue
        texts = np.vstack([texts, text])
        axes.annotate(
            names[index],
            (costs[index], accuracies[index]),
            textcoords="offset points",
            xytext=(6 * side, -6 * side),
            ha="left" if side > 0 else "right",
            va="top" if side > 0 else "bottom",
            fontsize=canvas.TICK_SIZE - 1,
            parse_math=False,
        )


def _is_free(text, others, scale):
    return bool((np.abs(others - text) > scale * _NAME_SIZE).any(axis=1).all())
