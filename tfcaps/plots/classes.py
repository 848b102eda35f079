"""How accurate a network is on each class."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from tfcaps.plots import canvas

# Up to this many classes there is room for a number beside each bar, and for each name.
_ANNOTATED_CLASSES = 40
_LONGEST_NAME = 24


def class_accuracy(counts: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Draws the accuracy on each class as a bar, and the accuracy on all examples as a line.

    The axis starts at the tens of percent below the worst class, so that good networks can be told
    apart. Up to 40 classes are named and numbered.

    Args:
        counts: array (K, K), rows true classes, columns predicted ones, as
            `tfcaps.plots.confusion_counts` returns it.
        class_names: names of the K classes.

    Returns:
        The figure.

    Raises:
        ValueError: `counts` is not square or `class_names` has another length.

    Example:
        >>> from tfcaps.plots.classes import class_accuracy
        >>> figure = class_accuracy([[9, 1], [0, 10]], ["cat", "dog"])
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['90.0%', '100.0%']
    """
    counts = np.asarray(counts)
    if counts.shape != (len(class_names),) * 2 or not len(class_names):
        raise ValueError(
            f"Expected counts of shape (K, K) and K class names. Received: {counts.shape} "
            f"and {len(class_names)} class names"
        )
    examples = counts.sum(axis=1)
    accuracies = np.diag(counts) / np.maximum(examples, 1)
    accuracy = np.trace(counts) / max(counts.sum(), 1)
    rows = np.arange(len(class_names))
    figure = canvas.new_figure(6.2, float(np.clip(0.3 * len(rows), 1.2, 12.0)) + 1.3)
    axes = figure.subplots()
    axes.barh(rows, accuracies, color=canvas.BLUE)
    axes.axvline(
        accuracy,
        color=canvas.VERMILLION,
        linestyle="--",
        linewidth=1.8,
        label=f"all classes {accuracy:.2%}",
    )
    canvas.style_chart(axes, title="Accuracy by class", x_label="Accuracy")
    seen = accuracies[examples > 0]
    start = max(0.0, np.floor(10 * seen.min(initial=1.0) - 0.5) / 10)
    axes.set_xlim(start, 1.0)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(False, axis="y")
    axes.set_ylim(len(rows) - 0.4, -0.6)  # the first class on top
    if len(rows) > _ANNOTATED_CLASSES:
        axes.set_ylabel("Class", fontsize=canvas.LABEL_SIZE)
        return figure
    axes.set_yticks(rows, [_shortened(str(name)) for name in class_names], parse_math=False)
    for row, value in enumerate(accuracies):
        text = f"{value:.1%}" if examples[row] else "no examples"
        # In a column of their own at the right, where no bar and no line crosses them.
        axes.text(
            1.02,
            row,
            text,
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=canvas.TICK_SIZE,
        )
    return figure


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
