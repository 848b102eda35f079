"""What an example counts in the loss of its class."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfcaps.errors import UsageError

if TYPE_CHECKING:
    import numpy as np


def balanced(labels: "np.ndarray", class_names: Sequence[str]) -> "np.ndarray":
    """Weights with which all classes count the same: `w_k = N / (K n_k)`.

    Over the N examples their mean is 1, so that the loss keeps its size.

    Args:
        labels: of the N training examples, integers `(N,)`.
        class_names: of the K classes.

    Returns:
        float32, `(K,)`.

    Raises:
        UsageError: a class has no example.

    Example:

    >>> weights = balanced([0, 0, 0, 1], ["cat", "dog"])
    >>> [round(float(weight), 4) for weight in weights]     # 4 / (2·3), 4 / (2·1)
    [0.6667, 2.0]
    """
    import numpy as np

    counts = np.bincount(labels, minlength=len(class_names))
    for name, count in zip(class_names, counts, strict=True):
        if not count:
            raise UsageError(
                "Expected a training example of each class with --class_weights=balanced. "
                f"Received: none of {name}"
            )
    return (len(labels) / (len(class_names) * counts)).astype("float32")
