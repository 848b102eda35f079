"""The rule that grows a network while it trains: on trials made up by hand and at random."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from nas.architecture import Architecture
from nas.objectives import OBJECTIVES
from nas.records import COMPLETED, FAILED, RUNNING, START, TRAIN_ON, Comparison, Record, holm
from nas.rules import Bounds, GrowWhileTraining
from tfcaps.errors import UsageError

RESNET = Architecture("resnet", (1, 1, 1), (4, 8, 8), "pooled")
ACCURACY = OBJECTIVES["accuracy"]


def comparison(change, gain=0.0, error=0.01, won=0, lost=0, examples=5000, **costs):
    costs = {"flops": 110.0, "parameters": 1100.0, "milliseconds": 1.1} | costs
    return Comparison(change, gain, error, won, lost, examples, **costs)


def record(proposal, *comparisons, status=COMPLETED, seconds=100.0, **numbers):
    numbers = {
        "flops": 100.0,
        "parameters": 1000.0,
        "milliseconds": 1.0,
        "epoch_seconds": 50.0,
        "pause_seconds": 1.0,
        "accuracy": 0.8,
    } | numbers
    return Record(
        name=f"{proposal.round}",
        proposal=proposal,
        status=status,
        seconds=seconds,
        comparisons=tuple(comparisons),
        message="a bad end" if status == FAILED else "",
        **numbers,
    )


def only(decision):
    assert decision.reason is None
    (proposal,) = decision.proposals
    return proposal


def begun(rule, *comparisons, **numbers):
    """The first two trials, of which the second one ends with these comparisons."""
    records = [record(only(rule.decide([])))]
    return [*records, record(only(rule.decide(records)), *comparisons, **numbers)]


class TestAccuracy:
    def test_gain(self):
        differences = np.array([0.3, -0.1, 0.4, 0.2])
        expected = stats.ttest_1samp(differences, 0.0, alternative="greater").pvalue
        error = differences.std(ddof=1) / 2
        actual = ACCURACY.no_gain(comparison("grow 1", differences.mean(), error, examples=4))
        assert actual == pytest.approx(expected)

    def test_no_difference_at_all(self):
        assert ACCURACY.no_gain(comparison("grow 1", 0.0, 0.0)) == 1.0
        assert ACCURACY.no_gain(comparison("grow 1", 0.1, 0.0)) == 0.0
        assert ACCURACY.too_costly(comparison("prune a", won=0, lost=0), 0.0) == 1.0

    def test_one_example_shows_nothing(self):
        assert ACCURACY.no_gain(comparison("grow 1", 5.0, math.nan, examples=1)) == 1.0

    def test_few_examples_refute_nothing(self):
        """If 0.5 % were lost, none of 60 would be in 0.995^60 = 74 % of the cases."""
        assert ACCURACY.too_costly(comparison("prune a", examples=60), 0.005) >= 0.5
        assert ACCURACY.too_costly(comparison("prune a", examples=400), 0.005) > 0.05
        # (25 − 0) / √25
        expected = stats.norm.sf(5.0)
        assert ACCURACY.too_costly(comparison("prune a", examples=5000), 0.005) == pytest.approx(
            expected
        )

    def test_cost(self):
        """30 lost and 20 won of 5,000: 10 less, where 25 are tolerated."""
        wins = np.repeat([-1.0, 1.0, 0.0], [30, 20, 4950])
        z = (25 + wins.sum()) / (wins.std() * math.sqrt(5000))
        expected = stats.norm.sf(z)
        actual = ACCURACY.too_costly(comparison("prune a", won=20, lost=30), 0.005)
        assert actual == pytest.approx(expected, rel=1e-6)

    def test_tolerance_is_a_number_of_images(self):
        """29 % of 100 are 29 images, though 0.29 · 100 is less as a float."""
        assert 0.29 * 100 < 29
        one = comparison("prune a", won=0, lost=29, examples=100)
        assert ACCURACY.too_costly(one, 0.29) == 0.5
        assert ACCURACY.too_costly(one, 0.28) > 0.5


class TestHolm:
    def test_by_hand(self):
        values = {"a": 0.012, "b": 0.02, "c": 0.001, "d": 0.3}
        # 0.001 <= 0.05/4, 0.012 <= 0.05/3, 0.02 <= 0.05/2, 0.3 > 0.05
        assert holm(values, 0.05) == ["c", "a", "b"]
        assert holm(values, 0.02) == ["c"]
        assert holm({}, 0.05) == []

    def test_one_that_fails_stops_those_behind_it(self):
        assert holm({"a": 0.03, "b": 0.04}, 0.05) == []


class TestCourse:
    def test_first_trials(self):
        rule = GrowWhileTraining(RESNET)
        first = only(rule.decide([]))
        assert (first.role, first.architecture, first.parent) == (START, RESNET, "")
        assert (first.epochs, first.first_epoch) == (1, 0)
        # Even a gain that nobody doubts doesn't count after so short a training.
        second = only(rule.decide([record(first, comparison("grow 1", 1.0))]))
        assert (second.role, second.architecture, second.parent) == (TRAIN_ON, RESNET, "0")
        # An eighth of 1.5 hours, less 50 s for the process, in epochs of 50 s
        assert (second.epochs, second.first_epoch) == (round((675 - 50) / 50), 1)

    def test_best_gain_per_cost(self):
        rule = GrowWhileTraining(RESNET)
        records = begun(
            rule,
            comparison("grow 1", 0.1, milliseconds=1.5),
            comparison("grow 2", 0.08, milliseconds=1.2),
            comparison("grow 3", 0.02, error=0.02, milliseconds=1.001),
        )
        third = only(rule.decide(records))
        assert third.role == "grow 2"
        assert third.architecture.blocks == ((1,), (1, 2), (1,))
        assert third.first_epoch == records[1].proposal.first_epoch + records[1].proposal.epochs
        by_flops = GrowWhileTraining(RESNET, cost="flops")
        assert only(by_flops.decide(records)).role == "grow 1"

    def test_a_stage_gets_wider(self):
        rule = GrowWhileTraining(RESNET)
        gains = comparison("grow 1", 0.1), comparison("widen 2", 0.1, milliseconds=1.05)
        records = begun(rule, *gains)
        third = only(rule.decide(records))
        assert (third.role, third.architecture.hidden) == ("widen 2", (4, 12, 8))
        assert third.architecture.blocks == RESNET.blocks
        records.append(record(third, comparison("widen 2", 0.1), comparison("grow 2", 0.2)))
        fourth = only(rule.decide(records))
        assert (fourth.role, fourth.architecture.hidden) == ("grow 2", (4, 12, 8))

    def test_undecided_is_trained_on(self):
        rule = GrowWhileTraining(RESNET)
        records = begun(rule, comparison("grow 1", 0.015, error=0.01))
        third = only(rule.decide(records))
        assert (third.role, third.architecture) == (TRAIN_ON, RESNET)
        # A stage that didn't gain may gain later.
        records.append(record(third, comparison("grow 1", 0.1)))
        assert only(rule.decide(records)).role == "grow 1"

    def test_level_falls_until_there_is_a_change(self):
        rule = GrowWhileTraining(RESNET, significance=0.06)
        records = begun(rule)
        levels = [rule.level(records)]
        for gain in (0.0, 0.0, 1.0, 0.0, 0.0):
            records.append(record(only(rule.decide(records)), comparison("grow 1", gain)))
            levels.append(rule.level(records))
        assert [r.proposal.role for r in records[2:]] == [TRAIN_ON] * 3 + ["grow 1", TRAIN_ON]
        expected = [0.06 / 2, 0.06 / 6, 0.06 / 12, 0.06 / 20, 0.06 / 2, 0.06 / 6]
        assert levels == pytest.approx(expected)
        assert sum(1 / (n * (n + 1)) for n in range(1, 10_000)) == pytest.approx(1, abs=1e-3)

    def test_pruning_comes_first_and_closes_its_stage(self):
        start = Architecture("resnet", (2, 2, 1), (4, 8, 8), "pooled")
        rule = GrowWhileTraining(start)
        records = begun(
            rule,
            comparison("grow 1", 0.5),
            comparison("prune stage1_block2", won=10, lost=12),
            comparison("prune stage1_block1", won=10, lost=80),
            comparison("prune stage2_block2", won=11, lost=11),
        )
        third = only(rule.decide(records))
        assert third.role == "prune stage2_block2"
        assert third.architecture.blocks == ((1, 2), (1,), (1,))
        records.append(record(third, comparison("grow 2", 0.5)))
        assert only(rule.decide(records)).role == TRAIN_ON

    def test_new_blocks_are_spared(self):
        rule = GrowWhileTraining(RESNET, grace=2)
        records = begun(rule, comparison("grow 1", 0.5))
        useless = comparison("prune stage1_block2")
        roles = []
        for _ in range(4):
            records.append(record(only(rule.decide(records)), useless))
            roles.append(records[-1].proposal.role)
        assert roles == ["grow 1", TRAIN_ON, TRAIN_ON, "prune stage1_block2"]
        # Its number isn't given to another one.
        assert {n for r in records for n in r.proposal.architecture.blocks[0]} == {1, 2}

    @pytest.mark.parametrize(
        "bounds, allowed",
        [
            (Bounds(flops=110.0), True),
            (Bounds(flops=109.0), False),
            (Bounds(parameters=1099.0), False),
            (Bounds(milliseconds=1.0), False),
        ],
        ids=str,
    )
    def test_bounds(self, bounds, allowed):
        rule = GrowWhileTraining(RESNET, bounds=bounds)
        role = only(rule.decide(begun(rule, comparison("grow 1", 0.5)))).role
        assert role == ("grow 1" if allowed else TRAIN_ON)

    def test_start_beyond_a_bound(self):
        rule = GrowWhileTraining(RESNET, bounds=Bounds(parameters=999.0, flops=100.0))
        decision = rule.decide([record(only(rule.decide([])))])
        assert decision.reason == "the start network has 1,000 parameters, beyond 999"
        assert (decision.final, decision.proposals) == (None, ())

    def test_not_too_large_for_the_time(self):
        """1.5 hours, less a tenth, are 486 s for each of ten epochs."""
        rule = GrowWhileTraining(RESNET, least_epochs=10)
        larger = comparison("grow 1", 0.5, flops=200.0)
        fits = begun(rule, larger, epoch_seconds=242.0)
        assert only(rule.decide(fits)).role == "grow 1"
        assert only(rule.decide(begun(rule, larger, epoch_seconds=244.0))).role == TRAIN_ON


class TestEnd:
    def test_time(self):
        rule = GrowWhileTraining(RESNET, hours=1.0)
        records = begun(rule)
        while (decision := rule.decide(records)).reason is None:
            proposal = only(decision)
            seconds = 50.0 + 50.0 * proposal.epochs
            records.append(record(proposal, seconds=seconds))
        spent = sum(r.seconds for r in records)
        assert abs(spent - 1800.0) < 225.0
        assert decision.final == records[-1].name
        assert rule.final_epochs(records, 0) == math.floor(0.9 * (3600.0 - spent) / 51.0)
        assert rule.final_epochs(records, 7) == 7

    def test_short_epochs(self):
        """A trial trains for no shorter than what else it takes."""
        rule = GrowWhileTraining(RESNET, hours=0.1)
        records = [record(only(rule.decide([])), seconds=40.0, epoch_seconds=1.0)]
        assert only(rule.decide(records)).epochs == 39

    def test_at_least_one_epoch(self):
        rule = GrowWhileTraining(RESNET, hours=0.001)
        records = [record(only(rule.decide([])))]
        assert rule.decide(records).reason.startswith("the rest of the time")
        assert rule.final_epochs(records, 0) == 1

    def test_failures(self):
        rule = GrowWhileTraining(RESNET)
        first = only(rule.decide([]))
        decision = rule.decide([record(first, status=FAILED)])
        assert (decision.reason, decision.final) == ("the trial of round 0 failed: a bad end", None)
        records = begun(rule)
        records.append(record(only(rule.decide(records)), status=FAILED))
        decision = rule.decide(records)
        assert decision.reason == "the trial of round 2 failed: a bad end"
        assert decision.final == "1"

    def test_waiting(self):
        rule = GrowWhileTraining(RESNET)
        decision = rule.decide([record(only(rule.decide([])), status=RUNNING)])
        assert (decision.proposals, decision.reason) == ((), None)


def test_only_residual_networks():
    with pytest.raises(UsageError, match=r"a resnet to grow and prune\. Received: vgg$"):
        GrowWhileTraining(dataclasses.replace(RESNET, kind="vgg"))


def simulated(rule, rng, *, helps, examples=5000):
    """A search in which a block of stage 2 brings 1.5 points, or none does; how often it grows.

    Of 100 images a new block sets 2 right that were wrong before, and 0.5 wrong; a useless one as
    many of both. Losses of the images change by more than that: by a normal variable of 0.2, and
    by 1 where the verdict changes.
    """
    records = []
    grown = []
    for _ in range(12):
        decision = rule.decide(records)
        if decision.reason is not None:
            break
        proposal = only(decision)
        if proposal.role.startswith("grow"):
            grown.append(proposal.role)
        comparisons = []
        for stage in (1, 2, 3):
            useful = helps and stage == 2 and f"grow {stage}" not in grown
            rates = (0.02, 0.005) if useful else (0.0125, 0.0125)
            kinds = rng.choice(3, examples, p=[*rates, 1 - sum(rates)])
            differences = rng.normal(0.0, 0.2, examples)
            differences += np.select([kinds == 0, kinds == 1], [1.0, -1.0], 0.0)
            comparisons.append(
                comparison(
                    f"grow {stage}",
                    differences.mean(),
                    differences.std(ddof=1) / math.sqrt(examples),
                    won=int((kinds == 0).sum()),
                    lost=int((kinds == 1).sum()),
                )
            )
        seconds = 50.0 + 50.0 * proposal.epochs
        records.append(record(proposal, *comparisons, seconds=seconds))
    return grown


def test_false_growth_is_rare():
    """At most one search in twenty; of 400, more than 34 would be by one chance in a thousand."""
    rng = np.random.default_rng(7)
    rule = GrowWhileTraining(RESNET)
    false = sum(bool(simulated(rule, rng, helps=False)) for _ in range(400))
    assert false <= 34


def test_right_growth_is_frequent():
    rng = np.random.default_rng(1)
    rule = GrowWhileTraining(RESNET)
    found = [simulated(rule, rng, helps=True) for _ in range(60)]
    right = sum(each[:1] == ["grow 2"] for each in found)
    assert right >= 48
