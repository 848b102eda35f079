"""Choices of layers by made-up and by published scores; nothing is trained."""

import itertools
import json
import math
import pathlib

import numpy as np
import pytest
from scipy import stats

from nas import layer_pruning
from nas.layer_pruning import METHODS, Candidate, Removal, RemovalRecord, Step, choose
from nas.layer_pruning.methods import GivenLayers
from nas.layer_pruning.plan import Plan
from nas.records import FAILED, RUNNING
from tfcaps.errors import UsageError

# The score logs and layer files that belong to arXiv 2105.14839, as numbers.
PUBLISHED = json.loads(pathlib.Path(__file__).with_name("published_scores.json").read_text())
SEEDS = (41, 42, 43)


def record(proposal, score=math.nan, **known):
    if proposal.role == "whole":
        known = {"above_majority": score - 0.5, "above_error": 0.02, **known}
    return RemovalRecord("-", proposal, score=score, **known)


def run(decider, score_of):
    """Makes all trials that are proposed, and returns their records."""
    records = []
    while True:
        decision = decider.decide(records)
        if decision.reason is not None:
            assert not decision.proposals
            return records, decision.reason
        assert decision.proposals
        records.append(record(decision.proposals[0], score_of(decision.proposals[0])))


def replayed(method, scores):
    """The choice by published scores, each of which is that of a set of layers."""
    return run(method, lambda p: 0.99 if p.role == "whole" else scores[p.removed])[0]


class TestPublishedLogs:
    @pytest.mark.parametrize("log", PUBLISHED["greedy"], ids=lambda log: log["model"] + log["task"])
    def test_greedy(self, log):
        count = len(log["order"])
        scores, removed = {}, []
        # Some logs hold two runs: the last one counts.
        for step in log["steps"][-count:]:
            for layer, score in step["scores"]:
                scores[tuple(sorted((*removed, layer)))] = score
            removed.append(log["order"][len(removed)])
        method = METHODS.get("greedy")(12, count)
        records = replayed(method, scores)
        assert list(method.order(records)) == log["order"]
        assert len(records) == 1 + sum(12 - removed for removed in range(count))
        assert len(records) == method.expected_trials()

    @pytest.mark.parametrize(
        "log",
        [log for log in PUBLISHED["exhaustive"] if log["best"]],
        ids=lambda log: log["model"] + log["task"],
    )
    def test_exhaustive(self, log):
        scores = {tuple(layers): score for layers, score in log["scores"]}
        count = len(log["best"])
        method = METHODS.get("exhaustive")(12, count)
        records = replayed(method, scores)
        assert [list(layers) for layers in method.chosen(records)] == log["best"]
        assert len(records) == method.expected_trials()

    def test_all_of_them(self):
        assert len(PUBLISHED["greedy"]) == 34
        # One was stopped before its choice.
        assert len([log for log in PUBLISHED["exhaustive"] if log["best"]]) == 16


class TestChoose:
    def test_ties_to_three_decimals(self):
        scores = [(0, 0.9004), (1, 0.9), (2, 0.8), (3, math.nan)]
        assert choose(scores) == 1
        assert choose(scores, ties="lowest") == 0

    def test_no_score(self):
        with pytest.raises(UsageError, match="Expected a score"):
            choose([(0, math.nan)])


class TestSteps:
    def scores(self, proposal):
        """Layer 1 is the best one to lose, then layer 3; seeds shift all alike."""
        shift = 0.01 * (proposal.seed - 41)
        worth = {0: 0.05, 1: 0.0, 2: 0.04, 3: 0.01}
        return 0.9 + shift - sum(worth[layer] for layer in proposal.removed)

    def test_several_seeds(self):
        method = METHODS.get("greedy")(4, 2, seeds=SEEDS)
        records, reason = run(method, self.scores)
        assert method.order(records) == (1, 3)
        assert method.chosen(records) == ((1,), (1, 3))
        assert reason == "all 2 layers have been chosen"
        assert len(records) == method.expected_trials() == 3 * (1 + 4 + 3)
        first, second = method.steps(records)
        assert [candidate.removed for candidate in second.candidates] == [(0, 1), (1, 2), (1, 3)]
        assert first.runner_up.removed == (3,)
        assert first.winner.mean == pytest.approx(0.91)
        assert first.winner.error == pytest.approx(0.01 / math.sqrt(3))
        # Paired: the seeds' own differences cancel.
        assert first.difference == pytest.approx(0.01)
        assert first.error == pytest.approx(0.0, abs=1e-12)
        assert first.is_distinguishable

    def test_t_test_is_scipys(self):
        one, two = (0.91, 0.90, 0.93), (0.90, 0.88, 0.89)
        step = Step((), Candidate((0,), one), Candidate((1,), two))
        expected = stats.ttest_rel(one, two)
        assert step.difference / step.error == pytest.approx(expected.statistic)
        assert step.is_distinguishable == (expected.pvalue < 0.05)
        near = Step((), Candidate((0,), one), Candidate((1,), (0.90, 0.91, 0.90)))
        assert not near.is_distinguishable
        assert stats.ttest_rel(one, (0.90, 0.91, 0.90)).pvalue > 0.05

    def test_one_seed_cannot_tell(self):
        step = Step((), Candidate((0,), (0.9,)), Candidate((1,), (0.1,)))
        assert math.isnan(step.error)
        assert not step.is_distinguishable

    def test_failures(self):
        method = METHODS.get("greedy")(3, 1)
        whole = record(Removal((), 41, role="whole"), 0.9)
        tried = [record(Removal((layer,), 41), 0.8 - layer / 10) for layer in range(3)]
        failed = RemovalRecord("-", tried[0].proposal, status=FAILED, message="NaN")
        assert method.order([whole, failed, *tried[1:]]) == (1,)
        all_failed = [RemovalRecord("-", r.proposal, status=FAILED) for r in tried]
        assert method.decide([whole, *all_failed]).reason == "all candidates of choice 1 failed"
        assert method.chosen([whole, *all_failed]) == ()

    def test_running_trials_are_waited_for(self):
        method = METHODS.get("greedy")(3, 1)
        whole = Removal((), 41, role="whole")
        assert method.decide([]).proposals == (whole,)
        running = RemovalRecord("-", whole, status=RUNNING)
        decision = method.decide([running])
        assert decision.proposals == ()
        assert decision.reason is None


