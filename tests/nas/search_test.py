"""Whole searches: what they leave, cut off at any moment, with several workers, wrong input."""

import contextlib
import csv
import json
import math
import multiprocessing
import os
import random
import re
import signal
import socket
import threading
import time
import zipfile
import zlib

import keras
import numpy as np
import pytest

from nas import report, rules, search, trial, tuner
from nas.architecture import Architecture
from nas.configuration import SearchConfig
from nas.folders import SearchFolder, TrialFolder
from nas.records import Comparison, Outcome, Proposal
from tests import forks, runs
from tfcaps import datasets, files, training
from tfcaps.errors import UsageError
from tfcaps.models import weight_transfer
from tfcaps.training import loop

# keras-tuner uses threading.currentThread.
pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:keras_tuner")

TINY = {
    "rule": "auto",
    "blocks": (2, 1),
    "widths": (2, 3),
    "stem": "cifar",
    "image_size": 8,
    "train_examples": 150,
    "validation_fraction": 0.4,
    "batch_size": 30,
    "learning_rate": 0.01,
    "check_epochs": 1,
    "epochs": 1,
    "conflicting_samples_size": 30,
    "max_trials": 6,
    "tolerance": 0.05,
    "augmentation": "none",
    "isolate_trials": False,  # starting TensorFlow takes longer than these trials do
}
TIMES = ("ms_per_image", "seconds")


def config(log_dir, **changes):
    return SearchConfig(log_dir=str(log_dir), **{**TINY, **changes})


def flags(log_dir, **changes):
    return [f"--log_dir={log_dir}", *config(log_dir, **changes).flag_lines().split()]


def history_of(folder):
    """history.csv without times."""
    with (folder / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: row[name] for name in row if name not in TIMES} for row in rows]


class Network:
    """Stands for a network where nothing is trained."""

    def __init__(self, architecture):
        self.architecture = architecture
        self.block_names = architecture.block_names
        self.input_shape = (None, 8, 8, 1)

    def count_params(self):
        return 10 * sum(self.architecture.counts)

    def save(self, path):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("architecture.json", self.architecture.to_json())


def read_network(path, **_):
    with zipfile.ZipFile(path) as archive:
        return Network(Architecture.from_json(archive.read("architecture.json").decode()))


def pretend(session, **_):
    """A trial that nobody trains: its numbers depend on architecture and seed."""
    model = session.model
    numbers = random.Random(
        zlib.crc32(f"{model.architecture.blocks} {session.config.seed}".encode())
    )
    taps = [f"{name}/{tap}" for name in model.block_names for tap in ("branch", "output")]
    entropies = {tap: (float(numbers.random() < 0.2),) for tap in taps}
    print("  made up")
    return Outcome(
        checks=(1,),
        entropies=entropies,
        bundles=dict.fromkeys(taps, (30,)),
        losses=(1.0,),
        accuracy=numbers.random(),
        seconds=1.0,
        epoch_seconds=0.1,
        pause_seconds=0.01,
    )


def pretend_to_compare(session, architecture, objective):
    """The second stage gains by blocks 2 and 3, and one of the first stage is never missed."""
    gain = 0.1 if architecture.counts[1] < 3 else 0.0
    numbers = {"examples": 6000.0, "flops": 70.0, "parameters": 70.0, "milliseconds": 0.6}
    yield Comparison("grow 1", -0.1, 0.01, won=1.0, lost=9.0, **numbers)
    yield Comparison("grow 2", gain, 0.01, won=9.0, lost=1.0, **numbers)
    if architecture.counts[0] > 1:
        yield Comparison("prune stage1_block2", 0.0, 0.0, won=0.0, lost=0.0, **numbers)


def pretend_training(run, *, initial_model=None):
    """What a final training leaves, as far as searches look at it."""
    folder = SearchFolder(run.log_dir).path / "serving" / "1"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "saved_model.pb").write_text(f"{run.blocks}")
    trained_before = initial_model is not None
    return {
        "test_accuracy": 0.75,
        "test_macro_f1": 0.6,
        "epochs": run.epochs,
        "trained_before": trained_before,
    }


