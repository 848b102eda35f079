"""What is recorded of conflicting bundles during a training."""

import csv
import json

import numpy as np
import pytest

from tests import runs
from tfcaps import datasets, training
from tfcaps.errors import UsageError
from tfcaps.metrics import BundleEntropy
from tfcaps.training import BlockNetworkConfig

TINY = {
    "model": "resnet",
    "blocks": (1, 1),
    "widths": (4, 4),
    "train_examples": 100,
    "validation_fraction": 0.2,
    "batch_size": 16,
    "epochs": 2,
    "steps_per_epoch": 2,
    "conflicting_samples_size": 40,
}
LAYERS = [f"stage{stage}_block1/{tap}" for stage in (1, 2) for tap in ("branch", "output")]


def config(log_dir, **changes) -> BlockNetworkConfig:
    return BlockNetworkConfig(log_dir=str(log_dir), **{**TINY, **changes})


def read_rows(folder) -> list[dict[str, float]]:
    with (folder / "metrics.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The directory of a finished training."""
    folder = tmp_path_factory.mktemp("blocks") / "run"
    training.train(config(folder))
    return folder


def test_what_a_run_leaves(run):
    results = json.loads((run / "results.json").read_text())
    assert 0 <= results["test_accuracy"] <= 1
    assert results["flops"] > 0
    figures = {path.name for path in (run / "figures").iterdir()}
    assert figures == {"bundle_entropy.png", "confusion_matrix.png", "learning_curves.png"}
    assert (run / "serving" / "1" / "saved_model.pb").exists()
    assert list((run / "tensorboard" / "train").iterdir())


def test_columns_of_each_layer_and_what_they_depend_on(run):
    rows = read_rows(run)
    names = [name for name in rows[0] if name.startswith("entropy/")]
    assert names == [f"entropy/{layer}" for layer in LAYERS]
    for row in rows:
        assert row["batch_size"] == 16
        assert row["learning_rate"] == pytest.approx(1e-3)
        assert row["weight_amplitude"] > 0
        for layer in LAYERS:
            assert 1 <= row[f"bundles/{layer}"] <= 40
            assert 0 <= row[f"entropy/{layer}"] <= np.log(10)
    for layer in LAYERS:
        entropies = [row[f"entropy/{layer}"] for row in rows]
        assert rows[1][f"integral/{layer}"] == pytest.approx(np.mean(entropies))


def test_the_numbers_are_those_of_the_saved_network(run):
    saved = training.load_run(run)
    data = datasets.load("mnist5k", train_examples=100, validation_fraction=0.2)
    probe = datasets.probe_set(data.train, 40, seed=0)
    images, _ = saved.preprocessing.evaluate(probe.images)
    measured = BundleEntropy(saved.model, learning_rate=1e-3, batch_size=16)
    for layer, bundles in measured(np.asarray(images), probe.labels).items():
        row = read_rows(run)[-1]
        assert (row[f"bundles/{layer}"], row[f"entropy/{layer}"]) == (
            bundles.number,
            pytest.approx(bundles.entropy),
        )


def test_a_resumed_run_has_the_same_numbers(quick, run, tmp_path):
    stopped = runs.stopped_after(1, run, tmp_path / "run")
    training.train(config(stopped, resume=True))
    for again, row in zip(read_rows(stopped), read_rows(run), strict=True):
        assert {**again, "seconds": 0} == {**row, "seconds": 0}


def test_only_the_last_layer(quick, tmp_path):
    training.train(config(tmp_path, all_conflict_layers=False, epochs=1, test=False))
    names = [name for name in read_rows(tmp_path)[0] if name.startswith("entropy/")]
    assert names == [f"entropy/{LAYERS[-1]}"]


def test_capsule_networks_alike(quick, tmp_path):
    training.train(runs.config(tmp_path, epochs=1, conflicting_samples_size=30))
    names = [name for name in read_rows(tmp_path)[0] if name.startswith("entropy/")]
    assert names == [f"entropy/{name}" for name in ("primary_capsules", "capsules_1", "capsules_2")]


def test_a_probe_set_larger_than_the_data(tmp_path):
    with pytest.raises(UsageError) as caught:
        training.train(config(tmp_path, conflicting_samples_size=81))
    assert str(caught.value) == (
        "Expected conflicting_samples_size between 1 and 80, the size of the training set. "
        "Received: 81"
    )
    assert not (tmp_path / "run.json").exists()


def test_several_runs(quick, tmp_path):
    summary = training.train_several(runs.plain(tmp_path, epochs=1), 2)
    each = [json.loads((tmp_path / f"run-{run}" / "results.json").read_text()) for run in (1, 2)]
    assert [result["seed"] for result in each] == [0, 1]
    accuracies = [result["test_accuracy"] for result in each]
    assert summary["test_accuracies"] == accuracies
    assert summary["test_accuracy"] == pytest.approx(np.mean(accuracies))
    assert json.loads((tmp_path / "results.json").read_text()) == summary
    before = runs.snapshot(tmp_path)
    with pytest.raises(UsageError, match=r"which holds a series of runs$"):
        training.train(runs.plain(tmp_path, epochs=1))
    assert runs.snapshot(tmp_path) == before


def test_several_runs_over_a_finished_one(plain_run):
    before = runs.snapshot(plain_run)
    for resume in (False, True):
        with pytest.raises(UsageError, match=r"which holds a run$"):
            training.train_several(runs.plain(plain_run, resume=resume), 2)
    assert runs.snapshot(plain_run) == before
