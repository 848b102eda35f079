"""Reliability bins and the expected calibration error, by hand and by a plain loop."""

import numpy as np
import pytest

from tfcaps.errors import UsageError
from tfcaps.metrics.calibration import reliability_bins


def test_by_hand():
    bins = reliability_bins([0.2, 0.5, 0.7, 0.9], [False, True, True, False], num_bins=2)
    # (0, ½]: .2 and .5, half of them right; (½, 1]: .7 and .9, half of them right.
    assert bins.counts.tolist() == [2, 2]
    np.testing.assert_allclose(bins.confidence, [0.35, 0.8])
    np.testing.assert_allclose(bins.accuracy, [0.5, 0.5])
    assert bins.expected_calibration_error == pytest.approx(0.5 * 0.15 + 0.5 * 0.3)


def test_edges_belong_to_the_bin_below():
    bins = reliability_bins([0.0, 0.25, 0.5, 1.0], [True] * 4, num_bins=4)
    assert bins.counts.tolist() == [2, 1, 0, 1]
    assert np.isnan(bins.accuracy[2])


def test_perfectly_calibrated():
    assert reliability_bins([1.0, 1.0], [True, True]).expected_calibration_error == 0.0


def test_beyond_one_counts_as_one():
    bins = reliability_bins([1.5], [False])
    assert bins.counts[-1] == 1
    assert bins.expected_calibration_error == 1.0


def test_against_a_loop():
    rng = np.random.default_rng(0)
    confidence, correct = rng.random(500), rng.random(500) < 0.6
    expected = 0.0
    for number in range(15):
        inside = (confidence > number / 15) & (confidence <= (number + 1) / 15)
        if inside.any():
            gap = abs(correct[inside].mean() - confidence[inside].mean())
            expected += inside.sum() / 500 * gap
    assert reliability_bins(confidence, correct).expected_calibration_error == pytest.approx(
        expected
    )


@pytest.mark.parametrize(
    ("arguments", "received"),
    [
        (([], []), r"\(0,\) and \(0,\)"),
        (([0.5], [True, False]), r"\(1,\) and \(2,\)"),
        (([0.5], [True], 0), "0"),
        (([0.5, 0.6], [1, 7]), "7"),
        (([0.5], [np.nan]), "nan"),
        (([np.nan], [True]), "NaN"),
        (([[0.5], [0.6]], [True, False]), r"\(2, 1\) and \(2,\)"),
    ],
)
def test_wrong_input(arguments, received):
    with pytest.raises(UsageError, match=f"Received: {received}$"):
        reliability_bins(*arguments)