@pytest.fixture
def made_up(monkeypatch):
    """Searches take no time: nothing is trained or measured."""
    loaded = {}
    load = datasets.load

    def load_once(name, **arguments):
        key = str(arguments)
        if key not in loaded:
            loaded[key] = load(name, **arguments)
        return loaded[key]

    monkeypatch.setattr(datasets, "load", load_once)
    monkeypatch.setattr(Architecture, "build", lambda architecture, *_: Network(architecture))
    monkeypatch.setattr(training.BlockNetworkTask, "compile", lambda *_, **__: None)
    monkeypatch.setattr(keras.models, "load_model", read_network)
    monkeypatch.setattr(weight_transfer, "inherit", lambda *_, **__: [])
    monkeypatch.setattr(weight_transfer, "keep_statistics", lambda *_: None)
    monkeypatch.setattr(trial.batch_statistics, "recalibrate", lambda *_: None)
    # Nothing is trained, so there is nothing to free, which takes most of the time otherwise.
    monkeypatch.setattr(keras.backend, "clear_session", lambda: None)
    monkeypatch.setattr(trial.gc, "collect", lambda: 0)
    monkeypatch.setattr(trial, "count_flops", lambda model: 100 * model.count_params())
    monkeypatch.setattr(trial, "train_and_check", pretend)
    monkeypatch.setattr(trial.candidates, "compare", pretend_to_compare)
    monkeypatch.setattr(trial.measure, "milliseconds_per_image", lambda *_, **__: 0.5)
    monkeypatch.setattr(tuner, "_POLLING_SECONDS", 0.0)
    monkeypatch.setattr(search.training, "train", pretend_training)
    monkeypatch.setattr(report.measure, "peak_megabytes", lambda *_: 12.0)
    monkeypatch.setattr(report, "_make_classifier", lambda *_: None)
    monkeypatch.setattr(report.measure, "medians", lambda programs, _: dict.fromkeys(programs, 1))
    monkeypatch.setattr(search, "_score_at_budget", lambda *_: 0.5)
    return monkeypatch


@pytest.fixture
def no_figures(monkeypatch):
    """Leaves out the pictures, which take longer than searches that are made up."""
    monkeypatch.setattr(report, "write_figures", lambda *_: None)


