"""The oracle with trials that nobody trains: its state, its workers, their ends."""

import json
import math
import os
import shutil
import time

import pytest
from keras_tuner.engine.trial import Trial, TrialStatus

from nas.architecture import Architecture
from nas.folders import TrialFolder
from nas.records import COMPLETED, FAILED, RUNNING
from nas.rules import GrowWhileTraining, Lineages, PruneAllStages
from nas.tuner import ControllerOracle
from tfcaps.errors import UsageError

# keras-tuner uses threading.currentThread.
pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:keras_tuner")

START = Architecture("resnet", (2, 1), (4, 6), "cifar")


def lineages(count, max_trials=3):
    return Lineages(GrowWhileTraining(START), count, max_trials=max_trials)


def make_oracle(folder, rule=None, **arguments):
    rule = rule or lineages(3)
    oracle = ControllerOracle(rule, folder=folder / "search", **{"max_trials": 30, **arguments})
    oracle._set_project_dir(str(folder), "search")  # the tuner does
    return oracle


@pytest.fixture
def oracle(tmp_path):
    return make_oracle(tmp_path)


def metrics(trial, accuracy=0.5, conflicting=()):
    blocks = json.loads(trial.hyperparameters.values["architecture"])["blocks"]
    names = [f"stage{s}_block{n}" for s, numbers in enumerate(blocks, 1) for n in numbers]
    entropies = {f"entropy/{name}/branch": float(name in conflicting) for name in names}
    costs = {"flops": 100.0 * len(names), "parameters": 1e3, "seconds": 1.0, "milliseconds": 0.1}
    costs |= {"epoch_seconds": 1.0, "pause_seconds": 0.1}
    return {"val_accuracy": accuracy, **costs, **entropies}


def finish(oracle, trial, **results):
    """Ends a trial as a worker does, with an object of its own."""
    trial = Trial.from_state(trial.get_state())
    oracle.update_trial(trial.trial_id, metrics(trial, **results))
    trial.status = TrialStatus.COMPLETED
    oracle.end_trial(trial)


def fail(oracle, trial, status=TrialStatus.INVALID):
    trial = Trial.from_state(trial.get_state())
    trial.status, trial.message = status, "Traceback …"
    oracle.end_trial(trial)


def accuracy_of(trial):
    """Some accuracy, another one for each trial."""
    return 0.5 + 0.01 * (7 * int(trial.trial_id) % 5)


def run_to_the_end(oracle, tuner_id="tuner0"):
    while (trial := oracle.create_trial(tuner_id)).status != TrialStatus.STOPPED:
        assert trial.status == TrialStatus.RUNNING
        conflicting = ["stage1_block2"] if int(trial.trial_id) < 3 else []
        finish(oracle, trial, accuracy=accuracy_of(trial), conflicting=conflicting)
    return oracle


