"""Objectives beside sums by hand, scikit-learn's definitions, and searches at random."""

import math

import numpy as np
import pytest
from scipy import stats

from nas.architecture import Architecture
from nas.objectives import OBJECTIVES
from nas.records import Comparison
from nas.rules import GrowWhileTraining
from tests.nas.growing_test import only, record
from tfcaps.evaluation import Verdicts
from tfcaps.metrics import classification_scores
from tfcaps.plots import confusion_counts

COSTS = {"flops": 110.0, "parameters": 1100.0, "milliseconds": 1.1}
BALANCED, F1 = OBJECTIVES["balanced_accuracy"], OBJECTIVES["macro_f1"]
# Four of class 0, two of class 1.
LABELS = np.array([0, 0, 0, 0, 1, 1])


def verdicts(losses=(0, 0, 0, 0, 0, 0), predictions=LABELS, labels=LABELS):
    return Verdicts(np.array(losses, "float64"), np.array(predictions), np.array(labels))


def compared(objective, before, after):
    return Comparison("change", **objective.compare(before, after), **COSTS)


def at_random(seed, count=400, classes=4):
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, count, p=np.array([0.7, 0.2, 0.08, 0.02]))
    labels[:classes] = range(classes)
    first, second = (
        np.where(rng.random(count) < share, labels, rng.integers(classes, size=count))
        for share in (0.6, 0.7)
    )
    before, after = (verdicts(rng.random(count), each, labels) for each in (first, second))
    return before, after


def score(name, each, classes=4):
    counts = confusion_counts(each.labels, each.predictions, classes)
    return getattr(classification_scores(counts), name)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_scores_and_differences_are_those_of_the_metric(name):
    before, after = at_random(3)
    found = [
        OBJECTIVES[name].score(each.labels, each.predictions).value for each in (before, after)
    ]
    assert found == pytest.approx([score(name, before), score(name, after)], abs=1e-12)
    comparison = compared(OBJECTIVES[name], before, after)
    if name != "accuracy":
        assert comparison.score == pytest.approx(found[1] - found[0], abs=1e-12)
    assert (comparison.won, comparison.lost) == (
        np.sum(after.right > before.right),
        np.sum(after.right < before.right),
    )


@pytest.mark.parametrize("name", OBJECTIVES)
def test_standard_errors_are_those_of_drawn_validation_splits(name):
    """Examples are drawn anew, of balanced accuracy within classes: the bootstrap agrees."""
    objective = OBJECTIVES[name]
    before, after = at_random(5, 1000)
    rng = np.random.default_rng(0)
    scores, differences = [], []
    for _ in range(400):
        drawn = rng.integers(1000, size=1000)
        if name == "balanced_accuracy":
            drawn = np.concatenate(
                [
                    rng.choice(np.flatnonzero(before.labels == k), (before.labels == k).sum())
                    for k in range(4)
                ]
            )
        parts = [Verdicts(*(array[drawn] for array in each)) for each in (before, after)]
        one, two = (objective.score(each.labels, each.predictions).value for each in parts)
        scores.append(one)
        differences.append(two - one)
    assert objective.score(before.labels, before.predictions).error == pytest.approx(
        np.std(scores), rel=0.15
    )
    comparison = compared(objective, before, after)
    if name != "accuracy":
        assert comparison.score_error == pytest.approx(np.std(differences), rel=0.15)