class TestMadeUp:
    def test_what_is_left(self, made_up, tmp_path, capsys):
        found = search.auto_tune(config(tmp_path))
        output = capsys.readouterr().out
        rows = history_of(tmp_path)
        assert [row["trial"] for row in rows] == [str(number) for number in range(len(rows))]
        assert [row["role"] for row in rows[:2]] == ["start", "train on"]
        assert {row["status"] for row in rows} == {"completed"}
        assert rows[0]["blocks"] == "2,1"
        assert found["results"]["trained_before"]
        assert f"Round 0, start: blocks {rows[0]['blocks']}\n  made up\n" in output
        architecture = Architecture.from_json((tmp_path / "best/architecture.json").read_text())
        assert architecture == found["architecture"]
        assert (tmp_path / "serving/1/saved_model.pb").read_text() == str(architecture.counts)
        figures = {path.stem for path in (tmp_path / "figures").iterdir()}
        assert figures >= {"blocks_per_round", "accuracy_against_parameters"}
        assert figures >= {f"entropy_trial_{row['trial']}" for row in rows}
        text = (tmp_path / "report.md").read_text()
        assert f"The search ended, as {found['reason']}." in text
        assert f"| blocks | 2,1 | {','.join(map(str, architecture.counts))} |" in text
        assert "| test accuracy | – | 75.00% |" in text
        assert [path.name for path in (tmp_path / "tensorboard").iterdir()] == ["lineage_0"]
        # A network is kept as long as one may start from it.
        kept = [p.parent.name for p in (tmp_path / "search").rglob("network.keras")]
        assert 1 <= len(kept) < len(rows)
        repeated = (tmp_path / "flags.txt").read_text()
        assert "--rule=auto\n" in repeated
        assert "log_dir" not in repeated

    def test_growing(self, made_up, no_figures, tmp_path, capsys):
        auto = {"grace": 0, "epochs": 0, "max_hours": 2.0}
        found = search.auto_tune(config(tmp_path, **auto))
        roles = [row["role"] for row in history_of(tmp_path)]
        assert roles == [
            "start", "train on", "prune stage1_block2", "grow 2", "grow 2", "train on"
        ]  # fmt: skip
        assert found["architecture"].blocks == ((1,), (1, 2, 3))
        assert found["reason"] == "there were --max_trials=6 trials"
        assert found["results"]["trained_before"]
        # Two hours less the trials' moment, in epochs of 0.11 s, of which a tenth is left over
        assert 0.95 * 0.9 * 7200 / 0.11 < found["results"]["epochs"] < 0.9 * 7200 / 0.11
        text = (tmp_path / "report.md").read_text()
        assert "| 2 | grow 2 | +100.00 ± 10.00 | 9 | 1 | 0.6 | was made |" in text
        assert "| 2 | grow 1 | -100.00 ± 10.00 | 1 | 9 | 0.6 |  |" in text
        output = capsys.readouterr().out
        assert "for about 60 minutes, and is trained to the end in the 60 minutes" in output
        # It goes on where it was, with what it may change.
        more = config(tmp_path, **{**auto, "max_trials": 8, "tolerance": 0.01}, resume=True)
        search.auto_tune(more)
        assert [row["role"] for row in history_of(tmp_path)] == [*roles, "train on", "train on"]

    def test_lineages(self, made_up, no_figures, tmp_path, capsys):
        """One after the other; the better one is taken, and all is there for more trials."""
        both = {"lineages": 2, "max_trials": 3, "objective": "macro_f1"}
        found = search.auto_tune(config(tmp_path, **both))
        rows = history_of(tmp_path)
        assert [(row["lineage"], row["role"]) for row in rows] == [
            (lineage, role) for lineage in "01" for role in ("start", "train on", "grow 2")
        ]
        first, second = (float(rows[number]["val_macro_f1"]) for number in (2, 5))
        best, other = (0, 1) if first > second else (1, 0)
        assert re.fullmatch(
            rf"there were --max_trials=3 trials; of 2 lineages lineage {best} with .* was taken; "
            rf"lineage {other} with \d\d\.\d\d% ± \d\.\d\d",
            found["reason"],
        )
        assert files.read_json(tmp_path / "best" / "trial.json") == {"trial": str(3 * best + 2)}
        text = (tmp_path / "report.md").read_text()
        assert "| trial | lineage | round |" in text
        assert "| test macro F1 | – | 60.00% |" in text
        assert "Round 1, lineage 1, train on" in capsys.readouterr().out
        kept = {path.parent.name for path in (tmp_path / "search").rglob("network.keras")}
        assert kept == {"trial_2", "trial_5"}
        search.auto_tune(config(tmp_path, **{**both, "max_trials": 4}, resume=True))
        assert [row["lineage"] for row in history_of(tmp_path)] == [*"000111", "0", "1"]

    def test_cut_off_at_each_file(self, made_up, no_figures, tmp_path):
        """Each session ends at its third file, before or after it is written."""
        whole = search.auto_tune(config(tmp_path / "whole", max_trials=4))
        write, calls = files.write_text, []

        def failing(path, text):
            calls.append(path)
            is_last = len(calls) == 3 and path.name != "report.md"
            if is_last and sessions % 2:
                raise KeyboardInterrupt
            write(path, text)
            if is_last:
                raise KeyboardInterrupt

        made_up.setattr(files, "write_text", failing)
        found = None
        for sessions in range(20):
            calls.clear()
            again = config(tmp_path / "parts", max_trials=4, resume=sessions > 0)
            try:
                found = search.auto_tune(again)
                break
            except KeyboardInterrupt:
                # Or else nothing would ever be done: the first two files describe the search.
                made_up.setattr(SearchFolder, "create", lambda *_: None)
        assert sessions > 5
        assert found == whole
        assert history_of(tmp_path / "parts") == history_of(tmp_path / "whole")

    def test_more_trials(self, made_up, no_figures, tmp_path):
        whole = search.auto_tune(config(tmp_path / "whole", max_trials=5))
        first = search.auto_tune(config(tmp_path / "parts", max_trials=3))
        assert first["reason"] == "there were --max_trials=3 trials"
        assert len(history_of(tmp_path / "parts")) == 3
        again = search.auto_tune(config(tmp_path / "parts", max_trials=5, resume=True))
        assert again["architecture"] == whole["architecture"]
        assert history_of(tmp_path / "parts") == history_of(tmp_path / "whole")

    def test_the_final_training_belongs_to_its_trial(self, tmp_path):
        """A search that goes on comes to another network, and at last back to the first one."""
        folder = SearchFolder(tmp_path)
        first, second = (Architecture("vgg", (n, 1), (8, 8), "cifar").to_json() for n in (1, 2))

        def trained(trial, architecture):
            folder.make_best(trial, architecture)
            before = files.read_json(folder.best / "run.json")
            files.write_json(folder.best / "run.json", {"of": trial})
            assert (folder.best / "architecture.json").read_text() == architecture + "\n"
            return before and before["of"]

        assert trained("1", first) is None
        assert trained("1", first) == "1"
        assert trained("4", second) is None
        assert files.read_json(tmp_path / "best_of_trial_1" / "run.json") == {"of": "1"}
        assert trained("7", second) is None  # the same architecture, with other weights
        assert trained("1", first) == "1"
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            *("best", "best_of_trial_4", "best_of_trial_7"),
        ]

    def test_a_final_training_before_it_was_said_whose_it_is(self, tmp_path):
        folder = SearchFolder(tmp_path)
        first, second = (Architecture("vgg", (n, 1), (8, 8), "cifar").to_json() for n in (1, 2))
        folder.best.mkdir()
        (folder.best / "architecture.json").write_text(first)
        files.write_json(folder.best / "run.json", {})
        folder.make_best("3", first)
        assert (folder.best / "run.json").exists()
        (folder.best / "trial.json").unlink()
        folder.make_best("4", second)
        assert not (folder.best / "run.json").exists()
        assert (tmp_path / "best_of_trial_before" / "run.json").exists()

    @pytest.mark.parametrize("owner", ["../../elsewhere", "", "a\0b", "x" * 300, {"a": 1}])
    def test_a_final_training_of_something_else(self, tmp_path, owner):
        """No folder is called as a damaged file says."""
        path = tmp_path / "a" / "search"
        folder = SearchFolder(path)
        folder.best.mkdir(parents=True)
        for name, content in (("run.json", {}), ("trial.json", {"trial": owner})):
            files.write_json(folder.best / name, content)
        folder.make_best("4", Architecture("vgg", (1, 1), (8, 8), "cifar").to_json())
        assert {each.name for each in path.iterdir()} == {"best", "best_of_trial_before"}
        assert {each.name for each in tmp_path.iterdir()} == {"a"}

    def test_data_that_no_task_has(self, tmp_path):
        folder = SearchFolder(tmp_path)
        for data in ({"class_names": 7}, {"class_names": ["a", 0]}, {"fingerprint": [1]}, 3):
            folder.begin({"data": data})
            with pytest.raises(UsageError, match="which is damaged"):
                folder.compare_data("mnist", {"class_names": ["a", "b"], "fingerprint": "x"})

    def test_trial_that_crashes_once(self, made_up, no_figures, tmp_path, capsys):
        whole = search.auto_tune(config(tmp_path / "whole"))
        calls = []

        def crashing(*arguments, **named):
            calls.append(1)
            if len(calls) == 2:
                raise MemoryError("of the device")
            return pretend(*arguments, **named)

        made_up.setattr(trial, "train_and_check", crashing)
        assert search.auto_tune(config(tmp_path / "parts")) == whole
        assert "  failed: MemoryError: of the device\n" in capsys.readouterr().out
        assert history_of(tmp_path / "parts") == history_of(tmp_path / "whole")

    def test_trials_that_diverge(self, made_up, no_figures, tmp_path, capsys):
        """The search ends with the network that it had."""

        def diverging(session, **named):
            if sum(session.model.architecture.counts) > 3:
                raise UsageError("Expected a finite loss. Received: nan in epoch 1")
            return pretend(session, **named)

        made_up.setattr(trial, "train_and_check", diverging)
        found = search.auto_tune(config(tmp_path))
        assert found["architecture"].counts == (1, 2)
        assert "Traceback" not in capsys.readouterr().err
        failed = [row for row in history_of(tmp_path) if row["status"] == "failed"]
        assert [row["role"] for row in failed] == ["grow 2"]
        assert {row["val_accuracy"] for row in failed} == {""}
        text = (tmp_path / "report.md").read_text()
        name = failed[0]["trial"]
        assert f"- Trial {name} failed: Expected a finite loss. Received: nan in epoch 1" in text

    def test_start_that_diverges(self, made_up, no_figures, tmp_path):
        def diverging(*_, **__):
            raise UsageError("Expected a finite loss. Received: nan in epoch 1")

        made_up.setattr(trial, "train_and_check", diverging)
        with pytest.raises(UsageError) as caught:
            search.auto_tune(config(tmp_path))
        assert str(caught.value) == (
            "Expected a search that comes to a network. Received: none, as the trial of round 0 "
            "failed: Expected a finite loss. Received: nan in epoch 1"
        )
        assert history_of(tmp_path)[0]["status"] == "failed"

    def test_full_disk_decides_nothing(self, made_up, no_figures, tmp_path):
        whole = search.auto_tune(config(tmp_path / "whole"))
        write = TrialFolder.write_network
        calls = []

        def full(folder, model):
            calls.append(1)
            if len(calls) == 3:
                raise OSError(28, os.strerror(28), "network.keras")
            write(folder, model)

        made_up.setattr(TrialFolder, "write_network", full)
        with pytest.raises(OSError, match="No space left"):
            search.auto_tune(config(tmp_path / "parts"))
        assert search.auto_tune(config(tmp_path / "parts", resume=True)) == whole
        assert history_of(tmp_path / "parts") == history_of(tmp_path / "whole")

    def test_network_that_is_lost(self, made_up, no_figures, tmp_path):
        search.auto_tune(config(tmp_path, max_trials=2))
        (network,) = [TrialFolder(tmp_path / "search", "1").network]
        network.write_bytes(network.read_bytes()[:20])
        with pytest.raises(UsageError) as caught:
            search.auto_tune(config(tmp_path, max_trials=3, resume=True))
        assert f"Received: {network}, which is missing or damaged" in str(caught.value)


