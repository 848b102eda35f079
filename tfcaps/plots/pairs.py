"""Inputs and what the network reconstructs from their capsules."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from tfcaps.plots import canvas

_PAIRS_PER_ROW = 10
_LONGEST_NAME = 12


def reconstructions(
    originals: np.ndarray,
    reconstructed: np.ndarray,
    *,
    labels: Sequence[int] | None = None,
    predictions: Sequence[int] | None = None,
    class_names: Sequence[str] | None = None,
) -> Figure:
    """Draws pairs of an input image and, below it, its reconstruction.

    Over each pair stands the class, if given; "4 → 9" in red is a 4 that was taken for a 9.

    Args:
        originals: Images (N, H, W, C) in [0, 1]: grey, RGB, or any other C as the mean of all.
        reconstructed: Their reconstructions, same shape.
        labels: True classes (N,), optional.
        predictions: Predicted classes (N,), optional.
        class_names: Names of the classes; default: their numbers.

    Returns:
        The figure, up to ten pairs in a row.

    Raises:
        ValueError: If the two arrays differ in shape or aren't (N, H, W, C), or if there isn't
            one label or prediction for each image.

    Example:
        >>> import numpy as np
        >>> from tfcaps import plots
        >>> images = np.zeros((3, 28, 28, 1))
        >>> figure = plots.reconstructions(images, images, labels=[4, 4, 0], predictions=[4, 9, 0])
        >>> [axes.get_title() for axes in figure.axes]
        ['4', '4 → 9', '0']
    """
    originals = canvas.check_images("originals", originals, rank=4)
    reconstructed = np.asarray(reconstructed)
    if originals.shape != reconstructed.shape:
        raise ValueError(
            "Expected originals and reconstructions of one shape. "
            f"Received: {originals.shape} and {reconstructed.shape}"
        )
    for name, classes in (("labels", labels), ("predictions", predictions)):
        if classes is not None and len(classes) != len(originals):
            raise ValueError(f"Expected {len(originals)} {name}. Received: {len(classes)}")

    count, height, width, _ = originals.shape
    columns = min(count, _PAIRS_PER_ROW)
    rows = -(-count // columns)
    gap = max(1, height // 14)
    # Inches: each picture is one wide; beside them stand the names, above them the classes.
    pair_height = (2 * height + gap) / width + 0.35
    figure = canvas.new_figure(1.08 * columns + 1.15, pair_height * rows, pictures=True)
    grid = figure.subplots(rows, columns, squeeze=False)
    pairs = np.stack([canvas.as_rgb(originals), canvas.as_rgb(reconstructed)], axis=1)
    for index, axes in enumerate(grid.flat):
        canvas.style_picture(axes)
        axes.set_xticks([])
        axes.set_yticks([])
        if index >= count:
            axes.set_axis_off()
            continue
        axes.imshow(canvas.montage(pairs[index][:, np.newaxis], gap))
        title, wrong = _title(index, labels, predictions, class_names)
        axes.set_title(
            title,
            fontsize=9,
            color=canvas.VERMILLION if wrong else "black",
            parse_math=False,
        )
        if index % columns == 0:
            axes.set_yticks(canvas.cell_centres(2, height, gap), ["input", "reconstruction"])
    return figure


def _title(index: int, labels, predictions, class_names) -> tuple[str, bool]:
    """Returns what stands over a pair, and whether the prediction was wrong."""

    def name(classes) -> str:
        number = int(classes[index])
        text = str(number) if class_names is None else str(class_names[number])
        return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"

    if labels is None or predictions is None:
        known = labels if labels is not None else predictions
        return ("" if known is None else name(known)), False
    if int(labels[index]) == int(predictions[index]):
        return name(labels), False
    between = " " if len(name(labels) + name(predictions)) < _LONGEST_NAME - 2 else "\n"
    return f"{name(labels)}{between}→ {name(predictions)}", True