class TestState:
    def test_a_search_can_be_cut_off_at_each_state(self, tmp_path):
        """States are copied when they were written, and each copy leads to the same end."""
        whole = make_oracle(tmp_path / "whole")
        states = []
        write = whole.save

        def save():
            write()
            states.append(whole.state_file.read_text())

        whole.save = save
        run_to_the_end(whole)
        assert len(whole.records()) == 9
        assert whole.decision().reason
        assert len(states) == 3 * len(whole.records())  # at the begin, at the end, and after it
        for number, state in enumerate(states[::4]):
            again = make_oracle(tmp_path / str(number))
            again.folder.mkdir(parents=True)
            again.state_file.write_text(state)
            again.reload()
            assert run_to_the_end(again).records() == whole.records()
            assert again.decision() == whole.decision()

    def test_keras_tuners_own_files_are_not_read(self, tmp_path, oracle):
        run_to_the_end(oracle)
        for path in [*tmp_path.rglob("trial.json"), *tmp_path.rglob("oracle.json")]:
            path.write_text(path.read_text()[:7])
        again = make_oracle(tmp_path)
        again.reload()
        assert again.records() == oracle.records()

    def test_damaged(self, tmp_path, oracle):
        run_to_the_end(oracle)
        text = oracle.state_file.read_text()
        architecture = START.to_json().replace('"', '\\"')
        assert architecture in json.dumps(json.loads(text))
        for damaged in (
            *("", "{}", "[]", "7", "[" * 100_000, "\0\0", text[:-20], text[: len(text) // 2]),
            text.replace('"round"', '"wound"'),
            text.replace('\\"kind\\"', '\\"king\\"'),
            text.replace('"start_order"', '"stars"'),
            text.replace('"trial_id": "0', '"trial_id": "../0'),
        ):
            oracle.state_file.write_text(damaged)
            with pytest.raises(UsageError) as caught:
                make_oracle(tmp_path).reload()
            assert str(caught.value) == (
                f"Expected the state of a search. Received: {oracle.state_file}, which is damaged"
            )

    def test_callback(self, tmp_path):
        seen = []
        oracle = make_oracle(tmp_path, on_end=lambda o: seen.append(len(o.records())))
        run_to_the_end(oracle)
        assert seen == list(range(1, len(oracle.records()) + 1))


class TestWorkers:
    def test_lineages_at_the_same_time(self, oracle):
        finish(oracle, oracle.create_trial("one"))
        trials = [oracle.create_trial(name) for name in ("one", "two", "three")]
        found = [trial.hyperparameters.values for trial in trials]
        assert [values["role"] for values in found] == ["train on", "start", "start"]
        assert [values["parent"] for values in found] == [oracle.start_order[0], "", ""]
        assert [values.get("lineage", 0) for values in found] == [0, 1, 2]
        assert oracle.create_trial("four").status == TrialStatus.IDLE
        # Who asks again has lost its trial and gets it once more.
        assert oracle.create_trial("two").trial_id == trials[1].trial_id

    @pytest.mark.parametrize("clock", [0.0, 2.0e9, -3600.0])
    def test_worker_that_is_gone(self, tmp_path, capsys, monkeypatch, clock):
        """Whatever the clock of its machine says, which may have been set back, or differ."""
        oracle, now = make_oracle(tmp_path, lineages(1)), [1000.0]
        monkeypatch.setattr(time, "monotonic", lambda: now[0])
        trial = oracle.create_trial("one")
        assert oracle.create_trial("two").status == TrialStatus.IDLE
        now[0] += 59
        alive = TrialFolder(oracle.folder, trial.trial_id).path / "alive"
        os.utime(alive, (clock, clock) if clock >= 0 else (time.time() + clock,) * 2)
        assert oracle.create_trial("two").status == TrialStatus.IDLE
        now[0] += 59
        assert oracle.create_trial("two").status == TrialStatus.IDLE
        now[0] += 2
        again = oracle.create_trial("two")
        assert again.trial_id == trial.trial_id
        assert "one is gone, two takes over" in capsys.readouterr().out
        assert oracle.create_trial("three").status == TrialStatus.IDLE
        assert oracle.tuner_ids == {"two", "three"}

    def test_worker_that_was_only_slow(self, tmp_path):
        oracle = make_oracle(tmp_path, lineages(2))
        trial = oracle.create_trial("one")
        TrialFolder(oracle.folder, trial.trial_id).abandon()
        oracle.create_trial("two")
        finish(oracle, trial, accuracy=0.7)  # by "one"
        after = [oracle.create_trial(name).trial_id for name in ("one", "two")]
        finish(oracle, trial, accuracy=0.2)  # by "two", which is too late
        assert oracle.records()[0].accuracy == pytest.approx(0.7)
        assert [record.status for record in oracle.records()] == [COMPLETED, RUNNING, RUNNING]
        assert sorted(after) == sorted(oracle.start_order[1:])

    def test_last_trials_worker_is_gone(self, tmp_path):
        oracle = make_oracle(tmp_path, max_trials=1)
        trial = oracle.create_trial("one")
        assert oracle.create_trial("two").status == TrialStatus.IDLE
        TrialFolder(oracle.folder, trial.trial_id).abandon()
        finish(oracle, oracle.create_trial("two"))
        assert oracle.create_trial("two").status == TrialStatus.STOPPED

    def test_chief_does_not_wait_for_a_worker_that_is_gone(self, tmp_path):
        oracle = make_oracle(tmp_path, max_trials=1, worker_timeout=0.2)
        oracle.create_trial("one")
        trial = oracle.create_trial("two")
        assert len(oracle.tuner_ids) == 2
        time.sleep(0.3)
        assert trial.status == TrialStatus.IDLE
        assert len(oracle.tuner_ids) == 0

    def test_after_a_restart_whoever_asks_gets_the_trial(self, tmp_path, oracle):
        trial = oracle.create_trial("one")
        again = make_oracle(tmp_path)
        again.reload()
        assert again.create_trial("two").trial_id == trial.trial_id


class TestFailures:
    def test_second_try(self, oracle):
        trial = oracle.create_trial("one")
        fail(oracle, trial)
        assert [record.status for record in oracle.records()] == [RUNNING]
        again = oracle.create_trial("one")
        assert again.trial_id == trial.trial_id
        finish(oracle, again, accuracy=0.6)
        assert [record.status for record in oracle.records()] == [COMPLETED]
        assert oracle.records()[0].accuracy == pytest.approx(0.6)

    def test_other_lineages_go_on(self, oracle):
        grown = oracle.create_trial("one")
        TrialFolder(oracle.folder, grown.trial_id).write_failure("It was too large.")
        for _ in range(2):
            fail(oracle, oracle.create_trial("one"))
        assert oracle.records()[-1].status == FAILED
        assert oracle.records()[-1].message == "It was too large."
        following = oracle.create_trial("one").hyperparameters.values
        assert (following["role"], following["lineage"]) == ("start", 1)

    def test_failure_without_a_second_try(self, tmp_path):
        oracle = make_oracle(tmp_path, PruneAllStages(START))
        trial = oracle.create_trial("one")
        TrialFolder(oracle.folder, trial.trial_id).write_failure("Expected a finite loss.")
        fail(oracle, trial, TrialStatus.FAILED)
        assert oracle.create_trial("one").status == TrialStatus.STOPPED
        decision = oracle.decision()
        assert decision.reason == "the trial of round 0 failed: Expected a finite loss."
        assert decision.final is None

    def test_many_in_a_row(self, tmp_path):
        """All lineages fail: the rule ends the search, not an error of keras-tuner's."""
        oracle = make_oracle(tmp_path, lineages(4))
        finish(oracle, oracle.create_trial("one"))
        while (trial := oracle.create_trial("one")).status == TrialStatus.RUNNING:
            fail(oracle, trial, TrialStatus.FAILED)
        assert [record.status for record in oracle.records()] == [COMPLETED, *[FAILED] * 4]
        assert oracle.decision().final == oracle.start_order[0]


def test_numbers_are_the_same_over_a_network(oracle):
    """There they travel in single precision."""
    finish(oracle, oracle.create_trial("one"), accuracy=0.1 + 1e-12)
    assert oracle.records()[0].accuracy == pytest.approx(0.1, abs=1e-8)
    assert oracle.records()[0].accuracy != 0.1 + 1e-12
    assert math.isclose(oracle.records()[0].flops, 300)


def test_folders_are_those_of_keras_tuner(oracle):
    trial = oracle.create_trial("one")
    assert (TrialFolder(oracle.folder, trial.trial_id).path / "trial.json").exists()
    shutil.rmtree(oracle.folder)
