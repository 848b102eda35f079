"""The area under the ROC curve, against pairs counted one by one and scikit-learn's."""

import itertools

import numpy as np
import pytest
import sklearn.metrics

from tfcaps.errors import UsageError
from tfcaps.metrics import area_under_roc


def test_pairs():
    """Five pairs of six are in order, of which two are equal: 3 + 2/2 of 6."""
    labels, scores = [1, 0, 1, 0, 1], [3.0, 1.0, 1.0, 2.0, 2.0]
    ones = [s for s, label in zip(scores, labels, strict=True) if label]
    zeros = [s for s, label in zip(scores, labels, strict=True) if not label]
    counted = [(a > b) + 0.5 * (a == b) for a, b in itertools.product(ones, zeros)]
    assert sum(counted) == 4.0
    assert area_under_roc(labels, scores) == pytest.approx(4 / 6)


def test_reference():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    scores = np.round(rng.normal(size=300) + labels, 1)  # some are equal
    expected = sklearn.metrics.roc_auc_score(labels, scores)
    assert area_under_roc(labels, scores) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "scores", "sentence"),
    [
        ([0, 1], [0.5], "a score for each label"),
        ([0, 1], [0.5, np.nan], "Received: NaN"),
        ([1, 1], [0.5, 0.6], r"both of them. Received: \[1\]"),
        ([0, 1, 2], [0.1, 0.2, 0.3], r"both of them. Received: \[0, 1, 2\]"),
    ],
)
def test_wrong_input(labels, scores, sentence):
    with pytest.raises(UsageError, match=sentence):
        area_under_roc(labels, scores)
