"""What each dimension of a capsule stands for."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from tfcaps.plots import canvas


def dimension_sweep(
    grid: np.ndarray, values: Sequence[float] | np.ndarray, *, title: str | None = None
) -> Figure:
    """Draws reconstructions of one capsule with one dimension at a time changed.

    Args:
        grid: Images (dimensions, values, H, W, C) in [0, 1]: row d, column j is the reconstruction
            after adding `values[j]` to dimension d.
        values: What was added, one number per column.
        title: Text over the figure, optional.

    Returns:
        The figure: a row per dimension (numbered from 1), a column per value.

    Raises:
        ValueError: If `grid` isn't of that rank or `values` has another length.

    Example:
        >>> import numpy as np
        >>> from tfcaps import plots
        >>> figure = plots.dimension_sweep(np.zeros((16, 3, 28, 28, 1)), [-0.25, 0, 0.25])
        >>> [label.get_text() for label in figure.axes[0].get_xticklabels()][1:]
        ['0', '+0.25']
    """
    grid = canvas.check_images("grid", grid, rank=5)
    dimensions, columns, height, width, _ = grid.shape
    if len(values) != columns:
        raise ValueError(f"Expected {columns} values. Received: {len(values)}")
    gap = max(1, height // 14)
    picture = canvas.montage(canvas.as_rgb(grid), gap)
    # 0.8 inches a column, and the same scale downwards, whatever the images' proportions.
    inches = 0.8 * columns
    height_inches = inches * picture.shape[0] / picture.shape[1]
    figure = canvas.new_figure(inches + 0.7, height_inches + (0.9 if title else 0.6), pictures=True)
    axes = figure.subplots()
    axes.imshow(picture)
    axes.set_xticks(canvas.cell_centres(columns, width, gap), [_signed(value) for value in values])
    axes.set_yticks(
        canvas.cell_centres(dimensions, height, gap),
        [str(number) for number in range(1, dimensions + 1)],
    )
    axes.xaxis.set_ticks_position("top")
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("Added to the dimension", fontsize=canvas.LABEL_SIZE)
    axes.set_ylabel("Dimension of the capsule", fontsize=canvas.LABEL_SIZE)
    canvas.style_picture(axes)
    if title:
        figure.suptitle(title, fontsize=canvas.TITLE_SIZE, parse_math=False)
    return figure


def _signed(value: float) -> str:
    """Writes a number with its sign (a real minus), and zero without."""
    if abs(value) < 1e-9:
        return "0"
    return f"{value:+.3g}".replace("-", "\N{MINUS SIGN}")
