"""Whether a network is right as often as it says."""

from typing import NamedTuple

import numpy as np

from tfcaps.errors import UsageError


class ReliabilityBins(NamedTuple):
    """What examples of about the same confidence have in common.

    Args:
        counts: examples per bin, integers `(M,)`.
        confidence: their mean confidence, `(M,)`; NaN in an empty bin.
        accuracy: the share of them that is right, `(M,)`; NaN in an empty bin.
    """

    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def expected_calibration_error(self) -> float:
        """`ECE = Σ_m (n_m / N) |accuracy_m − confidence_m|`."""
        filled = self.counts > 0
        gaps = np.abs(self.accuracy - self.confidence)[filled]
        return float(np.average(gaps, weights=self.counts[filled]))


def reliability_bins(
    confidence: np.ndarray, is_correct: np.ndarray, num_bins: int = 15
) -> ReliabilityBins:
    """Groups examples by their confidence, in bins ((m − 1)/M, m/M] of equal width.

    Args:
        confidence: the score of the predicted class, `(N,)`, N ≥ 1. Beyond [0, 1], where a sum of
            capsules may be, it counts as the nearer end.
        is_correct: whether the prediction is right, `(N,)`.
        num_bins: M. Default 15.

    Returns:
        The bins, with `expected_calibration_error`.

    Raises:
        UsageError: there is no example, the arrays differ in length, a confidence is NaN, the
            answers aren't booleans, or 0 and 1, or there is no bin.

    Example:

    >>> bins = reliability_bins([0.9, 0.9, 0.9, 0.6], [True, True, False, True], num_bins=5)
    >>> bins.counts.tolist(), round(bins.expected_calibration_error, 4)    # ¾·|⅔ − .9| + ¼·|1 − .6|
    ([0, 0, 1, 0, 3], 0.275)

    Source: Guo et al., On calibration of modern neural networks, arXiv 1706.04599.
    """
    confidence = np.clip(np.asarray(confidence, "float64"), 0.0, 1.0)
    is_correct = np.asarray(is_correct, "float64")
    if confidence.ndim != 1 or confidence.shape != is_correct.shape or not confidence.size:
        raise UsageError(
            "Expected confidences and whether they are right of one shape (N,), N >= 1. "
            f"Received: {confidence.shape} and {is_correct.shape}"
        )
    if np.isnan(confidence).any():
        raise UsageError("Expected confidences that are numbers. Received: NaN")
    neither = is_correct[(is_correct != 0) & (is_correct != 1)]
    if neither.size:
        raise UsageError(
            f"Expected whether each prediction is right, 0 or 1. Received: {neither[0]:g}"
        )
    if num_bins < 1:
        raise UsageError(f"Expected num_bins >= 1. Received: {num_bins}")
    # The upper edges; an edge belongs to the bin below it, and 0 to the first one.
    edges = np.arange(1, num_bins) / num_bins
    index = np.searchsorted(edges, confidence, side="left")
    counts = np.bincount(index, minlength=num_bins)
    with np.errstate(invalid="ignore"):  # 0/0 of empty bins is NaN
        means = [
            np.bincount(index, weights=values, minlength=num_bins) / counts
            for values in (confidence, is_correct)
        ]
    return ReliabilityBins(counts, *means)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature T with which `softmax(z / T)` is as sure as it is right.

    T minimises the cross-entropy of the labels, a convex problem in 1/T. So that T stays above 0
    where all predictions are right, a label counts for 1 − 1/(N + 2), and each class for an equal
    part of the rest.

    Args:
        logits: z, `(N, K)`, N ≥ 1, K ≥ 2: examples that the network has not learnt from.
        labels: indices of the classes, `(N,)`.

    Returns:
        T in [0.001, 1000].

    Raises:
        UsageError: the shapes don't fit, or a label is none of the classes.

    Example:

    >>> logits = np.log([[0.9, 0.1]] * 4)      # sure to 0.9, and right three times of four
    >>> T = fit_temperature(logits, [0, 0, 0, 1])
    >>> round(float(1 / (1 + np.exp(-(logits[0, 0] - logits[0, 1]) / T))), 4)     # ¾·⅚ + ½·⅙
    0.7083

    Sources: Guo et al., arXiv 1706.04599; of the smoothing: Platt, Probabilistic outputs for
    support vector machines, 1999.
    """
    logits, labels = np.asarray(logits, "float64"), np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise UsageError(
            "Expected logits (N, K) and labels (N,), N >= 1. "
            f"Received: {logits.shape} and {labels.shape}"
        )
    count, classes = logits.shape
    if classes < 2 or labels.min() < 0 or labels.max() >= classes:
        raise UsageError(
            f"Expected labels below K >= 2. Received: {labels.min()} to {labels.max()} of {classes}"
        )
    doubt = 1.0 / (count + 2)
    told = (1.0 - doubt) * logits[np.arange(count), labels] + doubt * logits.mean(axis=-1)
    low, high = np.log(1e-3), np.log(1e3)
    for _ in range(60):  # then the interval is one number
        middle = (low + high) / 2.0
        expected = np.sum(softmax(np.exp(middle) * logits) * logits, axis=-1)
        # The likelihood still grows with 1/T.
        if np.mean(told - expected) > 0:
            low = middle
        else:
            high = middle
    return float(np.exp(-low))


def softmax(logits: np.ndarray) -> np.ndarray:
    """`exp z_k / Σ exp z` of logits `(N, K)`."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
