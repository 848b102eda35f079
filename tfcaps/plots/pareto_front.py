"""What accuracy costs: all attempts of a search, and those that nothing beats."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from tfcaps.plots import canvas


def pareto_optimal(costs: Sequence[float], accuracies: Sequence[float]) -> np.ndarray:
    """Which points no other one beats: none is cheaper and as good, or better and as cheap.

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
    cheaper = costs[:, np.newaxis] <= costs
    better = accuracies[:, np.newaxis] >= accuracies
    strictly = (costs[:, np.newaxis] < costs) | (accuracies[:, np.newaxis] > accuracies)
    return ~(cheaper & better & strictly).any(axis=0)


def pareto_front(
    costs: Sequence[float],
    accuracies: Sequence[float],
    labels: Sequence[str],
    *,
    x_label: str,
    title: str = "Accuracy of all attempts",
) -> Figure:
    """Draws accuracy against cost; the points that nothing beats are joined and named.

    Args:
        costs: of N attempts, positive.
        accuracies: of N attempts, in [0, 1].
        labels: their names.
        x_label: what the costs are.
        title: Default "Accuracy of all attempts".

    Raises:
        ValueError: there is nothing to draw, or there are other numbers of values or names.

    Example:

    >>> from tfcaps import plots
    >>> figure = plots.pareto_front([10, 20], [0.6, 0.5], ["0", "1"], x_label="Parameters")
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['0']
    """
    if not len(costs) or len({len(costs), len(accuracies), len(labels)}) != 1:
        raise ValueError(
            "Expected as many accuracies and labels as costs, and at least one. "
            f"Received: {len(costs)}, {len(accuracies)}, {len(labels)}"
        )
    costs, accuracies = np.asarray(costs, "float64"), np.asarray(accuracies, "float64")
    best = pareto_optimal(costs, accuracies)
    figure = canvas.new_figure(6.4, 4.4)
    axes = figure.subplots()
    axes.scatter(
        costs[~best], accuracies[~best], color="#9aa5b1", s=30, label="other attempts", zorder=2
    )
    order = np.argsort(costs[best])
    axes.step(
        costs[best][order],
        accuracies[best][order],
        where="post",
        marker="o",
        color=canvas.BLUE,
        label="nothing is both cheaper and better",
        zorder=3,
    )
    _name(axes, costs[best][order], accuracies[best][order], np.asarray(labels)[best][order])
    if costs.min() > 0 and costs.max() / costs.min() > 10:
        axes.set_xscale("log")
    canvas.style_chart(axes, title=title, x_label=x_label, y_label="Validation accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.margins(0.12)
    return figure


def _name(axes, costs, accuracies, labels):
    """Writes the names of points that have the same place, or nearly so, one after the other."""
    width, height = np.ptp(costs) or 1.0, np.ptp(accuracies) or 1.0
    written = []
    for cost, accuracy, label in zip(costs, accuracies, labels, strict=True):
        near = any(
            abs(cost - c) < 0.06 * width and abs(accuracy - a) < 0.06 * height for c, a in written
        )
        if near:
            continue
        written.append((cost, accuracy))
        axes.annotate(
            label,
            (cost, accuracy),
            textcoords="offset points",
            xytext=(6, -12),
            fontsize=canvas.TICK_SIZE,
            parse_math=False,
        )
