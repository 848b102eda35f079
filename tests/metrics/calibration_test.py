"""Reliability bins and the expected calibration error, by hand and by a plain loop."""

import numpy as np
import pytest

from tfcaps.errors import UsageError
from tfcaps.metrics.calibration import fit_temperature, reliability_bins


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


class TestTemperature:
    @pytest.mark.parametrize("temperature", [0.25, 1.0, 3.0])
    def test_finds_the_one_that_labels_were_drawn_with(self, temperature):
        rng = np.random.default_rng(0)
        logits = rng.normal(0.0, 2.0, (20_000, 4))
        # The largest of logits with Gumbel noise is a draw from their softmax.
        labels = np.argmax(logits / temperature + rng.gumbel(size=logits.shape), axis=-1)
        assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.05)

    def test_is_the_best_of_a_grid(self):
        rng = np.random.default_rng(1)
        logits = rng.normal(size=(30, 3))
        labels = np.where(rng.random(30) < 0.7, logits.argmax(axis=-1), 0)
        targets = np.full((30, 3), 1 / 32 / 3)
        targets[np.arange(30), labels] += 31 / 32
        grid = np.exp(np.linspace(-3, 3, 6001))
        z = logits / grid[:, None, None]
        losses = -np.mean(
            np.sum(targets * (z - np.log(np.exp(z).sum(axis=-1, keepdims=True))), axis=-1), axis=-1
        )
        assert fit_temperature(logits, labels) == pytest.approx(grid[losses.argmin()], rel=2e-3)

    def test_stays_above_zero_where_all_is_right(self):
        assert 0.01 < fit_temperature(np.eye(5), np.arange(5)) < 1

    @pytest.mark.parametrize(
        ("logits", "labels", "message"),
        [
            (np.zeros((0, 3)), [], r"Received: \(0, 3\) and \(0,\)"),
            (np.zeros((2, 3)), [[0], [1]], r"Received: \(2, 3\) and \(2, 1\)"),
            (np.zeros((2, 3)), [0, 3], "Received: 0 to 3 of 3"),
            (np.zeros((2, 1)), [0, 0], "K >= 2"),
        ],
    )
    def test_wrong_input(self, logits, labels, message):
        with pytest.raises(UsageError, match=message):
            fit_temperature(logits, labels)
