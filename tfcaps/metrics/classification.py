"""How good predicted classes are, where some classes are rarer than others."""

from typing import NamedTuple

import numpy as np

from tfcaps.errors import UsageError


class ClassificationScores(NamedTuple):
    """What a confusion matrix comes to.

    Args:
        accuracy: the share of the examples that are right.
        balanced_accuracy: the mean over classes of the share of their examples that are right
            (recall). A class without examples has none, and doesn't count.
        macro_f1: the mean over classes of `F1 = 2 tp / (2 tp + fp + fn)`. A class that is neither
            there nor predicted has none, and doesn't count; one that isn't there but is predicted
            counts as 0.
    """

    accuracy: float
    balanced_accuracy: float
    macro_f1: float


def classification_scores(counts: np.ndarray) -> ClassificationScores:
    """The scores of a confusion matrix, as scikit-learn defines them.

    Args:
        counts: `(K, K)`: rows are true classes, columns predicted ones.

    Returns:
        Three numbers in [0, 1].

    Raises:
        UsageError: the matrix isn't square, or counts nothing.

    Example:

    >>> scores = classification_scores([[3, 1], [1, 1]])
    >>> [round(score, 4) for score in scores]       # 4/6, (3/4 + 1/2)/2, (6/8 + 2/4)/2
    [0.6667, 0.625, 0.625]

    Source: `balanced_accuracy_score` and `f1_score(average="macro")` of scikit-learn,
    https://scikit-learn.org/stable/modules/model_evaluation.html.
    """
    counts = np.asarray(counts, "float64")
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.sum() > 0:
        raise UsageError(
            "Expected a confusion matrix (K, K) with at least one example. "
            f"Received: the shape {counts.shape} with {counts.sum():g} examples"
        )
    right, there, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    is_there, is_seen = there > 0, there + predicted > 0
    recall = right[is_there] / there[is_there]
    # 2 tp + fp + fn: a class' examples and its predictions.
    f1 = 2.0 * right[is_seen] / (there + predicted)[is_seen]
    return ClassificationScores(
        float(right.sum() / counts.sum()), float(recall.mean()), float(f1.mean())
    )
