"""The rules, without any network: from records to decisions."""

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas import policy
from nas.architecture import Architecture
from nas.policy import Decision, GrowAndPrune, Proposal, PruneConflicts, Record
from tfcaps.errors import UsageError

PLAIN = Architecture("vgg", (2, 3), (8, 16), "cifar")
RESIDUAL = Architecture("resnet", (1, 2), (8, 16), "cifar")


def record(proposal, name="0", *, conflicts=(), **fields):
    """A completed attempt in which these blocks' outputs, or branches, conflict."""
    entropies = {}
    for block in proposal.architecture.block_names:
        taps = [block]
        if proposal.architecture.kind == "resnet":
            taps = [f"{block}/branch", f"{block}/output"]
        entropies |= {tap: 0.0 for tap in taps}
        if block in conflicts:
            entropies[taps[0]] = 0.5
    return Record(name, proposal, entropies=entropies, **{"accuracy": 0.5, "flops": 1.0, **fields})


class TestPruneConflicts:
    @pytest.mark.parametrize(
        ("every_stage", "expected"), [(False, ((1,), (1, 2, 3))), (True, ((1,), (1, 3)))]
    )
    def test_which_blocks_go(self, every_stage, expected):
        rule = PruneConflicts(PLAIN, every_stage=every_stage)
        (first,) = rule.decide([]).proposals
        assert first == Proposal(0, "start", PLAIN)
        conflicts = ["stage1_block2", "stage2_block2", "stage2_block3"]
        decision = rule.decide([record(first, conflicts=conflicts)])
        stages = decision.proposals[0].architecture.blocks
        # The last block conflicts, too, so it goes in the rule for every stage.
        assert stages == (expected if not every_stage else ((1,), (1,)))
        assert decision.proposals[0] == Proposal(
            1, "prune", dataclasses.replace(PLAIN, blocks=stages)
        )

    def test_only_a_conflict_of_the_last_block_counts(self):
        rule = PruneConflicts(PLAIN, every_stage=True)
        first = record(rule.decide([]).proposals[0], conflicts=["stage1_block2"])
        assert rule.decide([first]) == Decision(
            reason="the last block has no conflict", final=first.name
        )

    def test_the_first_stage_that_can_lose_a_block(self):
        start = Architecture("vgg", (1, 3), (8, 16), "cifar")
        rule = PruneConflicts(start, every_stage=False)
        conflicts = ["stage1_block1", "stage2_block2", "stage2_block3"]
        first = record(rule.decide([]).proposals[0], conflicts=conflicts)
        assert rule.decide([first]).proposals[0].architecture.blocks == ((1,), (1,))

    def test_an_unchanged_network_is_not_tried_again(self):
        start = Architecture("vgg", (1, 1), (8, 16), "cifar")
        rule = PruneConflicts(start, every_stage=True)
        first = record(rule.decide([]).proposals[0], conflicts=start.block_names)
        decision = rule.decide([first])
        assert not decision.proposals
        assert "no conflicting block may go" in decision.reason
        assert decision.final == first.name

    def test_running_and_failed_attempts(self):
        rule = PruneConflicts(PLAIN, every_stage=True)
        (proposal,) = rule.decide([]).proposals
        first = record(proposal, conflicts=PLAIN.block_names)
        (second,) = rule.decide([first]).proposals
        assert rule.decide([first, record(second, "1", status="running")]) == Decision()
        failed = record(second, "1", status="failed", message="NaN in layer x")
        decision = rule.decide([first, failed])
        assert decision.reason == "the attempt of round 1 failed: NaN in layer x"
        assert decision.final == "0"
        assert rule.decide([record(proposal, status="failed")]).final is None

    def test_a_residual_networks_branches_decide(self):
        start = Architecture("resnet", (2, 2), (8, 16), "cifar")
        rule = PruneConflicts(start, every_stage=True)
        conflicts = ["stage1_block1", "stage2_block1", "stage2_block2"]
        first = record(rule.decide([]).proposals[0], conflicts=conflicts)
        assert rule.decide([first]).proposals[0].architecture.blocks == ((2,), (1,))

    @given(data=st.data(), every_stage=st.booleans())
    def test_whatever_conflicts_it_ends(self, data, every_stage):
        rule = PruneConflicts(PLAIN, every_stage=every_stage)
        records = []
        for _ in range(20):
            decision = rule.decide(records)
            if decision.reason:
                break
            (proposal,) = decision.proposals
            assert proposal.architecture not in [r.proposal.architecture for r in records]
            assert all(proposal.architecture.blocks)
            names = st.sets(st.sampled_from(proposal.architecture.block_names))
            records.append(record(proposal, str(len(records)), conflicts=data.draw(names)))
        assert decision.reason
        assert decision.final == records[-1].name


