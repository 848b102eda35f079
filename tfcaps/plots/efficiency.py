"""Accuracy against the number of labels, a line for each strategy."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from tfcaps.plots import canvas

# Okabe and Ito's palette, and line styles for those who can't tell colours.
_COLOURS = (canvas.BLUE, canvas.VERMILLION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES = ("-", "--", "-.", ":")


def label_efficiency(
    budgets: np.ndarray, accuracies: Mapping[str, np.ndarray], full: float | None = None
) -> Figure:
    """Draws the mean accuracy over seeds, with a band of one standard deviation.

    Args:
        budgets: numbers of labels, increasing, `(B,)`.
        accuracies: for each strategy an array `(seeds, B)`, in [0, 1].
        full: accuracy with the labels of the whole pool. Default None: isn't drawn.

    Returns:
        The figure.

    Raises:
        ValueError: there is no strategy, or an array isn't `(seeds, B)`.

    Example:

    >>> figure = label_efficiency(np.array([10, 20]), {"random": np.array([[0.5, 0.75]])})
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['random']
    """
    shapes = [np.shape(values) for values in accuracies.values()]
    if not shapes or any(len(s) != 2 or not s[0] or s[1] != len(budgets) for s in shapes):
        raise ValueError(
            f"Expected arrays (seeds, {len(budgets)}), at least one. Received shapes: {shapes}"
        )
    figure = canvas.new_figure(7.0, 4.8)
    axes = figure.subplots()
    for number, (name, values) in enumerate(accuracies.items()):
        mean, deviation = np.mean(values, axis=0), np.std(values, axis=0)
        colour = _COLOURS[number % len(_COLOURS)]
        style = _STYLES[number % len(_STYLES)]
        axes.plot(budgets, mean, style, color=colour, linewidth=1.8, label=name, marker=".")
        axes.fill_between(
            budgets, mean - deviation, mean + deviation, color=colour, alpha=0.15, linewidth=0
        )
    if full is not None:
        axes.axhline(full, color="#666666", linestyle=":", linewidth=1.2, label="all labels")
    axes.set_xscale("log")
    axes.set_xticks(budgets, [str(budget) for budget in budgets], minor=False, rotation=45)
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    canvas.style_chart(axes, title="", x_label="Labels", y_label="Test accuracy")
    return figure
