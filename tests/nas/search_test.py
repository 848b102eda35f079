"""Searches from a configuration to a report, cut off, resumed and disturbed."""

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest

import nas
from nas import attempt, oracle
from nas.configuration import SearchConfig
from tests import runs
from tfcaps import training
from tfcaps.errors import UsageError

TINY = {
    "train_examples": 200,
    "validation_fraction": 0.2,
    "batch_size": 16,
    "widths": (4, 4),
    "steps_per_epoch": 2,
    "check_epochs": 1,
    "conflicting_samples_size": 32,
    "epochs": 1,
    "final_steps_per_epoch": 2,
}
GROW = {**TINY, "rule": "grow_and_prune", "blocks": (1, 1), "gain_threshold": 0.0, "max_trials": 5}
# A network that conflicts for certain: nothing but narrow layers one above the other.
PRUNE = {**TINY, "rule": "all_stages", "blocks": (1, 40), "widths": (2, 1)}


def config(log_dir, **fields) -> SearchConfig:
    return SearchConfig(log_dir=str(log_dir), **fields)


def rows(folder):
    """history.csv without the columns that are times."""
    with (folder / "history.csv").open() as file:
        return [
            {name: value for name, value in row.items() if name not in ("seconds", "ms_per_image")}
            for row in csv.DictReader(file)
        ]


@pytest.fixture
def no_costs(monkeypatch):
    """Leaves out the measurement of memory, which starts two processes."""
    monkeypatch.setattr(nas.report.measure, "peak_megabytes", lambda *_: 1.0)


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """The directory of a finished search that grows."""
    folder = tmp_path_factory.mktemp("grow") / "search"
    nas.auto_tune(config(folder, **GROW))
    return folder


class TestWhatIsLeft:
    def test_files(self, grown):
        names = {str(path.relative_to(grown)) for path in grown.rglob("*") if path.is_file()}
        assert names >= {
            *("flags.txt", "history.csv", "report.md", "best/architecture.json"),
            *("best/results.json", "serving/1/saved_model.pb", "figures/blocks.png"),
            *("figures/accuracy_parameters.png", "figures/accuracy_ms_per_image.png"),
            *(f"figures/entropy_{trial}.png" for trial in range(5)),
        }
        assert not [name for name in names if ".writing-" in name]

    def test_history(self, grown):
        found = rows(grown)
        assert [row["role"] for row in found][:4] == ["start", "keep", "grow 1", "grow 2"]
        assert {row["status"] for row in found} == {"completed"}
        assert [row["blocks"] for row in found][:4] == ["1-1", "1-1", "2-1", "1-2"]

    def test_report_and_network(self, grown):
        text = (grown / "report.md").read_text()
        for name in ("parameters", "MFLOPs", "peak memory", "ms per image", "test accuracy"):
            assert name in text
        assert "--max_trials=5 attempts were made" in text
        architecture = nas.Architecture.from_json(
            (grown / "best" / "architecture.json").read_text()
        )
        run = training.load_run(grown / "best")
        assert (
            tuple(len(stage) for stage in run.model.get_config()["blocks"]) == architecture.counts
        )
        results = json.loads((grown / "best" / "results.json").read_text())
        assert f"{results['test_accuracy']:.2%}" in text

    def test_the_final_training_starts_from_what_was_found(self, grown):
        """One step's worth of learning rate away from the winner's weights, not at random."""
        counts = nas.Architecture.from_json(
            (grown / "best" / "architecture.json").read_text()
        ).counts
        final = training.load_run(grown / "best").model
        winners = [
            oracle.trial_folder(grown / "search", row["trial"]) / "network.keras"
            for row in rows(grown)
            if row["blocks"] == "-".join(map(str, counts))
        ]
        import keras

        distances = [
            max(
                np.abs(one - two).max()
                for one, two in zip(
                    [np.asarray(v) for v in final.trainable_variables],
                    [np.asarray(v) for v in keras.models.load_model(path).trainable_variables],
                    strict=True,
                )
            )
            for path in winners
        ]
        assert min(distances) < 0.05


class TestPruning:
    def test_it_ends_with_a_smaller_network(self, tmp_path, no_costs):
        nas.auto_tune(config(tmp_path / "search", **PRUNE))
        found = rows(tmp_path / "search")
        assert len(found) > 1
        layers = [int(row["layers"]) for row in found]
        assert layers == sorted(set(layers), reverse=True)
        assert float(found[0]["last_entropy"]) > 0
        # It stopped at the conflict that was there before the first step.
        first = json.loads(
            (tmp_path / "search" / "search" / "trial_00" / "outcome.json").read_text()
        )
        assert first["checks"] == [0]
        assert first["losses"] == []


