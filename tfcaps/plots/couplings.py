"""How decided a routing is."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfcaps.plots import canvas

# Odd, so that a layer that stayed at 1/O of an axis up to 2/O fills the bin in the middle.
_BINS = 61
_PANELS_PER_ROW = 3


def coupling_histogram(couplings: Mapping[str, np.ndarray]) -> Figure:
    """Draws how the coupling coefficients of each capsule layer are distributed.

    The dashed line is 1/O, where all coefficients lie before the first iteration: a layer whose
    histogram stays there hasn't decided anything, one with mass near 0 and 1 has found a tree.
    Counts are on a logarithmic scale. The axis ends at the largest coefficient or at 2/O,
    whichever is larger, and never after 1.

    Args:
        couplings: Layer name → coupling coefficients (..., O, I) in [0, 1].

    Returns:
        The figure, one panel per layer.

    Raises:
        ValueError: If there is no layer, or an array has less than two axes or no elements.

    Example:
        >>> import numpy as np
        >>> from tfcaps import plots
        >>> figure = plots.coupling_histogram({"digits": np.full((32, 10, 1152), 0.1)})
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['digits']
    """
    if not couplings:
        raise ValueError("Expected the couplings of at least one layer. Received: none")
    arrays = {name: np.asarray(values, dtype="float32") for name, values in couplings.items()}
    for name, values in arrays.items():
        if values.ndim < 2 or values.size == 0:
            raise ValueError(
                f"Expected couplings of shape (..., O, I). Received: {values.shape} for {name}"
            )
    columns = min(len(arrays), _PANELS_PER_ROW)
    rows = -(-len(arrays) // columns)
    figure = canvas.new_figure(max(5.0, 4.0 * columns), 3.6 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, (name, values) in zip(grid.flat, arrays.items(), strict=False):
        _draw_layer(axes, values)
        canvas.style_chart(
            axes, title=name, x_label="Coupling coefficient", y_label="Count (logarithmic)"
        )
    for axes in grid.flat[len(arrays) :]:
        axes.set_axis_off()
    return figure


def _draw_layer(axes: Axes, values: np.ndarray) -> None:
    """Draws the histogram of one layer's couplings (..., O, I)."""
    uniform = 1.0 / values.shape[-2]
    finite = values[np.isfinite(values)]
    end = min(1.0, max(2 * uniform, float(finite.max(initial=0.0))))
    axes.hist(np.clip(finite, 0.0, end), bins=_BINS, range=(0.0, end), color=canvas.BLUE)
    axes.axvline(
        uniform,
        color=canvas.VERMILLION,
        linestyle="--",
        linewidth=1.8,
        label=f"uniform: 1/{values.shape[-2]}",
    )
    axes.set_xlim(0.0, end)
    if not finite.size:
        axes.set_yticks([])  # A diverged network: no bar, so no scale.
        return
    # From half a count on, so that a bar of one coefficient has a height.
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.5)