def sentence_of(log_dir, **changes):
    """What a search with wrong input says; whatever lies in its directory stays as it is."""
    before = runs.snapshot(log_dir)
    existed = log_dir.exists()
    with pytest.raises(UsageError) as caught:
        search.auto_tune(config(log_dir, **changes))
    assert runs.snapshot(log_dir) == before
    assert log_dir.exists() == existed
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestBadInput:
    @pytest.mark.parametrize(
        ("changes", "parts"),
        [
            ({"rule": "shrink"}, ["--rule", "first_stage, all_stages, auto", "shrink"]),
            ({"init": "ones"}, ["--init", "zero, gaussian", "Received: ones"]),
            ({"model": "vgg"}, ["--model=resnet", "--rule=auto", "--model=vgg"]),
            ({"blocks": (0, 0)}, ["--blocks with at least one block", "Received: 0,0"]),
            ({"blocks": (1, -1)}, ["--blocks", "Received: 1,-1"]),
            ({"widths": (2, -3)}, ["--widths", "Received: 2,-3"]),
            ({"widths": (2,)}, ["--widths", "--blocks=2,1", "Received: --widths=2"]),
            ({"num_layers": 7, "blocks": ()}, ["num_layers", "Received: 7"]),
            ({"max_trials": 0}, ["--max_trials >= 1", "Received: 0"]),
            ({"check_epochs": 0}, ["--check_epochs >= 1", "Received: 0"]),
            ({"steps_per_epoch": -1}, ["--steps_per_epoch >= 0", "Received: -1"]),
            ({"final_steps_per_epoch": -1}, ["--final_steps_per_epoch >= 0", "Received: -1"]),
            ({"conflicting_samples_size": 0}, ["--conflicting_samples_size >= 1", "0"]),
            ({"conflicting_samples_size": 91}, ["conflicting_samples_size", "90", "91"]),
            ({"validation_fraction": 0.0}, ["--validation_fraction in (0, 1)", "0.0"]),
            ({"validation_fraction": 1.0}, ["--validation_fraction in (0, 1)", "1.0"]),
            ({"grace": -1}, ["--grace >= 0", "-1"]),
            ({"tolerance": -0.1}, ["--tolerance >= 0", "-0.1"]),
            ({"max_hours": math.nan}, ["--max_hours", "nan"]),
            ({"lineages": 0}, ["--lineages >= 1", "Received: 0"]),
            ({"rule": "all_stages", "lineages": 2}, ["--lineages to be 1 but with --rule=auto"]),
            ({"rule": "grow_and_prune"}, ["--rule to be auto, which", "grow_and_prune"]),
            ({"objective": "f1"}, ["--objective", "balanced_accuracy, macro_f1", "f1"]),
            ({"worker_timeout": 0.0}, ["--worker_timeout > 0", "0.0"]),
            ({"dataset": "cifar11"}, ["cifar10", "cifar11"]),
        ],
        ids=str,
    )
    def test_value(self, tmp_path, changes, parts):
        sentence = sentence_of_config(tmp_path / "new", **changes)
        assert [part for part in parts if part not in sentence] == []

    def test_without_resume(self, made_up, no_figures, tmp_path):
        search.auto_tune(config(tmp_path, max_trials=1))
        assert "--resume to go on with it" in sentence_of(tmp_path)

    def test_another_configuration(self, made_up, no_figures, tmp_path):
        search.auto_tune(config(tmp_path, max_trials=1))
        sentence = sentence_of(tmp_path, resume=True, grace=5, check_epochs=3)
        assert sentence == (
            f"Expected --check_epochs=1, as the search in {tmp_path} was started with, "
            "to go on with it. Received: --check_epochs=3"
        )

    def test_rule_that_is_not_there_any_more(self, tmp_path):
        (tmp_path / "search").mkdir()
        files.write_json(tmp_path / "search" / "search.json", {"rule": "grow_and_prune"})
        assert sentence_of(tmp_path, resume=True) == (
            "Expected another --log_dir, for a new search with --rule=auto. "
            f"Received: --log_dir={tmp_path}, which holds a search with --rule=grow_and_prune"
        )

    @pytest.mark.parametrize("name", ["search.json", "state.json"])
    def test_damaged(self, made_up, no_figures, tmp_path, name):
        search.auto_tune(config(tmp_path, max_trials=1))
        path = tmp_path / "search" / name
        path.write_text(path.read_text()[:-30])
        sentence = sentence_of(tmp_path, resume=True)
        assert sentence.endswith(f"Received: {path}, which is damaged")

    def test_run_of_a_training(self, tmp_path):
        (tmp_path / "run.json").write_text("{}")
        assert "which holds a run" in sentence_of(tmp_path)

    def test_file(self, tmp_path):
        (tmp_path / "notes").write_text("kept")
        with pytest.raises(UsageError, match="Received the file"):
            search.auto_tune(config(tmp_path / "notes"))

    def test_distributed_without_addresses(self, tmp_path, monkeypatch):
        for name in ("TUNER_ID", "ORACLE_IP", "ORACLE_PORT"):
            monkeypatch.delenv(f"KERASTUNER_{name}", raising=False)
        monkeypatch.setenv("KERASTUNER_TUNER_ID", "worker-1")
        sentence = sentence_of(tmp_path / "new", distributed=True)
        assert sentence.endswith("Received: no KERASTUNER_ORACLE_IP, no KERASTUNER_ORACLE_PORT")
        monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
        assert "Expected --distributed, as" in sentence_of(tmp_path / "new")