class TestResume:
    @pytest.mark.parametrize("done", [0, 1, 3])
    def test_the_same_decisions(self, grown, tmp_path, done, no_costs):
        """As if killed while the next attempt was running: its traces are there, not its end."""
        folder = tmp_path / "search"
        shutil.copytree(grown, folder)
        state = json.loads((folder / "search" / "state.json").read_text())
        names = sorted(state["trials"])
        for name in names[done + 1 :]:
            del state["trials"][name]
            shutil.rmtree(folder / "search" / f"trial_{name}")
        running = state["trials"][names[done]]
        running["status"], running["metrics"], running["score"] = "RUNNING", {"metrics": {}}, None
        state["oracle"] |= {
            "ongoing_trials": {"tuner0": names[done]},
            "start_order": names[: done + 1],
            "end_order": names[:done],
            "run_times": dict.fromkeys(names[:done], 1),
        }
        (folder / "search" / "state.json").write_text(json.dumps(state))
        for path in ("best", "serving", "history.csv", "report.md"):
            target = folder / path
            shutil.rmtree(target) if target.is_dir() else target.unlink()

        nas.auto_tune(config(folder, **GROW, resume=True))
        assert rows(folder) == rows(grown)
        found = [json.loads((f / "best" / "results.json").read_text()) for f in (folder, grown)]
        assert found[0]["test_accuracy"] == found[1]["test_accuracy"]

    def test_a_finished_search_is_left_as_it_is(self, grown, tmp_path, no_costs):
        folder = tmp_path / "search"
        shutil.copytree(grown, folder)
        before = runs.snapshot(folder / "best")
        nas.auto_tune(config(folder, **GROW, resume=True))
        after = runs.snapshot(folder / "best")
        unchanged = ("architecture.json", "metrics.csv", "checkpoints/epoch-0001.keras")
        assert all(after[name] == before[name] for name in unchanged)
        assert rows(folder) == rows(grown)

    def test_without_resume(self, grown):
        with pytest.raises(UsageError, match="which holds a search"):
            nas.auto_tune(config(grown, **GROW))

    def test_another_configuration(self, grown):
        with pytest.raises(UsageError) as caught:
            nas.auto_tune(config(grown, **{**GROW, "grace": 7}, resume=True))
        assert str(caught.value) == (
            f"Expected --grace=2, as the search in {grown} was started with. Received: --grace=7"
        )

    @pytest.mark.parametrize("file", ["state.json", "search.json"])
    @pytest.mark.parametrize("content", ["", '{"trials": {"0"', "[1, 2]", "{}"])
    def test_damaged_files(self, grown, tmp_path, file, content):
        folder = tmp_path / "search"
        shutil.copytree(grown, folder)
        (folder / "search" / file).write_text(content)
        before = runs.snapshot(folder)
        with pytest.raises(UsageError, match=f"{file}, which is damaged"):
            nas.auto_tune(config(folder, **GROW, resume=True))
        assert runs.snapshot(folder) == before


class TestDisturbances:
    def test_an_attempt_that_crashes_is_made_again(self, tmp_path, monkeypatch, no_costs):
        crashes = []
        original = attempt.make_attempt

        def crash_once(*args, **kwargs):
            if not crashes:
                crashes.append(1)
                raise RuntimeError("the worker died")
            return original(*args, **kwargs)

        monkeypatch.setattr(nas.tuner, "make_attempt", crash_once)
        nas.auto_tune(config(tmp_path, **{**PRUNE, "blocks": (1, 1), "widths": (4, 4)}))
        assert [row["status"] for row in rows(tmp_path)] == ["completed"]
        assert crashes

    def test_a_loss_that_is_no_number(self, tmp_path):
        with pytest.raises(UsageError) as caught:
            nas.auto_tune(
                config(
                    tmp_path, **{**TINY, "blocks": (1, 1), "learning_rate": 1e30, "check_epochs": 3}
                )
            )
        message = str(caught.value)
        assert message.startswith("Expected an attempt that succeeds.")
        assert "Expected finite" in message or "Expected a finite loss" in message
        assert [row["status"] for row in rows(tmp_path)] == ["failed"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rule": "best"}, "--rule to be one of first_stage, all_stages, grow_and_prune. "),
        ({"blocks": (0, 0, 0, 0)}, "at least one block. Received: 0,0,0,0"),
        ({"blocks": (1, 1), "widths": (8, -8)}, "--widths to be integers >= 1"),
        ({"rule": "grow_and_prune", "model": "vgg"}, "Expected a resnet to grow and prune"),
        ({"check_epochs": 0}, "--check_epochs >= 1. Received: 0"),
        ({"max_trials": 0}, "--max_trials >= 1. Received: 0"),
        ({"conflicting_samples_size": 0}, "--conflicting_samples_size >= 1. Received: 0"),
        ({"validation_fraction": 0.0}, "--validation_fraction > 0"),
        ({"tolerance": -0.1}, "--tolerance >= 0. Received: -0.1"),
        ({"worker_timeout": 0.0}, "--worker_timeout > 0. Received: 0.0"),
        ({"init": "random"}, "--init to be one of zero, gaussian. Received: random"),
    ],
)
def test_wrong_values(fields, message):
    with pytest.raises(UsageError) as caught:
        config("x", **fields)
    assert message in str(caught.value)


def test_a_probe_set_larger_than_the_data(tmp_path):
    with pytest.raises(UsageError, match="between 1 and 160, the size of the training set"):
        nas.auto_tune(config(tmp_path / "new", **{**GROW, "conflicting_samples_size": 161}))
    assert not (tmp_path / "new").exists()


def test_defaults_are_the_published_start():
    assert config("x").start.counts == (3, 12, 41, 3)
    assert config("x").start.kind == "vgg"
    assert config("x", rule="grow_and_prune").start.kind == "resnet"
    fields = {field.name for field in dataclasses.fields(SearchConfig)}
    assert set(config("x").to_dict()) == fields
    assert SearchConfig.from_dict(config("x", **PRUNE).to_dict()) == config("x", **PRUNE)


def test_distributed_needs_its_variables(tmp_path, monkeypatch):
    monkeypatch.delenv("KERASTUNER_ORACLE_IP", raising=False)
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief")
    with pytest.raises(UsageError, match="Received: no KERASTUNER_ORACLE_IP"):
        nas.auto_tune(config(tmp_path, **GROW, distributed=True))
