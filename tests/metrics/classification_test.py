"""Scores of a confusion matrix, with numbers by hand after scikit-learn's definitions."""

import numpy as np
import pytest

from tfcaps.errors import UsageError
from tfcaps.metrics import classification_scores


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        # Recalls 8/10 and 1/2. F1: 2·8/(10 + 9) and 2·1/(2 + 3).
        ([[8, 2], [1, 1]], (9 / 12, (0.8 + 0.5) / 2, (16 / 19 + 2 / 5) / 2)),
        # All of one class: a frequent class is no merit of its own.
        ([[9, 0], [1, 0]], (0.9, 0.5, (18 / 19 + 0) / 2)),
        # Class 1 has no example, and is predicted once: no recall, and an F1 of 0.
        ([[2, 1, 0], [0, 0, 0], [0, 0, 3]], (5 / 6, (2 / 3 + 1) / 2, (4 / 5 + 0 + 1) / 3)),
        # Class 1 is neither there nor predicted.
        ([[2, 0, 1], [0, 0, 0], [0, 0, 3]], (5 / 6, (2 / 3 + 1) / 2, (4 / 5 + 6 / 7) / 2)),
        ([[4, 0], [0, 2]], (1, 1, 1)),
        ([[0, 4], [2, 0]], (0, 0, 0)),
    ],
)
def test_by_hand(counts, expected):
    assert classification_scores(np.array(counts)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("counts", [[[1, 2]], [1], [[0, 0], [0, 0]]])
def test_no_confusion_matrix(counts):
    with pytest.raises(UsageError, match="Expected a confusion matrix"):
        classification_scores(counts)
