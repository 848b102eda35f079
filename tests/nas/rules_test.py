"""The rules, on trials made up by hand and at random."""

import itertools
import math

import pytest
from hypothesis import given, settings, strategies as st

from nas.architecture import Architecture
from nas.records import (
    COMPLETED,
    FAILED,
    KEEP,
    PRUNE,
    RUNNING,
    START,
    Record,
    lineage,
)
from nas.rules import GrowAndPrune, PruneAllStages, PruneFirstStage
from tfcaps.errors import UsageError

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


class Simulation:
    """Answers the proposals of `GrowAndPrune`, round by round."""

    def __init__(self, start=RESNET, **options):
        self.rule = GrowAndPrune(start, **options)
        self.records = []

    def roles(self):
        return [proposal.role for proposal in self.decision().proposals]

    def decision(self):
        return self.rule.decide(self.records)

    def answer(self, conflicting=(), **results):
        """`results`: accuracies by role, or dicts with what `record` takes; default: 0.5."""
        for proposal in self.decision().proposals:
            result = results.get(proposal.role.replace(" ", "_"), 0.5)
            result = result if isinstance(result, dict) else {"accuracy": result}
            flops = 100.0 * sum(proposal.architecture.counts)
            here = set(conflicting) & set(proposal.architecture.block_names)
            self.records.append(record(proposal, *here, **{"flops": flops, **result}))
        return self

    @property
    def parent(self):
        (proposal, *_) = self.decision().proposals
        return proposal.parent


