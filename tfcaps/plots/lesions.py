"""What a network loses with some of its blocks."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from tfcaps.plots import canvas

_STYLES = {
    "conflicting": (canvas.VERMILLION, "o"),
    "non_conflicting": (canvas.BLUE, "s"),
    "all": ("#555555", "^"),
}


def lesion_curves(
    curves: Mapping[str, tuple[Sequence[int], Sequence[float], Sequence[float]]], accuracy: float
) -> Figure:
    """Draws test accuracy against the number of removed blocks, mean ± standard deviation.

    Each curve begins at the whole network, of which 0 blocks are removed.

    Args:
        curves: for each group of blocks how many were removed, and mean and standard deviation of
            the accuracy over the draws.
        accuracy: of the whole network.

    Raises:
        ValueError: there is no curve, or the three columns of one differ in length.

    Example:

    >>> from tfcaps import plots
    >>> figure = plots.lesion_curves({"all": ([1, 2], [0.8, 0.5], [0.01, 0.1])}, 0.9)
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['whole network 90.0%', 'all']

    Source: Peer, Stabinger, Rodríguez-Sánchez: Auto-tuning of deep neural networks by conflicting
    layer removal, arXiv 2103.04331.
    """
    if not curves:
        raise ValueError("Expected at least one group of blocks. Received: none")
    figure = canvas.new_figure(6.4, 4.2)
    axes = figure.subplots()
    axes.axhline(
        accuracy, color="#999999", linestyle="--", label=f"whole network {accuracy:.1%}", zorder=1
    )
    for index, (group, (removed, means, stds)) in enumerate(curves.items()):
        if not len(removed) == len(means) == len(stds) > 0:
            raise ValueError(
                f"Expected columns of one length for {group}. "
                f"Received: {len(removed)}, {len(means)}, {len(stds)}"
            )
        color, marker = _STYLES.get(group, (f"C{index}", "o"))
        _draw_curve(axes, removed, means, stds, accuracy, color, marker, group.replace("_", "-"))
    canvas.style_chart(
        axes,
        title="Accuracy without some residual branches",
        x_label="Removed branches",
        y_label="Test accuracy",
    )
    if len(curves) > 1:  # room for a second line of the legend
        axes.set_title(axes.get_title(loc="left"), fontsize=canvas.TITLE_SIZE, loc="left", pad=38)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    return figure


def _draw_curve(axes, removed, means, stds, accuracy, color, marker, label):
    removed = np.asarray([0, *removed])
    means, stds = np.asarray([accuracy, *means], "float64"), np.asarray([0.0, *stds], "float64")
    # A long curve is clearer without its markers.
    size = 4 if len(removed) <= 40 else 0
    axes.plot(removed, means, marker=marker, markersize=size, color=color, label=label)
    low, high = np.clip(means - stds, 0, 1), np.clip(means + stds, 0, 1)
    axes.fill_between(removed, low, high, color=color, alpha=0.15, linewidth=0)
