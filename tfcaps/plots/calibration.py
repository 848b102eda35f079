"""Whether a network is right as often as it says."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from tfcaps.metrics.calibration import ReliabilityBins
from tfcaps.plots import canvas


def reliability(bins: ReliabilityBins, *, x_label: str = "Confidence") -> Figure:
    """Draws accuracy against confidence, above the number of examples of each confidence.

    On the diagonal a network is right as often as it says; a bar below it shows one that is too
    sure of itself. The title gives the expected calibration error.

    Args:
        bins: as `tfcaps.metrics.reliability_bins` returns them.
        x_label: what the confidence is. Default "Confidence".

    Returns:
        The figure.

    Example:
        >>> from tfcaps.metrics.calibration import reliability_bins
        >>> from tfcaps.plots.calibration import reliability
        >>> bins = reliability_bins([0.5, 0.9], [False, True])
        >>> reliability(bins).axes[0].get_title(loc="left")
        'Expected calibration error 0.3000'
    """
    counts = np.asarray(bins.counts)
    width = 1.0 / len(counts)
    lefts = np.arange(len(counts)) * width
    figure = canvas.new_figure(5.2, 5.6)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    top.bar(
        lefts,
        np.nan_to_num(bins.accuracy),
        width,
        align="edge",
        color=canvas.BLUE,
        edgecolor="white",
        label="accuracy",
    )
    top.plot(
        bins.confidence,
        bins.confidence,
        color=canvas.VERMILLION,
        marker="D",
        markersize=5,
        linestyle="none",
        label="confidence",
    )
    top.plot([0, 1], [0, 1], color="#777777", linestyle="--", linewidth=1.2)
    bottom.bar(lefts, counts, width, align="edge", color="#999999", edgecolor="white")
    title = f"Expected calibration error {bins.expected_calibration_error:.4f}"
    canvas.style_chart(top, title=title, x_label="", y_label="Accuracy")
    top.set_ylim(0.0, 1.02)
    top.set_xlim(0.0, 1.0)
    top.yaxis.set_major_formatter(PercentFormatter(1.0))
    bottom.set_xlabel(x_label, fontsize=canvas.LABEL_SIZE)
    bottom.set_ylabel("Examples", fontsize=canvas.LABEL_SIZE)
    bottom.tick_params(labelsize=canvas.TICK_SIZE)
    bottom.spines[["top", "right"]].set_visible(False)
    return figure
