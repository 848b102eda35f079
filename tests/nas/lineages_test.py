"""Several lineages of a search, on trials made up by hand."""

import dataclasses
import math

import pytest
from scipy import stats

from nas.architecture import Architecture
from nas.configuration import SearchConfig
from nas.records import COMPLETED, FAILED, RUNNING, Proposal
from nas.rules import GrowWhileTraining, Lineages
from tests.nas.growing_test import comparison, record

RESNET = Architecture("resnet", (1, 1, 1), (4, 8, 8), "pooled")


def named(proposal, *comparisons, **numbers):
    made = record(proposal, *comparisons, **numbers)
    return dataclasses.replace(made, name=f"{proposal.lineage}.{proposal.round}")


def finished(rule, scores, error=0.01, **numbers):
    """All trials of a search; the last one of each lineage has its score."""
    records = []
    while (decision := rule.decide(records)).proposals:
        proposal = decision.proposals[0]
        found = {"score": scores[proposal.lineage], "score_error": error}
        records.append(named(proposal, **found, **numbers))
    return records, decision


def test_one_after_the_other():
    rule = Lineages(GrowWhileTraining(RESNET), 2, max_trials=3)
    records, decision = finished(rule, [0.5, 0.6])
    assert [(r.proposal.lineage, r.proposal.round) for r in records] == [
        *((0, 0), (0, 1), (0, 2)),
        *((1, 0), (1, 1), (1, 2)),
    ]
    assert decision.final == "1.2"
    assert set(decision.kept) == {"0.2", "1.2"}
    assert [r.proposal.parent for r in records] == ["", "0.0", "0.1", "", "1.0", "1.1"]


def test_as_each_lineage_alone_whatever_the_others_do():
    alone, rule = GrowWhileTraining(RESNET), Lineages(GrowWhileTraining(RESNET), 3)
    gains = [comparison("grow 2", 0.5)]
    records = []
    for number in (2, 0, 2, 1, 2, 0):  # the order in which workers come to an end
        proposal = next(p for p in rule.decide(records).proposals if p.lineage == number)
        own = [dataclasses.replace(r, proposal=as_alone(r)) for r in of(records, number)]
        (expected,) = alone.decide(own).proposals
        assert proposal == dataclasses.replace(expected, lineage=number)
        records.append(named(proposal, *gains if number == 2 else ()))
    assert [r.proposal.role for r in of(records, 2)] == ["start", "train on", "grow 2"]


def of(records, number):
    return [record for record in records if record.proposal.lineage == number]


def as_alone(found):
    return dataclasses.replace(found.proposal, lineage=0)


def test_running_lineages_are_waited_for():
    rule = Lineages(GrowWhileTraining(RESNET), 2)
    first, second = rule.decide([]).proposals
    assert (first.lineage, second.lineage) == (0, 1)
    running = [named(first, status=RUNNING)]
    assert [p.lineage for p in rule.decide(running).proposals] == [1]
    decision = rule.decide([*running, named(second, status=RUNNING)])
    assert (decision.proposals, decision.reason, decision.final) == ((), None, None)


def test_what_can_be_told_apart():
    """Differences of 4 and 1.5 points with an error of √2 points, z = 2.83 and 1.06."""
    rule = Lineages(GrowWhileTraining(RESNET, significance=0.05 / 3), 3, max_trials=1)
    _, decision = finished(rule, [0.66, 0.70, 0.685])
    assert decision.reason == (
        "there were --max_trials=1 trials; of 3 lineages lineage 1 with 70.00% ± 1.00 was taken; "
        "lineage 2 with 68.50% ± 1.00, which is not distinguishable; lineage 0 with 66.00% ± 1.00"
    )
    assert stats.norm.sf(4 / math.sqrt(2)) < 0.05 / 2 < 0.05 < stats.norm.sf(1.5 / math.sqrt(2))


def test_equally_good_ones():
    rule = Lineages(GrowWhileTraining(RESNET), 2, max_trials=1)
    _, decision = finished(rule, [0.5, 0.5], error=0.0)
    assert decision.final == "0.0"
    assert decision.reason.endswith("lineage 1 with 50.00% ± 0.00, which is not distinguishable")


def test_failures():
    rule = Lineages(GrowWhileTraining(RESNET), 2)
    first, second = rule.decide([]).proposals
    records = [named(first, status=FAILED), named(second)]
    assert rule.decide(records).final == "1.0"
    (third,) = rule.decide(records).proposals
    decision = rule.decide([*records, named(third, status=FAILED)])
    assert decision.final == "1.0"
    assert decision.reason.startswith(
        "of lineage 0 the trial of round 0 failed: a bad end; "
        "of lineage 1 the trial of round 1 failed: a bad end; of 2 lineages lineage 1 with "
    )
    nothing = rule.decide([named(each, status=FAILED) for each in (first, second)])
    assert (nothing.final, nothing.reason) == (None, "the trial of round 0 failed: a bad end")


@pytest.mark.parametrize("distributed", [False, True])
def test_time(distributed):
    """An hour, of which half is for the search: in turns, or for each at once."""
    config = SearchConfig(log_dir="unused", max_hours=1.0, lineages=2, distributed=distributed)
    rule = config.rule_class.from_config(config)
    assert rule.rule.significance == 0.025
    records = []
    while (decision := rule.decide(records)).proposals:
        proposal = decision.proposals[0]
        records.append(named(proposal, seconds=50.0 + 50.0 * proposal.epochs))
    spent = [sum(r.seconds for r in of(records, number)) for number in (0, 1)]
    part = 1800.0 if distributed else 900.0
    assert all(abs(seconds - part) <= 0.5 * part / 4 for seconds in spent)
    left = 3600.0 - (max(spent) if distributed else sum(spent))
    assert rule.seconds_left(records) == pytest.approx(left)
    assert rule.final_epochs(records, 0) == math.floor(0.9 * left / 51.0)
    assert rule.final_epochs(records, 7) == 7
    words = "each by a worker" if distributed else "one after the other"
    assert (
        f"2 lineages grow and lose blocks while they are trained, {words}, for about 30"
        in rule.plan
    )


def test_proposals_travel_with_their_lineage():
    proposal = Proposal(2, "grow 1", RESNET, parent="5", epochs=3, first_epoch=4, lineage=2)
    assert Proposal.from_values(proposal.to_values()) == proposal
    assert "lineage" not in Proposal(0, "start", RESNET).to_values()


def test_all_in_one_is_the_rule_itself():
    config = SearchConfig(log_dir="unused")
    assert isinstance(config.rule_class.from_config(config), GrowWhileTraining)
    assert {
        record.status for record in finished(Lineages(GrowWhileTraining(RESNET), 1), [0.5])[0]
    } == {COMPLETED}
