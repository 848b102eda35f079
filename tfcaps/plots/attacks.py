"""What is left of a network's accuracy under attack."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from tfcaps.plots import canvas

# Okabe and Ito's palette but for its yellow, which is hardly seen on white.
_COLORS = (canvas.BLUE, canvas.VERMILLION, "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_MARKERS = "osD^vPX"


def accuracy_against_epsilon(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draws accuracy against the size ε of the change that an attack may make.

    A panel for each norm, as its ε can't be compared with another's; a curve for each attack.

    Args:
        rows: with `attack`, `norm` ("L∞" or "L2"), `epsilon` and `accuracy`.

    Returns:
        The figure.

    Raises:
        ValueError: there is no row.

    Example:
        >>> from tfcaps.plots.attacks import accuracy_against_epsilon
        >>> row = {"attack": "fgsm", "norm": "L∞", "epsilon": 0.1, "accuracy": 0.25}
        >>> figure = accuracy_against_epsilon([{**row, "epsilon": 0.0, "accuracy": 1.0}, row])
        >>> [line.get_label() for line in figure.axes[0].get_lines()]
        ['fgsm']
    """
    if not rows:
        raise ValueError("Expected at least one row. Received: none")
    norms = list(dict.fromkeys(row["norm"] for row in rows))
    figure = canvas.new_figure(5.6 * len(norms), 4.0)
    for axes, norm in zip(figure.subplots(1, len(norms), squeeze=False).flat, norms, strict=True):
        attacks = dict.fromkeys(row["attack"] for row in rows if row["norm"] == norm)
        for index, attack in enumerate(attacks):
            points = sorted(
                (row["epsilon"], row["accuracy"])
                for row in rows
                if (row["attack"], row["norm"]) == (attack, norm)
            )
            axes.plot(
                *zip(*points, strict=True),
                color=_COLORS[index % len(_COLORS)],
                marker=_MARKERS[index % len(_MARKERS)],
                markersize=5,
                linewidth=1.8,
                clip_on=False,
                label=attack,
            )
        title = f"Accuracy under attack ({norm})"
        canvas.style_chart(axes, title=title, x_label="ε", y_label="Accuracy")
        # Inside, as there may be more curves than fit into one line above.
        axes.legend(loc="best", frameon=False, fontsize=canvas.TICK_SIZE)
        axes.set_ylim(0.0, 1.0)
        axes.set_xlim(left=0.0)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    return figure