class TestGuard:
    def test_whole_model_like_the_majority(self):
        method = METHODS.get("greedy")(4, 1, seeds=(1, 2))
        records = [
            record(Removal((), seed, role="whole"), 0.5, above_majority=value, above_error=0.03)
            for seed, value in ((1, 0.05), (2, 0.07))
        ]
        # √(0.03² + 0.01²) = 0.0316, and 0.06 is below twice that.
        reason = method.decide(records).reason
        assert reason.startswith("layers aren't ranked, as the whole model isn't above")
        assert "+0.0600 ± 0.0316" in reason
        assert method.chosen(records) == ()

    def test_whole_model_fails(self):
        failed = RemovalRecord("-", Removal((), 41, role="whole"), status=FAILED, message="NaN")
        reason = METHODS.get("greedy")(4, 1).decide([failed]).reason
        assert reason == "the fine-tuning of the whole model failed: NaN"


class TestBudget:
    def test_worse_half_is_dropped(self):
        method = METHODS.get("greedy")(5, 1, budget=0.25)
        records, _ = run(method, lambda p: 0.9 - 0.01 * sum(p.removed))
        parts = [(r.proposal.removed, r.proposal.part) for r in records if r.proposal.removed]
        assert parts[:5] == [((layer,), 0.25) for layer in range(5)]
        assert parts[5:] == [((layer,), 1.0) for layer in range(3)]
        assert method.order(records) == (0,)
        assert len(records) == method.expected_trials()


class TestOtherMethods:
    def test_top_and_random(self):
        assert METHODS.get("top")(12, 3).chosen([]) == ((11,), (11, 10), (11, 10, 9))
        drawn = METHODS.get("random")(12, 12 - 1, seeds=(7,)).chosen([])[-1]
        assert len(set(drawn)) == 11
        assert drawn == METHODS.get("random")(12, 11, seeds=(7, 8)).chosen([])[-1]
        others = {METHODS.get("random")(12, 11, seeds=(s,)).chosen([])[-1] for s in range(5)}
        assert len(others) == 5

    @pytest.mark.parametrize("name", ["block_influence", "bundle_entropy"])
    def test_one_pass(self, name):
        method = METHODS.get(name)(4, 2)
        (proposal,) = method.decide([]).proposals
        assert proposal.role == "one_pass"
        measured = RemovalRecord("-", proposal, rankings={name: (0.3, 0.1, 0.1, 0.2)})
        assert method.order([measured]) == (2, 1)  # of equal ones the last
        assert METHODS.get(name)(4, 2, ties="lowest").order([measured]) == (1, 2)
        assert method.decide([measured]).reason == "the layers have been measured"

    @pytest.mark.parametrize("count", [0, 4, 9])
    def test_wrong_count(self, count):
        with pytest.raises(UsageError, match=f"from 1 to 3, as there are 4.*Received: {count}"):
            METHODS.get("greedy")(4, count)

    def test_exhaustive_of_three(self):
        with pytest.raises(UsageError, match="of 1 or 2 with --prune_method=exhaustive"):
            METHODS.get("exhaustive")(6, 3)


class TestPlan:
    def test_finals_come_after_the_choice(self):
        method = METHODS.get("greedy")(4, 2, seeds=(1, 2))
        plan = Plan(method, (0, 1, 2), ("top", "random"))
        records, _ = run(plan, lambda p: 0.9 - 0.01 * sum(p.removed))
        finals = [r.proposal for r in records if r.proposal.role == "final"]
        assert finals == [r.proposal for r in records[-len(finals) :]]
        curves = plan.curves(records)
        assert curves["chosen"] == {0: (), 1: (0,), 2: (0, 1)}
        assert curves["top"] == {0: (), 1: (3,), 2: (2, 3)}
        sets = {layers for by_size in curves.values() for layers in by_size.values()}
        assert [p.removed for p in finals[::2]] == plan.final_sets(records)
        assert {p.removed for p in finals} == sets
        assert [p.seed for p in finals] == [1, 2] * len(sets)

    def test_no_finals_without_a_choice(self):
        plan = Plan(METHODS.get("greedy")(4, 2), (0, 2), ())
        records, reason = run(plan, lambda p: 0.5)
        assert len(records) == 1
        assert reason.startswith("layers aren't ranked")


