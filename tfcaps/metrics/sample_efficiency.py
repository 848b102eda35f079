"""How much is learnt from few examples."""

from collections.abc import Sequence

import numpy as np

from tfcaps.errors import UsageError


def sample_efficiency_score(sizes: Sequence[int], accuracies: Sequence[float]) -> float:
    """The sample-efficiency score (SES) of accuracies with several numbers of training examples.

    A mean in which small training sets count more: `Σ a(n) / (1 + ln n) / Σ 1 / (1 + ln n)`.

    Args:
        sizes: numbers of training examples n, (S,), S >= 1, each at least 1.
        accuracies: a(n), (S,).

    Raises:
        UsageError: the shapes differ, or a size is below 1.

    Example:

    >>> sample_efficiency_score([1, 1], [0.5, 1.0])
    0.75

    Source: Zerroug et al., A benchmark for compositional visual reasoning, arXiv 2206.05379.
    """
    if len(sizes) != len(accuracies) or not len(sizes) or min(sizes) < 1:
        raise UsageError(
            "Expected an accuracy for each number of examples, which is at least 1. "
            f"Received: {list(sizes)} and {list(accuracies)}"
        )
    return float(np.average(accuracies, weights=1 / (1 + np.log(sizes))))
