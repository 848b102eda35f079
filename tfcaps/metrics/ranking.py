"""How well scores rank the examples of two classes."""

import numpy as np
import scipy.stats

from tfcaps.errors import UsageError


def area_under_roc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The area under the receiver operating characteristic (AUC).

    The probability that an example of class 1 has a higher score than one of class 0, where equal
    scores count half: Mann and Whitney's U divided by the number of pairs. 1/2 is chance.

    Args:
        labels: 0 or 1, (N,), of both classes.
        scores: (N,), higher for class 1.

    Raises:
        UsageError: the shapes differ, a score is NaN, or a class has no example.

    Example:

    >>> area_under_roc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])  # three of four pairs
    0.75

    Source: Hanley and McNeil, The meaning and use of the area under a receiver operating
    characteristic curve, Radiology 1982.
    """
    labels, scores = np.asarray(labels), np.asarray(scores, "float64")
    if labels.shape != scores.shape or labels.ndim != 1:
        raise UsageError(
            f"Expected a score for each label. Received: the shapes {labels.shape}, {scores.shape}"
        )
    if np.isnan(scores).any():
        raise UsageError("Expected numbers as scores. Received: NaN")
    positives = int(np.sum(labels == 1))
    negatives = len(labels) - positives
    if not positives or not negatives or np.sum(labels == 0) != negatives:
        raise UsageError(
            f"Expected labels 0 and 1, both of them. Received: {np.unique(labels).tolist()}"
        )
    ranks = scipy.stats.rankdata(scores)  # equal scores share the mean of their ranks
    above = ranks[labels == 1].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))