def sentence_of_config(log_dir, **changes):
    """As `sentence_of`, for values that a configuration may refuse."""
    try:
        config(log_dir, **changes)
    except UsageError as error:
        return str(error)
    return sentence_of(log_dir, **changes)


# Searches as bin/auto_tune does, but without the final training.
SEARCH = """
import sys
from nas import rules, search, trial
from nas.configuration import SearchConfig
from tests.nas.search_test import pretend_to_compare
import json

trial.candidates.compare = pretend_to_compare
rules.GrowWhileTraining._epochs = lambda *_: 1

search._train = lambda config, folder, summary: {"final": summary.final.name}
search._score_at_budget = lambda *_: None
print(search.auto_tune(SearchConfig.from_dict(json.loads(sys.argv[1]))))
"""


def start(log_dir, **changes):
    return forks.start_code(SEARCH, json.dumps(config(log_dir, **changes).to_dict()))


# Real trials, of an epoch each, however long that takes.
SMALL = {"blocks": (1, 1), "max_trials": 2, "lineages": 2}


def trials_done(folder):
    path = folder / "history.csv"
    return len(path.read_text().splitlines()) - 1 if path.exists() else 0


def wait_until(condition, *processes):
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        for process in processes:
            assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.fixture
def no_final_training():
    """As `SEARCH` has it, for searches in this process."""
    with leaving_out_the_final_training():
        yield


