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
