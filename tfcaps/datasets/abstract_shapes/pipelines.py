"""Abstract tasks as tf.data, drawn while they are read."""

import itertools

import numpy as np
import tensorflow as tf

from tfcaps.datasets.abstract_shapes.generator import DEFAULT_SIZE, check_options, layouts
from tfcaps.datasets.abstract_shapes.rendering import DEFAULT_RENDERING
from tfcaps.errors import positive_int

_AT_ONCE = 256


def dataset(
    task: str,
    count: int | None = None,
    *,
    seed: int = 0,
    split: str = "train",
    size: int = DEFAULT_SIZE,
    rendering: str = DEFAULT_RENDERING,
    channels: int | None = None,
    shapes: int | None = None,
) -> tf.data.Dataset:
    """Images uint8 (size, size, C) with their labels, int64, in the order of their numbers.

    Args:
        task: as for `generate`.
        count: how many images. Default None: without an end.
        seed: as for `generate`.
        split: as for `generate`.
        size: as for `generate`.
        rendering: as for `generate`.
        channels: as for `generate`.
        shapes: as for `generate`.

    Raises:
        UsageError: as for `generate`.

    Example:

    >>> from tfcaps.datasets import abstract_shapes
    >>> batches = abstract_shapes.dataset("svrt_1", 100, size=96).batch(32)
    >>> [images.shape[0] for images, _ in batches]
    [32, 32, 32, 4]
    """
    if count is not None:
        count = positive_int("the number of images", count)
    check_options(task, split, size, rendering, channels, shapes)

    def drawn():
        for start in itertools.count(0, _AT_ONCE):
            stop = start + _AT_ONCE if count is None else min(start + _AT_ONCE, count)
            if start >= stop:
                return
            numbers = np.arange(start, stop)
            part = layouts(task, numbers, seed=seed, split=split, size=size, shapes=shapes)
            yield part.render(rendering, channels=channels), part.labels

    depth = channels or (3 if rendering == "colour" else 1)
    signature = (
        tf.TensorSpec((None, size, size, depth), tf.uint8),
        tf.TensorSpec((None,), tf.int64),
    )
    # One step of the generator is many images: a step in Python for each would be slower.
    images = tf.data.Dataset.from_generator(drawn, output_signature=signature).unbatch()
    length = tf.data.INFINITE_CARDINALITY if count is None else count
    return images.apply(tf.data.experimental.assert_cardinality(length))