class TestGrowAndPrune:
    def test_children(self):
        search = Simulation()
        assert search.roles() == [START]
        search.answer(conflicting=["stage1_block2", "stage2_block1"])
        assert search.roles() == [KEEP, PRUNE, "grow 1", "grow 2"]
        proposals = search.decision().proposals
        assert {proposal.parent for proposal in proposals} == {"0 start"}
        assert {proposal.round for proposal in proposals} == {1}
        # The second stage's only block has no identity as shortcut, so it stays.
        assert [proposal.architecture.blocks for proposal in proposals] == [
            ((1, 2), (1,)),
            ((1,), (1,)),
            ((1, 2, 3), (1,)),
            ((1, 2), (1, 2)),
        ]

    def test_children_that_nobody_works_on(self):
        search = Simulation().answer()
        keep, *others = search.decision().proposals
        search.records.append(record(keep, status=RUNNING))
        assert list(search.decision().proposals) == others
        search.records += [record(proposal, flops=300.0) for proposal in others]
        decision = search.decision()
        assert (decision.proposals, decision.reason, decision.final) == ((), None, "0 start")

    def test_cut_inside_a_round(self):
        """What a search that may make no more trials has come to is the best of them."""
        search = Simulation().answer(start=0.3)
        keep, first, second = search.decision().proposals
        search.records += [record(keep, accuracy=0.4), record(first, accuracy=0.5)]
        decision = search.decision()
        assert (decision.proposals, decision.final) == ((second,), "1 grow 1")
        search.records.append(record(second, status=FAILED))
        assert search.decision().final == "1 grow 1"

    def test_pruning_within_the_tolerance(self):
        search = Simulation(tolerance=0.005).answer(conflicting=["stage1_block2"])
        search.answer(keep=0.6, prune=0.596, grow_1=0.9)
        assert search.parent == "1 prune"
        assert search.decision().final == "1 prune"

    def test_pruning_that_costs_too_much(self):
        search = Simulation(tolerance=0.005, gain_threshold=0.01)
        search.answer(conflicting=["stage1_block2"])
        search.answer(conflicting=["stage1_block2"], keep=0.6, prune=0.594, grow_1=0.65)
        assert search.parent == "1 grow 1"
        assert PRUNE not in search.roles()  # not the same blocks again

    def test_growth_by_gain_per_operation(self):
        search = Simulation(gain_threshold=0.01).answer()
        search.answer(
            keep={"accuracy": 0.5, "flops": 100.0},
            grow_1={"accuracy": 0.6, "flops": 300.0},
            grow_2={"accuracy": 0.55, "flops": 150.0},
        )
        assert search.parent == "1 grow 2"
        assert search.decision().proposals[0].architecture.blocks == ((1, 2), (1, 2))

    def test_stage_without_gain_is_closed_for_good(self):
        search = Simulation(gain_threshold=0.01).answer()
        search.answer(keep=0.5, grow_1=0.509, grow_2=0.52)
        assert search.roles() == [KEEP, "grow 2"]
        search.answer(keep=0.5, grow_2=0.52)
        assert search.roles() == [KEEP, "grow 2"]

    def test_numbers_are_not_used_again(self):
        search = Simulation(grace=0).answer()
        search.answer(keep=0.5, grow_1=0.6, grow_2=0.55, conflicting=["stage1_block3"])
        search.answer(keep=0.5, prune=0.5, grow_2=0.6)
        assert search.parent == "2 prune"
        grown = {p.role: p.architecture.blocks for p in search.decision().proposals}
        # Back at 2,1 blocks, which were there before: no growth of that stage any more.
        assert grown == {KEEP: ((1, 2), (1,)), "grow 2": ((1, 2), (1, 4))}

    @pytest.mark.parametrize("grace", [0, 1, 2, 3])
    def test_grace(self, grace):
        search = Simulation(grace=grace, gain_threshold=0.0)
        search.answer().answer(conflicting=["stage1_block3"], keep=0.5, grow_1=0.6, grow_2=0.4)
        rounds = 0
        while PRUNE not in search.roles():
            rounds += 1
            search.answer(conflicting=["stage1_block3"], keep=0.5, grow_1=0.6)
        assert rounds == grace

    def test_end(self):
        search = Simulation().answer().answer(keep=0.6, grow_1=0.6, grow_2=0.4)
        decision = search.decision()
        assert decision.reason == "neither pruning nor another block made the network better"
        assert decision.final == "1 keep"

    def test_end_when_nothing_is_left_to_do(self):
        search = Simulation(Architecture("resnet", (0, 2), (4, 8), "cifar"), grace=0)
        search.answer(conflicting=["stage2_block2"]).answer(keep=0.5, prune=0.5, grow_2=0.5)
        search.answer(keep=0.5, grow_2=0.6, conflicting=["stage2_block4"])
        search.answer(keep=0.5, prune=0.5)
        decision = search.decision()
        assert decision.reason == "no stage gains from another block, and nothing is left to prune"
        assert decision.final == "3 prune"

    def test_failures(self):
        failed = {"status": FAILED, "accuracy": math.nan}
        search = Simulation().answer(conflicting=["stage1_block2"])
        search.answer(keep=0.5, prune=failed, grow_1=failed, grow_2=0.6)
        assert search.parent == "1 grow 2"
        assert search.roles() == [KEEP, "grow 2"]
        search.answer(keep=failed, grow_2=0.9)
        decision = search.decision()
        assert decision.reason == "training the network further failed: a bad end"
        assert decision.final == "1 grow 2"
        assert Simulation().answer(start=failed).decision().final is None

    def test_plain_network(self):
        with pytest.raises(UsageError, match=r"Expected a resnet .* Received: vgg"):
            GrowAndPrune(VGG)

    @settings(max_examples=40, deadline=None)
    @given(st.data(), st.integers(0, 3))
    def test_ends_whatever_happens(self, data, grace):
        start = Architecture("resnet", (2, 1, 3), (4, 4, 4), "cifar")
        rule = GrowAndPrune(start, grace=grace)
        records, seen = [], set()
        most_blocks = 8  # there growth brings nothing any more
        for _ in range(100):
            decision = rule.decide(records)
            if decision.reason is not None:
                break
            # A network may come back, but with fewer ways to go on from it.
            roles = {proposal.role: proposal.architecture for proposal in decision.proposals}
            here = roles.pop(KEEP, None), tuple(roles)
            assert here not in seen
            seen.add(here)
            for proposal in decision.proposals:
                architecture = proposal.architecture
                assert all(architecture.counts)
                role = proposal.role.split(" ")[0]
                conflicting = data.draw(st.sets(st.sampled_from(architecture.block_names)))
                accuracy = data.draw(st.floats(0, 1))
                if role == "grow" and sum(architecture.counts) > most_blocks:
                    accuracy = 0.0
                failed = data.draw(st.integers(0, 20)) == 0
                records.append(
                    record(
                        proposal,
                        *conflicting,
                        accuracy=math.nan if failed else accuracy,
                        status=FAILED if failed else COMPLETED,
                        name=str(len(records)),
                    )
                )
        else:
            raise AssertionError("no end")
        if decision.final is not None:
            final = records[int(decision.final)]
            assert final.status == COMPLETED
            rounds = [one.proposal.round for one in lineage(records, decision.final)]
            assert rounds == list(range(final.proposal.round + 1))

    @given(st.permutations(range(3)))
    def test_order_of_the_records_does_not_matter(self, order):
        search = Simulation().answer().answer(keep=0.5, grow_1=0.6, grow_2=0.61)
        first, *others = search.records
        assert search.rule.decide([first, *(others[i] for i in order)]) == search.decision()


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
