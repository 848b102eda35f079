"""A data set of texts in memory."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from tfcaps.datasets import fingerprint
from tfcaps.errors import UsageError


@dataclasses.dataclass(frozen=True, eq=False)
class TextExamples:
    """Texts, or pairs of texts, with their labels.

    Args:
        texts: one or two arrays of strings, (N,).
        labels: int64, (N,): each one's index in the data set's class names; or float32, numbers.

    Raises:
        UsageError: the arrays have other shapes or types.

    Example:

    >>> import numpy as np
    >>> examples = TextExamples((np.array(["good", "bad"], object),), np.array([1, 0]))
    >>> examples.take([1]).texts[0].tolist(), len(examples)
    (['bad'], 2)
    """

    texts: tuple[np.ndarray, ...]
    labels: np.ndarray

    def __post_init__(self) -> None:
        shapes = {column.shape for column in self.texts}
        if len(self.texts) not in (1, 2) or shapes != {self.labels.shape} or self.labels.ndim != 1:
            raise UsageError(
                "Expected one or two columns of texts with a label each. "
                f"Received: {len(self.texts)} of {sorted(shapes)}, and labels {self.labels.shape}"
            )
        if self.labels.dtype not in (np.int64, np.float32):
            raise UsageError(f"Expected int64 or float32 labels. Received: {self.labels.dtype}")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Sequence[int] | np.ndarray) -> "TextExamples":
        """The examples at these indices, in their order."""
        return TextExamples(tuple(column[indices] for column in self.texts), self.labels[indices])


@dataclasses.dataclass(frozen=True, eq=False)
class TextDataset:
    """Texts with classes, or with numbers, and the parts that a training needs.

    Args:
        name: what it was loaded by.
        class_names: the K classes; none: labels are numbers.
        train: what a model learns from.
        validation: held out of the training set, for choosing; None: nothing was held out.
        test: for the reported score only.
        metric: what models are compared by: "accuracy", "f1", "matthews" or "spearman", see
            `tfcaps.metrics.task_score`.
    """

    name: str
    class_names: tuple[str, ...]
    train: TextExamples
    validation: TextExamples | None
    test: TextExamples
    metric: str

    @functools.cached_property
    def fingerprint(self) -> str:
        """What the data are known by again: all texts and labels, in their order."""
        return fingerprint.of_texts((self.train, self.validation, self.test))

    @property
    def is_regression(self) -> bool:
        """Whether labels are numbers."""
        return not self.class_names
