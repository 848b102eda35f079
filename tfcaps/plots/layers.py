"""What an encoder loses with some of its layers, and how they were chosen."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tfcaps.errors import UsageError
from tfcaps.plots import canvas

_COLORS = (canvas.VERMILLION, canvas.BLUE, "#555555", "#009E73")
_MARKERS = "os^D"


class ScorePoint(NamedTuple):
    """A score with its standard error, NaN where it isn't known, at some place x."""

    x: float
    score: float
    error: float


def score_curves(
    curves: Mapping[str, Sequence[ScorePoint]], *, x_label: str, y_label: str
) -> Figure:
    """Draws scores with their standard errors, a curve for each way to choose.

    Args:
        curves: points by name.
        x_label: what x is, with its unit.
        y_label: what a score is.

    Raises:
        ValueError: there is no point.

    Example:

    >>> figure = score_curves({"greedy": [ScorePoint(0, 0.9, 0.01), ScorePoint(2, 0.8, 0.02)]},
    ...                       x_label="Removed layers", y_label="Accuracy")
    >>> figure.axes[0].get_xlabel()
    'Removed layers'
    """
    if not any(curves.values()):
        raise UsageError("Expected at least one score to draw. Received: none")
    figure = canvas.new_figure(6.4, 4.2)
    axes = figure.subplots()
    for index, (name, points) in enumerate(curves.items()):
        points = sorted(points)
        axes.errorbar(
            [point.x for point in points],
            [point.score for point in points],
            yerr=[0.0 if math.isnan(point.error) else point.error for point in points],
            label=name,
            color=_COLORS[index % len(_COLORS)],
            marker=_MARKERS[index % len(_MARKERS)],
            markersize=5,
            capsize=3,
            linewidth=1.2,
        )
    canvas.style_chart(axes, title="Mean ± standard error", x_label=x_label, y_label=y_label)
    if len(curves) > 2:  # room for a second line of the legend
        axes.set_title(axes.get_title(loc="left"), fontsize=canvas.TITLE_SIZE, loc="left", pad=38)
    if all(float(point.x).is_integer() for points in curves.values() for point in points):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def layer_choices(
    steps: Sequence[Mapping[str, tuple[float, float]]],
    winners: Sequence[str],
    *,
    y_label: str,
) -> Figure:
    """Draws, choice by choice, what each candidate came to.

    Args:
        steps: for each choice mean and standard error (NaN: unknown) by the candidate's name.
        winners: the name of the best one of each choice.
        y_label: what a score is.

    Raises:
        ValueError: there is no choice, or not one winner for each.

    Example:

    >>> figure = layer_choices([{"0": (0.8, 0.01), "1": (0.9, 0.02)}], ["1"], y_label="Accuracy")
    >>> len(figure.axes)
    1
    """
    if not steps or len(steps) != len(winners):
        raise UsageError(
            f"Expected a winner for each of at least one choice. Received: {len(winners)} winners "
            f"and {len(steps)} choices"
        )
    columns = min(3, len(steps))
    rows = -(-len(steps) // columns)
    widest = max(len(step) for step in steps)
    width = max(3.2, 0.22 * widest)
    figure = canvas.new_figure(width * columns, 3.2 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in grid.flat[len(steps) :]:
        axes.remove()
    for number, (axes, step, winner) in enumerate(
        zip(grid.flat, steps, winners, strict=False), start=1
    ):
        names = list(step)
        for place, name in enumerate(names):
            mean, error = step[name]
            is_winner = name == winner
            axes.errorbar(
                place,
                mean,
                yerr=0.0 if np.isnan(error) else error,
                color=canvas.VERMILLION if is_winner else canvas.BLUE,
                marker="D" if is_winner else "o",
                markersize=5,
                capsize=2,
                linestyle="none",
                label="chosen" if is_winner else None,
            )
        canvas.style_chart(
            axes,
            title=f"Choice {number}",
            x_label="Removed layer" if number == 1 else "Layer removed in addition",
            y_label=y_label if (number - 1) % columns == 0 else "",
        )
        axes.set_xticks(range(len(names)), names, rotation=90 if widest > 16 else 0)
    return figure
