"""Loss and accuracy over the epochs."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from tfcaps.plots import canvas

_PANELS = (("loss", "Loss"), ("accuracy", "Accuracy"))


def learning_curves(history: Mapping[str, Sequence[float]]) -> Figure:
    """Draws loss and accuracy per epoch, training against validation.

    A column that isn't there leaves its curve (or its panel) out. A value that isn't finite leaves
    a gap; the panel says in which epoch that happened first to the training. The legend gives the
    last value of each curve.

    Args:
        history: Columns by name, all of one length: `loss`, `accuracy`, `val_loss`,
            `val_accuracy`, and `epoch` (default: 1, 2, 3, ...). Other columns are ignored.

    Returns:
        A figure with one panel for the loss and one for the accuracy.

    Raises:
        ValueError: If there is neither a loss nor an accuracy, or columns differ in length.

    Example:
        >>> from tfcaps import plots
        >>> history = {"epoch": [1, 2], "loss": [0.4, 0.1], "accuracy": [0.8, 0.9]}
        >>> figure = plots.learning_curves(history)
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['Loss', 'Accuracy']
    """
    curves = {
        name: np.asarray(history[name], dtype="float64")
        for panel, _ in _PANELS
        for name in (panel, f"val_{panel}")
        if name in history
    }
    panels = [(name, title) for name, title in _PANELS if name in curves or f"val_{name}" in curves]
    if not panels:
        raise ValueError(f"Expected a column loss or accuracy. Received: {sorted(history)}")
    count = len(next(iter(curves.values())))
    epochs = np.asarray(history.get("epoch", np.arange(1, count + 1)), dtype="float64")
    if any(len(values) != len(epochs) for values in curves.values()):
        lengths = {"epoch": len(epochs)} | {name: len(values) for name, values in curves.items()}
        raise ValueError(f"Expected columns of one length. Received: {lengths}")

    figure = canvas.new_figure(5.2 * len(panels), 3.8)
    for axes, (name, title) in zip(
        figure.subplots(1, len(panels), squeeze=False).flat, panels, strict=True
    ):
        _draw_panel(axes, epochs, curves.get(name), curves.get(f"val_{name}"), name == "accuracy")
        canvas.style_chart(axes, title=title, x_label=_x_label(epochs, curves.get(name)))
    return figure


def _draw_panel(
    axes: Axes,
    epochs: np.ndarray,
    training: np.ndarray | None,
    validation: np.ndarray | None,
    as_percentage: bool,
) -> None:
    """Draws the curves that are there; the legend gives the last value of each."""
    # A marker per epoch helps while there are few; a single epoch is nothing but its marker.
    markers = {"training": "o", "validation": "s"} if len(epochs) <= 40 else {}
    styles = (
        ("training", training, canvas.BLUE, "-"),
        ("validation", validation, canvas.VERMILLION, "--"),
    )
    for label, values, color, line in styles:
        if values is None:
            continue
        finite = np.where(np.isfinite(values), values, np.nan)
        known = finite[~np.isnan(finite)]
        if len(known):
            label += f" {known[-1]:.2%}" if as_percentage else f" {known[-1]:.4g}"
        axes.plot(
            epochs,
            finite,
            color=color,
            linestyle=line,
            marker=markers.get(label.split()[0]),
            markersize=4,
            linewidth=1.8,
            label=label,
        )
    if as_percentage:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    if not np.isfinite(axes.dataLim.y0):
        axes.set_yticks([])  # Nothing was drawn: any scale would be an invention.
    # The same epochs in every panel, whatever is missing in it; a single one gets some air.
    air = max(0.5, 0.02 * float(np.ptp(epochs)))
    axes.set_xlim(epochs.min() - air, epochs.max() + air)
    axes.xaxis.set_major_locator(
        MaxNLocator(nbins=8, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1)
    )


def _x_label(epochs: np.ndarray, training: np.ndarray | None) -> str:
    """Returns the text below a panel; it tells of a diverged training."""
    if training is None or np.isfinite(training).all():
        return "Epoch"
    return f"Epoch (not a finite number: first in {epochs[~np.isfinite(training)][0]:g})"