class Game:
    """Plays a search: answers each proposal with an accuracy and conflicts."""

    def __init__(self, rule, answer, max_trials=60):
        self.rule, self.answer = rule, answer
        self.records = []
        while len(self.records) < max_trials:
            self.decision = rule.decide(self.records)
            if self.decision.reason:
                return
            proposal = self.decision.proposals[0]
            fields = {"flops": float(sum(proposal.architecture.counts)), **answer(proposal)}
            self.records.append(record(proposal, str(len(self.records)), **fields))

    def rounds(self):
        found = {}
        for each in self.records:
            found.setdefault(each.proposal.round, []).append(each.proposal.role)
        return found

    def final(self):
        return next(r for r in self.records if r.name == self.decision.final)


class TestGrowAndPrune:
    def test_the_children_of_a_round(self):
        rule = GrowAndPrune(RESIDUAL)
        start = record(rule.decide([]).proposals[0], conflicts=["stage2_block2"])
        children = rule.decide([start]).proposals
        assert [(child.role, child.architecture.blocks) for child in children] == [
            ("keep", ((1,), (1, 2))),
            ("prune", ((1,), (1,))),
            ("grow 1", ((1, 2), (1, 2))),
            ("grow 2", ((1,), (1, 2, 3))),
        ]
        assert {(child.round, child.parent) for child in children} == {(1, "0")}
        # What others work on is not proposed again.
        others = [record(child, str(i)) for i, child in enumerate(children[:2], start=1)]
        assert rule.decide([start, *others]).proposals == children[2:]
        running = [record(child, str(i), status="running") for i, child in enumerate(children, 1)]
        assert rule.decide([start, *running]) == Decision()

    def test_the_best_gain_per_operation_wins(self):
        accuracies = {"keep": 0.5, "grow 1": 0.55, "grow 2": 0.58}
        costs = {"keep": 100.0, "grow 1": 110.0, "grow 2": 140.0}

        def answer(proposal):
            is_first = proposal.round == 1
            return {
                "accuracy": accuracies.get(proposal.role, 0.4) if is_first else 0.5,
                "flops": costs.get(proposal.role, 90.0),
            }

        game = Game(GrowAndPrune(RESIDUAL), answer)
        # 0.05 for 10 operations beats 0.08 for 40.
        parents = {r.proposal.parent for r in game.records if r.proposal.round == 2}
        assert [r.proposal.role for r in game.records if {r.name} == parents] == ["grow 1"]
        assert game.final().proposal.architecture.counts == (2, 2)
        assert game.final().proposal.role == "keep"

    def test_a_stage_without_gain_is_closed(self):
        def answer(proposal):
            return {"accuracy": 0.6 if proposal.role == "grow 2" else 0.5}

        game = Game(GrowAndPrune(RESIDUAL), answer, max_trials=12)
        assert game.rounds()[1] == ["keep", "grow 1", "grow 2"]
        assert game.rounds()[2] == ["keep", "grow 2"]

    def test_pruning_within_the_tolerance(self):
        def answer(proposal):
            lacks = "stage2_block2" not in proposal.architecture.block_names
            return {
                "accuracy": 0.496 if proposal.role == "prune" else 0.5,
                "conflicts": () if lacks else ["stage2_block2"],
            }

        game = Game(GrowAndPrune(RESIDUAL, tolerance=0.005), answer)
        assert game.final().proposal.architecture.counts == (1, 1)
        worse = Game(GrowAndPrune(RESIDUAL, tolerance=0.003), answer)
        assert worse.final().proposal.architecture.counts == (1, 2)
        assert worse.decision.reason == "neither pruning nor another block made the network better"

    def test_new_blocks_have_a_grace_period(self):
        """They conflict from the first; each of two rounds grows, then they may go."""

        def answer(proposal):
            grown = {"stage1_block2", "stage1_block3", "stage1_block4"}
            names = set(proposal.architecture.block_names)
            better = proposal.role == "grow 1" and proposal.round < 4
            return {"accuracy": 0.6 if better else 0.5, "conflicts": grown & names}

        game = Game(GrowAndPrune(RESIDUAL, grace=2), answer)
        rounds = game.rounds()
        assert ["prune" in rounds[number] for number in (1, 2, 3, 4)] == [False, False, False, True]
        pruned = next(r for r in game.records if r.proposal.role == "prune")
        # Born in round 1: may go in round 4, for which it was there in 2 and 3.
        assert pruned.proposal.architecture.blocks[0] == (1, 3, 4)

    def test_a_circle_is_left(self):
        """Growing always pays, and pruning what was grown never costs: a search without end."""

        def answer(proposal):
            later = [n for n in proposal.architecture.block_names if n.startswith("stage1")][1:]
            return {
                "accuracy": {"grow 1": 0.6, "prune": 0.6}.get(proposal.role, 0.5),
                "conflicts": later,
            }

        game = Game(GrowAndPrune(RESIDUAL, grace=0), answer)
        assert game.decision.reason
        assert len(game.records) < 20

    def test_failed_children_are_not_chosen(self):
        def answer(proposal):
            if proposal.role == "grow 1":
                return {"status": "failed", "accuracy": math.nan, "message": "NaN"}
            return {"accuracy": 0.6 if proposal.role == "grow 2" and proposal.round == 1 else 0.5}

        game = Game(GrowAndPrune(RESIDUAL), answer)
        assert game.final().proposal.architecture.counts == (1, 3)
        failed = Game(
            GrowAndPrune(RESIDUAL),
            lambda p: {"status": "failed", "message": "NaN"} if p.role == "keep" else {},
        )
        assert failed.decision.reason == "training the network on failed: NaN"
        assert failed.decision.final == "0"

    @settings(deadline=None)
    @given(data=st.data())
    def test_whatever_comes_it_ends_or_goes_on_with_something_new(self, data):
        accuracy = st.one_of(st.just(math.nan), st.floats(0, 1, allow_nan=False))

        def answer(proposal):
            value = data.draw(accuracy)
            names = proposal.architecture.block_names
            return {
                "accuracy": value,
                "status": "failed" if math.isnan(value) else "completed",
                "conflicts": data.draw(st.sets(st.sampled_from(names))),
            }

        game = Game(GrowAndPrune(RESIDUAL, grace=data.draw(st.integers(0, 3))), answer, 30)
        proposals = [r.proposal for r in game.records]
        assert len(set(proposals)) == len(proposals)
        tried = [(p.role, p.architecture, p.parent) for p in proposals]
        assert len(set(tried)) == len(tried)
        assert all(all(p.architecture.blocks) for p in proposals)
        if game.decision.final is not None:
            assert game.final().status == "completed"

    def test_only_residual_networks(self):
        with pytest.raises(UsageError, match="Received: vgg"):
            GrowAndPrune(PLAIN)


def test_rules_by_name():
    arguments = {"tolerance": 0.1, "gain_threshold": 0.2, "grace": 3}
    assert not policy.make_rule("first_stage", PLAIN, **arguments).every_stage
    assert policy.make_rule("all_stages", PLAIN, **arguments).every_stage
    assert policy.make_rule("grow_and_prune", RESIDUAL, **arguments).grace == 3
    with pytest.raises(UsageError, match="first_stage, all_stages, grow_and_prune. Received: big"):
        policy.make_rule("big", PLAIN, **arguments)
