"""The sample-efficiency score: small training sets count more."""

import math

import pytest

from tfcaps.errors import UsageError
from tfcaps.metrics import sample_efficiency_score


def test_by_hand():
    """e and e³ examples have the weights 1/2 and 1/4."""
    found = sample_efficiency_score([math.e, math.e**3], [0.6, 0.9])
    assert found == pytest.approx((0.6 / 2 + 0.9 / 4) / (3 / 4))


def test_the_same_everywhere():
    assert sample_efficiency_score([20, 50, 1000], [0.7] * 3) == pytest.approx(0.7)


@pytest.mark.parametrize(("sizes", "accuracies"), [([], []), ([20], []), ([0, 20], [0.5, 0.5])])
def test_wrong_input(sizes, accuracies):
    with pytest.raises(UsageError, match="Expected an accuracy for each number of examples"):
        sample_efficiency_score(sizes, accuracies)
