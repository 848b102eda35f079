"""What networks that learn the sign of a number decide."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from tfcaps.plots import canvas


def sign_decisions(x: np.ndarray, differences: Mapping[str, np.ndarray]) -> Figure:
    """Draws networks' decisions over [−1, 1], one column for each setting.

    Above: the length of the positive class' capsule minus the negative one's, as its median over
    the networks and the range of the middle 80 % of them. Below: the share of networks that decide
    "positive", that is with a difference above 0, against the true sign.

    Args:
        x: Points, increasing, shape (P,).
        differences: For each setting's name an array (networks, P).

    Returns:
        The figure.

    Raises:
        ValueError: If there is no setting, or an array isn't (networks, P) with a network.

    Example:
        >>> import numpy as np
        >>> from tfcaps.plots.signs import sign_decisions
        >>> x = np.linspace(-1, 1, 4)
        >>> figure = sign_decisions(x, {"em, bias": np.stack([x, x])})
        >>> figure.axes[0].get_title(loc="left")
        'em, bias'

    Source: Peer, Stabinger, Rodríguez-Sánchez: Limitation of capsule networks, arXiv 1905.08744.
    """
    x = np.asarray(x)
    shapes = [np.shape(values) for values in differences.values()]
    if not shapes or any(len(s) != 2 or not s[0] or s[1:] != x.shape for s in shapes):
        raise ValueError(
            f"Expected arrays (networks, {len(x)}), at least one. Received shapes: {shapes}"
        )
    figure = canvas.new_figure(1.0 + 3.0 * len(shapes), 6.0)
    axes = figure.subplots(2, len(shapes), sharex=True, sharey="row", squeeze=False)
    for (above, below), (name, values) in zip(axes.T, differences.items(), strict=True):
        _draw_differences(above, x, np.asarray(values))
        _draw_shares(below, x, np.asarray(values))
        above.set_title(name, fontsize=canvas.TITLE_SIZE, loc="left", parse_math=False)
    for axis in axes.flat:
        axis.tick_params(labelsize=canvas.TICK_SIZE)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(True, color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
    axes[0, 0].set_ylabel("Difference of lengths", fontsize=canvas.LABEL_SIZE)
    axes[1, 0].set_ylabel('Deciding "positive"', fontsize=canvas.LABEL_SIZE)
    figure.supxlabel("x", fontsize=canvas.LABEL_SIZE)
    handles, labels = (
        above + below
        for above, below in zip(
            axes[0, 0].get_legend_handles_labels(),
            axes[1, 0].get_legend_handles_labels(),
            strict=True,
        )
    )
    canvas.legend_above(figure, dict(zip(labels, handles, strict=True)), columns=2)
    return figure


def _draw_differences(axes: Axes, x: np.ndarray, values: np.ndarray) -> None:
    low, median, high = np.quantile(values, [0.1, 0.5, 0.9], axis=0)
    axes.axhline(0.0, color="#666666", linewidth=0.8)
    axes.fill_between(
        x, low, high, color=canvas.BLUE, alpha=0.25, linewidth=0, label="middle 80 % of networks"
    )
    axes.plot(x, median, color=canvas.BLUE, linewidth=1.8, label="median")


def _draw_shares(axes: Axes, x: np.ndarray, values: np.ndarray) -> None:
    axes.plot(
        x, np.mean(values > 0, axis=0), color=canvas.VERMILLION, linewidth=1.8, label="networks"
    )
    axes.plot(
        [-1, 0, 0, 1], [0, 0, 1, 1], color="#666666", linestyle=":", linewidth=1.2, label="truth"
    )
    axes.set_ylim(-0.03, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
