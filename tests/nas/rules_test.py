"""The rules, on trials made up by hand and at random."""

import itertools

import pytest
from hypothesis import given, strategies as st

from nas.architecture import Architecture
from nas.records import (
    COMPLETED,
    FAILED,
    PRUNE,
    RUNNING,
    START,
    Record,
    lineage,
)
from nas.rules import PruneAllStages, PruneFirstStage

VGG = Architecture("vgg", (2, 3), (4, 8), "cifar")
RESNET = Architecture("resnet", (2, 1), (4, 8), "cifar")


def record(proposal, *conflicting, accuracy=0.5, flops=100.0, status=COMPLETED, name=None):
    """A trial in which these blocks conflict; of a residual block it is the branch."""
    taps = {block: float(block in conflicting) for block in proposal.architecture.block_names}
    if proposal.architecture.kind == "resnet":
        branches = {f"{block}/branch": entropy for block, entropy in taps.items()}
        taps = {**branches, **{f"{block}/output": 0.0 for block in taps}}
    return Record(
        name=name or f"{proposal.round} {proposal.role}",
        proposal=proposal,
        status=status,
        entropies=taps,
        accuracy=accuracy,
        flops=flops,
        message="a bad end" if status == FAILED else "",
    )


def only(decision):
    assert decision.reason is None
    (proposal,) = decision.proposals
    return proposal


class TestPruneConflicts:
    @pytest.mark.parametrize(
        ("make_rule", "expected"),
        [(PruneFirstStage, ((2,), (1, 2, 3))), (PruneAllStages, ((2,), (2,)))],
    )
    def test_what_goes(self, make_rule, expected):
        rule = make_rule(VGG)
        first = only(rule.decide([]))
        assert (first.round, first.role, first.architecture, first.parent) == (0, START, VGG, "")
        conflicting = ["stage1_block1", "stage2_block1", "stage2_block3"]
        second = only(rule.decide([record(first, *conflicting)]))
        assert (second.round, second.role, second.parent) == (1, PRUNE, "")
        assert second.architecture.blocks == expected

    def test_first_stage_keeps_what_has_no_conflict(self):
        """The first of the stages that have conflicts is the second one."""
        rule = PruneFirstStage(VGG)
        conflicting = ["stage2_block2", "stage2_block3"]
        second = only(rule.decide([record(only(rule.decide([])), *conflicting)]))
        assert second.architecture.blocks == ((1, 2), (1,))

    def test_stage_that_cannot_shrink_is_passed_over(self):
        start = Architecture("vgg", (1, 2), (4, 8), "cifar")
        rule = PruneFirstStage(start)
        first = only(rule.decide([]))
        second = only(rule.decide([record(first, *start.block_names)]))
        assert second.architecture.blocks == ((1,), (1,))
        done = rule.decide([record(first), record(second, *second.architecture.block_names)])
        assert done.proposals == ()
        assert done.reason == "the last block conflicts, but none of the conflicting blocks may go"
        assert done.final == "1 prune"

    def test_end_without_conflict(self):
        rule = PruneAllStages(VGG)
        first = record(only(rule.decide([])), "stage2_block3")
        second = record(only(rule.decide([first])))
        decision = rule.decide([first, second])
        assert decision.reason == "the last block has no conflict any more"
        assert decision.final == "1 prune"

    def test_conflict_below_the_last_block_is_no_reason_to_go_on(self):
        rule = PruneAllStages(VGG)
        assert rule.decide([record(only(rule.decide([])), "stage2_block2")]).final == "0 start"

    def test_residual_networks_by_their_branches(self):
        rule = PruneAllStages(RESNET)
        first = only(rule.decide([]))
        second = only(rule.decide([record(first, *RESNET.block_names)]))
        assert second.architecture.blocks == ((1,), (1,))

    def test_output_of_the_last_block_counts(self):
        """But there is no branch that could be removed for it."""
        rule = PruneAllStages(RESNET)
        found = record(only(rule.decide([])))
        found.entropies["stage2_block1/output"] = 0.1
        assert found.last_entropy == 0.1
        assert "none of the conflicting blocks may go" in rule.decide([found]).reason

    def test_waits(self):
        rule = PruneAllStages(VGG)
        decision = rule.decide([record(only(rule.decide([])), status=RUNNING)])
        assert (decision.proposals, decision.reason, decision.final) == ((), None, None)

    def test_failure(self):
        rule = PruneAllStages(VGG)
        first = record(only(rule.decide([])), *VGG.block_names)
        second = record(only(rule.decide([first])), status=FAILED)
        decision = rule.decide([first, second])
        assert decision.reason == "the trial of round 1 failed: a bad end"
        assert decision.final == "0 start"
        assert rule.decide([record(first.proposal, status=FAILED)]).final is None

    @given(st.data(), st.booleans(), st.booleans(), st.sampled_from(["vgg", "resnet", "fnn"]))
    def test_ends(self, data, every_stage, allow_empty_stages, kind):
        start = Architecture(kind, (3, 2, 3), (4, 4, 4), "cifar")
        make_rule = PruneAllStages if every_stage else PruneFirstStage
        rule = make_rule(start, allow_empty_stages=allow_empty_stages)
        records, seen = [], set()
        while (decision := rule.decide(records)).reason is None:
            proposal = only(decision)
            assert proposal.architecture not in seen
            assert allow_empty_stages or all(proposal.architecture.counts)
            seen.add(proposal.architecture)
            names = proposal.architecture.block_names
            conflicting = data.draw(st.sets(st.sampled_from(names)))
            status = data.draw(st.sampled_from([COMPLETED] * 9 + [FAILED]))
            records.append(record(proposal, *conflicting, status=status))
        assert len(records) <= sum(start.counts) + 1


def test_lineage_of_prunings():
    rule = PruneFirstStage(VGG)
    records = []
    for conflicting in (["stage2_block3"], ["stage2_block2"], []):
        records.append(record(only(rule.decide(records)), *conflicting))
    assert [one.name for one in lineage(records, "2 prune")] == ["0 start", "1 prune", "2 prune"]
    assert lineage(records, "0 start") == records[:1]


def test_entropies_by_hand():
    proposal = only(PruneAllStages(RESNET).decide([]))
    found = Record(
        "0",
        proposal,
        entropies=dict(
            zip(
                (
                    f"{b}/{t}"
                    for b, t in itertools.product(RESNET.block_names, ("branch", "output"))
                ),
                (0.0, 0.3, 0.1, 0.0, 0.2, 0.5),
                strict=True,
            )
        ),
    )
    assert found.conflicting_blocks == ("stage1_block2", "stage2_block1")
    assert found.last_entropy == 0.5
    assert found.block_entropy("stage1_block2") == 0.1