class TestFiles:
    def chosen(self, name="greedy"):
        method = METHODS.get(name)(4, 2)
        records, _ = run(method, lambda p: 0.9 - 0.01234 * sum(p.removed))
        return method, records

    def test_greedy(self, tmp_path):
        method, records = self.chosen()
        files = layer_pruning.LayerFiles(tmp_path, "runs/BERT-base", "MRPC")
        path = files.write(method, records)
        assert path.name == "bert-base_mrpc_greedy.txt"
        assert path.read_text() == "0\n1\n"
        log = tmp_path / "bert-base_mrpc_greedy_log.txt"
        assert log.read_text() == (
            "0;{0: 0.9, 1: 0.888, 2: 0.875, 3: 0.863}\n1;{1: 0.888, 2: 0.875, 3: 0.863}\n"
        )
        assert layer_pruning.read_choice(path, 4) == ((0,), (0, 1))
        assert layer_pruning.read_order_log(log)[1] == {1: 0.888, 2: 0.875, 3: 0.863}
        log.write_text(log.read_text() * 2)  # as the published program appends
        assert len(layer_pruning.read_order_log(log)) == 2

    def test_exhaustive(self, tmp_path):
        method, records = self.chosen("exhaustive")
        files = layer_pruning.LayerFiles(tmp_path, "bert", "csv:data/My texts.csv", "exhaustive")
        path = files.write(method, records)
        assert path.name == "bert_my_texts_perfect.txt"
        assert path.read_text() == "0\n0-1\n"
        log = layer_pruning.read_set_log(tmp_path / "bert_my_texts_perfect_log.txt")
        sets = [*itertools.combinations(range(4), 1), *itertools.combinations(range(4), 2)]
        assert [layers for layers, _ in log] == sets
        np.testing.assert_allclose(
            [score for _, score in log], [0.9 - 0.01234 * sum(s) for s in sets], atol=5e-4
        )

    @pytest.mark.parametrize("text", ["3\n0-1\n", "2\n0\n"], ids=["sets", "an order"])
    def test_of_a_file(self, tmp_path, text):
        """As it was given: the layers of a set are no order."""
        (tmp_path / "given.txt").write_text(text)
        method = GivenLayers(4, layer_pruning.read_choice(tmp_path / "given.txt", 4))
        path = layer_pruning.LayerFiles(tmp_path, "bert", "MRPC", "file").write(method, [])
        assert path.name == "bert_mrpc_file.txt"
        assert path.read_text() == text

    def test_of_another_method(self, tmp_path):
        method, records = self.chosen("top")
        path = layer_pruning.LayerFiles(tmp_path, "bert", "MRPC", "top").write(method, records)
        assert path.name == "bert_mrpc_top.txt"
        assert path.read_text() == "3\n2\n"
        assert [path.name] == [each.name for each in tmp_path.iterdir()]  # nothing was scored

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "which is empty"),
            ("1\n1\n", "which has the layer 1 twice"),
            ("4\n", "which has the layer 4"),
            ("1\nx\n", "which has the line 'x'"),
            ("-1\n", "which has the line '-1'"),
            ("1\n0-1-2\n", "whose line 2 has 3 layers instead of 2"),
            ("0\n1\n2\n3\n", "which leaves no layer"),
            ("\0", "which has the line"),
            ("9" * 5000, "which has the line"),
        ],
    )
    def test_wrong_choices(self, tmp_path, text, words):
        path = tmp_path / "layers.txt"
        path.write_text(text)
        with pytest.raises(UsageError) as caught:
            layer_pruning.read_choice(path, 4)
        assert words in str(caught.value)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "scores", ["{0: None}", "[0.5]", "{0: 0.5", "'a'", "-" * 50_000 + "1", "[" * 50_000, "\0"]
    )
    def test_a_log_of_something_else(self, tmp_path, scores):
        path = tmp_path / "log.txt"
        path.write_text(f"0;{scores}\n")
        with pytest.raises(UsageError, match=r"log.txt, which is missing or something else$"):
            layer_pruning.read_order_log(path)

    def test_missing_files(self, tmp_path):
        with pytest.raises(UsageError, match="which doesn't exist"):
            layer_pruning.read_choice(tmp_path / "none.txt", 4)
        with pytest.raises(UsageError, match="which is no text file"):
            layer_pruning.read_choice(tmp_path, 4)
        for read in (layer_pruning.read_order_log, layer_pruning.read_set_log):
            with pytest.raises(UsageError, match="missing or something else"):
                read(tmp_path / "none.txt")