@contextlib.contextmanager
def leaving_out_the_final_training():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_train", lambda config, folder, summary: {})
        patch.setattr(trial.candidates, "compare", pretend_to_compare)
        patch.setattr(rules.GrowWhileTraining, "_epochs", lambda *_: 1)
        patch.setattr(search, "_score_at_budget", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search") / "whole"
    with leaving_out_the_final_training():
        search.auto_tune(config(folder, **SMALL))
    rows = history_of(folder)
    assert [(row["lineage"], row["role"]) for row in rows] == [
        (lineage, role) for lineage in "01" for role in ("start", "train on")
    ]
    assert rows[0]["val_accuracy"] != rows[2]["val_accuracy"]  # of another seed
    return folder


def test_killed_and_resumed(uninterrupted, no_final_training, tmp_path, capsys):
    """SIGKILL at two moments in the middle of a trial: the same decisions, the same numbers."""
    folder = tmp_path / "search"
    for done in (1, 2):
        process = start(folder, **SMALL, resume=done > 1)
        wait_until(lambda done=done: trials_done(folder) >= done, process)
        time.sleep(random.Random(done).random())
        process.kill()
        assert runs.finish(process)[0] == -signal.SIGKILL
    search.auto_tune(config(folder, **SMALL, resume=True))
    assert "Resuming after " in capsys.readouterr().out
    assert history_of(folder) == history_of(uninterrupted)


def test_trials_in_processes_of_their_own(
    uninterrupted, no_final_training, forked, tmp_path, capfd
):
    """The same numbers; one whose process is killed is tried again."""
    killed = []

    def kill_one():
        trial = tmp_path / "search" / "trial_1"
        wait_until(lambda: trial.exists() and multiprocessing.active_children())
        killed.extend(multiprocessing.active_children())
        killed[0].kill()

    killer = threading.Thread(target=kill_one)
    killer.start()
    search.auto_tune(config(tmp_path, **{**SMALL, "lineages": 1}, isolate_trials=True))
    killer.join()
    assert len(killed) == 1
    assert "  failed: RuntimeError: Expected a result. Received: the end of its process" in (
        capfd.readouterr().out
    )
    assert history_of(tmp_path) == history_of(uninterrupted)[:2]


def test_chief_and_two_workers_of_which_one_dies(uninterrupted, tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(port))
    folder = tmp_path / "search"
    processes = {}
    for name in ("chief", "worker-1", "worker-2"):
        monkeypatch.setenv("KERASTUNER_TUNER_ID", name)
        processes[name] = start(folder, **SMALL, distributed=True, worker_timeout=6.0)

    def ongoing():
        try:
            state = json.loads((folder / "search" / "state.json").read_text())
        except FileNotFoundError:
            return {}
        return state["oracle"]["ongoing_trials"]

    # Each has a lineage.
    wait_until(lambda: len(ongoing()) == 2, *processes.values())
    processes["worker-1"].kill()
    codes = {name: runs.finish(process) for name, process in processes.items()}
    assert codes["worker-1"][0] == -signal.SIGKILL
    for name in ("chief", "worker-2"):
        assert codes[name][0] == 0, codes[name]
    assert "worker-1 is gone, worker-2 takes over" in codes["chief"][1]
    assert "The search is over." in codes["worker-2"][1]

    def results(path):
        # Trials have their numbers in the order in which they began.
        numbered = ("trial", "parent")
        rows = [{n: v for n, v in row.items() if n not in numbered} for row in history_of(path)]
        return sorted(rows, key=lambda row: (row["lineage"], int(row["round"])))

    # Numbers went over the network in single precision; they are written with six decimals.
    assert results(folder) == results(uninterrupted)


def test_real_trials(tmp_path):
    """What is measured depends on the seed only, and conflicts end trials of the prunings."""
    whole = config(tmp_path, rule="all_stages", blocks=(1, 1), model="vgg", epochs=1)
    with loop.surroundings(whole):
        runner = trial.TrialRunner(whole, whole.task().load())
        proposal = Proposal(0, "start", whole.start)
        found = [trial.train_and_check(runner.session(proposal), epochs=1) for _ in range(2)]
    assert found[0].accuracy == found[1].accuracy
    assert found[0].losses == found[1].losses
    assert found[0].entropies == found[1].entropies
    assert found[0].checks == (1,)
    assert list(found[0].entropies) == list(whole.start.block_names)
    assert np.isfinite(found[0].losses).all()
