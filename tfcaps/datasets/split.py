"""Images and their labels."""

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Images with their labels, one part of a data set.

    Args:
        images: uint8, (N, H, W, C).
        labels: int64, (N,): each image's index in the data set's class names.

    Raises:
        ValueError: The arrays have other shapes or types.

    Example:

    >>> import numpy as np
    >>> from tfcaps.datasets import Split
    >>> split = Split(np.zeros((3, 28, 28, 1), np.uint8), np.array([7, 2, 1]))
    >>> len(split), split.take([2, 0]).labels.tolist()
    (3, [1, 7])
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.ndim != 4 or images.dtype != np.uint8:
            raise ValueError(
                "Expected uint8 images of shape (N, H, W, C). "
                f"Received: {images.dtype}, {images.shape}"
            )
        if labels.shape != images.shape[:1] or labels.dtype != np.int64:
            raise ValueError(
                f"Expected {len(images)} int64 labels. Received: {labels.dtype}, {labels.shape}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Sequence[int] | np.ndarray) -> "Split":
        """The examples at these indices, in their order."""
        return Split(self.images[indices], self.labels[indices])
