"""Images in rows, each with a caption."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from tfcaps.plots import canvas


def contact_sheet(
    rows: Mapping[str, tuple[np.ndarray, Sequence[str]]], *, title: str = ""
) -> Figure:
    """Draws images in rows, such as those that a network has right and wrong.

    Args:
        rows: what stands before each row, with its images (N, H, W, C) in [0, 1] and a caption for
            each of them; N may be 0, and differ. At least one row has images.
        title: of the figure. Default: none.

    Returns:
        The figure.

    Raises:
        ValueError: there is no image, or not a caption for each.

    Example:

    >>> import numpy as np
    >>> from tfcaps import plots
    >>> figure = plots.contact_sheet({"right": (np.zeros((2, 9, 9, 1)), ["3", "5"])})
    >>> [axes.get_title() for axes in figure.axes]
    ['3', '5']
    """
    counts = {name: len(images) for name, (images, _) in rows.items()}
    if not any(counts.values()):
        raise ValueError("Expected at least one image. Received: none")
    for name, (_, captions) in rows.items():
        if len(captions) != counts[name]:
            raise ValueError(
                f"Expected {counts[name]} captions for {name}. Received: {len(captions)}"
            )
    columns = max(counts.values())
    figure = canvas.new_figure(1.9 + 1.35 * columns, 0.4 + 1.6 * len(rows), pictures=True)
    if title:
        figure.suptitle(title, fontsize=canvas.TITLE_SIZE, parse_math=False)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for line, (name, (images, captions)) in zip(grid, rows.items(), strict=True):
        for index, axes in enumerate(line):
            canvas.style_picture(axes)
            axes.set_xticks([])
            axes.set_yticks([])
            if index < len(images):
                axes.imshow(canvas.as_rgb(images[index]))
                axes.set_title(captions[index], fontsize=9, parse_math=False)
            else:
                axes.set_facecolor("none")
        line[0].set_ylabel(name if counts[name] else f"{name}\n(none)", fontsize=canvas.LABEL_SIZE)
    return figure