class TestBalancedAccuracy:
    def test_by_hand(self):
        before = verdicts([1.0, 1.0, 1.0, 1.0, 2.0, 2.0], [0, 0, 0, 1, 0, 1])
        after = verdicts([0.9, 0.8, 1.1, 0.8, 1.0, 1.6], [0, 0, 1, 0, 1, 1])
        found = compared(BALANCED, before, after)
        # Class 0: 0.1, 0.2, −0.1, 0.2 with the mean 0.1; class 1: 1.0, 0.4 with the mean 0.7
        assert found.gain == pytest.approx((0.1 + 0.7) / 2)
        first, second = (0.0 + 0.01 + 0.04 + 0.01) / 3 / 4, (0.09 + 0.09) / 1 / 2
        assert found.error == pytest.approx(math.sqrt(first + second) / 2)
        degrees = (first + second) ** 2 / (first**2 / 3 + second**2 / 1)
        assert found.degrees == pytest.approx(degrees)
        assert found.score == pytest.approx((0 / 4 + 1 / 2) / 2)
        # Class 0: 0, 0, −1, 1; class 1: 1, 0
        variance = (2 / 3 / 4 + 0.5 / 1 / 2) / 4
        assert found.score_error == pytest.approx(math.sqrt(variance))
        assert found.weight == pytest.approx(1 / (2 * 2))
        expected = stats.t.sf(found.gain / found.error, degrees)
        assert BALANCED.no_gain(found) == pytest.approx(expected)
        assert BALANCED.cost(found) == -found.score

    def test_two_classes_as_welch_has_it(self):
        """With the second class's gains turned round it is a comparison of two means."""
        rng = np.random.default_rng(1)
        gains = rng.normal(0.1, 1.0, 60)
        labels = np.repeat([0, 1], [45, 15])
        found = compared(
            BALANCED, verdicts(gains, labels, labels), verdicts(0 * gains, labels, labels)
        )
        welch = stats.ttest_ind(gains[:45], -gains[45:], equal_var=False, alternative="greater")
        assert BALANCED.no_gain(found) == pytest.approx(welch.pvalue)

    def test_even_classes_are_accuracy(self):
        labels = np.repeat([0, 1], 2500)
        predictions = labels.copy()
        predictions[[*range(20), *range(2500, 2510)]] ^= 1
        worse = verdicts(np.zeros(5000), predictions, labels)
        fine = verdicts(np.zeros(5000), labels, labels)
        accuracy = OBJECTIVES["accuracy"]
        for pair in ((fine, worse), (worse, fine), (fine, fine)):
            found, plain = (
                objective.too_costly(compared(objective, *pair), 0.005)
                for objective in (BALANCED, accuracy)
            )
            assert found == pytest.approx(plain, rel=1e-3)  # n − 1, not n

    def test_few_of_a_rare_class_refute_nothing(self):
        labels = np.repeat([0, 1], [4990, 10])
        same = verdicts(np.zeros(5000), labels, labels)
        assert (
            OBJECTIVES["accuracy"].too_costly(compared(OBJECTIVES["accuracy"], same, same), 0.005)
            < 1e-6
        )
        # 0.005 / √(0.005 / (2 · 10))
        expected = stats.norm.sf(math.sqrt(0.005 * 20))
        assert BALANCED.too_costly(compared(BALANCED, same, same), 0.005) == pytest.approx(expected)

    def test_one_example_of_a_class(self):
        labels = np.array([0, 0, 1])
        before = verdicts([0.3, 0.5, 0.2], labels, labels)
        found = compared(BALANCED, before, verdicts([0.0, 0.0, 0.0], labels, labels))
        assert found.gain == pytest.approx((0.4 + 0.2) / 2)
        assert found.error == pytest.approx(math.sqrt(0.02 / 2 + 0.04) / 2)


