"""Which class is taken for which."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from tfcaps.plots import canvas

# Up to this many classes there is room for a number in each cell.
_ANNOTATED_CLASSES = 20
# Beyond this many classes only some of them are named at the axes.
_NAMED_CLASSES = 60
_LONGEST_NAME = 24


def confusion_counts(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts how often each class was taken for each class.

    counts[t, p] = number of examples of class t that were predicted as class p.

    Args:
        labels: True classes, integers of shape (N,).
        predictions: Predicted classes, integers of shape (N,).
        num_classes: Number of classes K.

    Returns:
        int64 array of shape (K, K): rows are true classes, columns predicted ones.

    Raises:
        ValueError: If the shapes differ or a class is not in 0 ... K - 1.

    Example:
        >>> from tfcaps import plots
        >>> plots.confusion_counts([0, 0, 1], [0, 1, 1], num_classes=2).tolist()
        [[1, 1], [0, 1]]
    """
    labels = np.asarray(labels, dtype="int64")
    predictions = np.asarray(predictions, dtype="int64")
    if labels.ndim != 1 or labels.shape != predictions.shape:
        raise ValueError(
            "Expected labels and predictions of one shape (N,). "
            f"Received: {labels.shape} and {predictions.shape}"
        )
    both = np.concatenate([labels, predictions])
    outside = both[(both < 0) | (both >= num_classes)]
    if len(outside):
        raise ValueError(f"Expected classes from 0 to {num_classes - 1}. Received: {outside[0]}")
    pairs = np.bincount(labels * num_classes + predictions, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


def confusion_matrix(counts: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Draws a confusion matrix; the title gives the accuracy.

    Colour is the share of the true class, counts[t, p] / Σ_p counts[t, p], on a scale that widens
    small shares so that rare confusions can be seen. With up to 20 classes the counts other than 0
    are written into the cells.

    Args:
        counts: Array of shape (K, K), rows true classes, columns predicted ones, as
            `confusion_counts` returns it.
        class_names: Names of the K classes.

    Returns:
        The figure.

    Raises:
        ValueError: If `counts` is not square or `class_names` has another length.

    Example:
        >>> from tfcaps import plots
        >>> figure = plots.confusion_matrix([[9, 1], [0, 10]], ["cat", "dog"])
        >>> figure.axes[0].get_title(loc="left")
        'Accuracy 95.00% (19 of 20)'
    """
    counts = np.asarray(counts)
    if counts.shape != (len(class_names),) * 2 or not len(class_names):
        raise ValueError(
            f"Expected counts of shape (K, K) and K class names. Received: {counts.shape} "
            f"and {len(class_names)} class names"
        )
    num_classes = len(class_names)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [_shortened(str(name)) for name in class_names]
    # Inches: a cell wide enough for its count, a letter of a class name, and what stands around.
    side = float(np.clip(0.48 * num_classes, 2.4, 9.6)) + 0.07 * max(map(len, names))
    figure = canvas.new_figure(side + 1.7, side + 0.9, pictures=True)
    axes = figure.subplots()
    canvas.style_picture(axes)
    picture = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, vmin=0.0, vmax=1.0))
    _name_classes(axes, names)
    if num_classes <= _ANNOTATED_CLASSES:
        _write_counts(axes, counts, shares)
    total, correct = int(counts.sum()), int(np.trace(counts))
    title = f"Accuracy {correct / total:.2%} ({correct:,} of {total:,})" if total else "No examples"
    axes.set_title(title, fontsize=canvas.TITLE_SIZE, loc="left")
    axes.set_xlabel("Predicted class", fontsize=canvas.LABEL_SIZE)
    axes.set_ylabel("True class", fontsize=canvas.LABEL_SIZE)
    bar = figure.colorbar(picture, ax=axes, fraction=0.04, pad=0.02)
    bar.set_ticks([0, 0.01, 0.05, 0.2, 0.5, 1.0])
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    bar.set_label("Share of the true class", fontsize=canvas.LABEL_SIZE)
    bar.outline.set_visible(False)
    return figure


def _name_classes(axes: Axes, names: Sequence[str]) -> None:
    """Puts the class names at both axes, turned where they would meet, thinned where too many."""
    places = range(0, len(names), -(-len(names) // _NAMED_CLASSES))
    size = canvas.TICK_SIZE if len(names) <= _ANNOTATED_CLASSES else 7
    turned = max(map(len, names)) > 3 or len(names) > _ANNOTATED_CLASSES
    names = [names[place] for place in places]
    axes.set_xticks(
        places,
        names,
        rotation=45 if turned else 0,
        ha="right" if turned else "center",
        rotation_mode="anchor" if turned else "default",
        fontsize=size,
        parse_math=False,
    )
    axes.set_yticks(places, names, fontsize=size, parse_math=False)


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    """Writes every count but 0 into its cell, in white on dark cells."""
    size = 9 if counts.max() < 10_000 else 7
    for row, column in np.argwhere(counts):
        axes.text(
            column,
            row,
            str(int(counts[row, column])),
            ha="center",
            va="center",
            fontsize=size,
            # The colour scale is a square root: half of its darkness is a share of a quarter.
            color="white" if shares[row, column] > 0.3 else "black",
        )