class TestMacroF1:
    def test_by_hand(self):
        """F of class 0: 6/8 → 8/9; of class 1: 2/4 → 2/3."""
        before = verdicts(predictions=[0, 0, 0, 1, 0, 1])
        after = verdicts(predictions=[0, 0, 0, 0, 0, 1])
        found = compared(F1, before, after)
        expected = ((8 / 9 - 6 / 8) + (2 / 3 - 2 / 4)) / 2
        assert found.gain == found.score == pytest.approx(expected)
        # Only one example is predicted otherwise.
        assert found.error == found.score_error == pytest.approx(expected)
        assert F1.no_gain(found) == pytest.approx(math.exp(-0.5))
        a, b = (6 / 8 + 8 / 9) / 2, (2 / 4 + 2 / 3) / 2
        # Twice the number of classes, and half of 8 + 9 and 4 + 3 examples and predictions
        lost = max((2 - a) / (2 * 8.5), (2 - b) / (2 * 3.5))
        assert found.weight == pytest.approx(lost + max(a / (2 * 8.5), b / (2 * 3.5)))

    def test_bound(self):
        """Of n examples that are predicted otherwise all better: 2⁻ⁿ ≤ exp(−n / 2)."""
        labels = np.repeat([0, 1], 500)
        for count in (1, 3, 9):
            predictions = labels.copy()
            predictions[np.r_[:count, 500 : 500 + count]] ^= 1
            found = compared(
                F1, verdicts(labels, predictions, labels), verdicts(labels, labels, labels)
            )
            assert 4.0**-count <= F1.no_gain(found) == pytest.approx(math.exp(-count), rel=1e-3)

    def test_no_difference_and_worse(self):
        before, after = at_random(2)
        assert F1.no_gain(compared(F1, after, before)) == 1.0
        assert F1.no_gain(compared(F1, after, after)) == 1.0

    def test_classes_that_are_never_there(self):
        """Class 2 is neither there nor predicted; class 3 is predicted once."""
        found = F1.score(LABELS, np.array([0, 0, 0, 0, 1, 3]))
        assert found.value == pytest.approx((1 + 2 / 3 + 0) / 3)


# Labels, of which the rarest class has one in a hundred.
SHARES = (0.6, 0.25, 0.1, 0.04, 0.01)


def network(rng, count, right):
    labels = rng.choice(len(SHARES), count, p=SHARES)
    other = (labels + rng.integers(1, len(SHARES), count)) % len(SHARES)
    return labels, np.where(rng.random(count) < right, labels, other)


def changed(rng, before, *, gains):
    """What a block makes of a network: where it changes a verdict, it is better by chance only.

    Of 100 images, 2.5 get another verdict; by a useful block 6, of which four in five are better.
    """
    labels, count = before.labels, len(before.labels)
    touched = rng.random(count) < (0.06 if gains else 0.025)
    better = rng.random(count) < (0.8 if gains else 0.5)
    wrong = (labels + rng.integers(1, len(SHARES), count)) % len(SHARES)
    first, second = (
        np.where(touched, np.where(better == is_before, wrong, labels), before.predictions)
        for is_before in (True, False)
    )
    losses = rng.normal(0.0, 0.2, count) + touched * np.where(better, 1.0, -1.0)
    return verdicts(losses, first, labels), verdicts(0 * losses, second, labels)


def first_growth(rule, rng, *, helps, count):
    """Where a search grows first, if a block of stage 2 helps or none does; None: nowhere."""
    records = []
    for _ in range(10):
        decision = rule.decide(records)
        if decision.reason is not None:
            return None
        proposal = only(decision)
        if proposal.role.startswith("grow"):
            return proposal.role
        labels, predictions = network(rng, count, 0.8)
        found = [
            Comparison(
                f"grow {stage}",
                **rule.objective.compare(
                    *changed(rng, verdicts(labels, predictions, labels), gains=helps and stage == 2)
                ),
                **COSTS,
            )
            for stage in (1, 2, 3)
        ]
        records.append(record(proposal, *found, seconds=50.0 + 50.0 * proposal.epochs))
    return None


@pytest.mark.parametrize("name", ["balanced_accuracy", "macro_f1"])
def test_false_growth_is_rare_and_right_growth_frequent(name):
    """Of 100 searches at most 13 grow wrongly: more would be by one chance in a thousand."""
    rule = GrowWhileTraining(Architecture("resnet", (1, 1, 1), (4, 8, 8), "pooled"), objective=name)
    rng = np.random.default_rng(11)
    false = [first_growth(rule, rng, helps=False, count=2000) for _ in range(100)]
    assert sum(role is not None for role in false) <= 13
    right = [first_growth(rule, rng, helps=True, count=5000) for _ in range(20)]
    assert right.count("grow 2") >= 17
