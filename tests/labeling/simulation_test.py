"""Simulated labeling, small: it goes on where it was stopped, and counts as one would by hand."""

import csv
import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest

from tfcaps import training
from tfcaps.errors import UsageError
from tfcaps.labeling import Pool, SimulationOptions, simulate, simulation
from tfcaps.labeling.stopping import accuracy_bounds, reason_to_stop


@pytest.fixture
def config(tmp_path):
    return SimulationOptions(
        log_dir=str(tmp_path / "run"),
        strategies=("random", "guided"),
        pool_size=300,
        test_size=100,
        budgets=(10, 30),
        runs=1,
        workers=1,
        label_noise=0.2,
    )


def table(config, name="rounds.csv"):
    with open(f"{config.log_dir}/{name}") as file:
        return list(csv.DictReader(file))


def test_goes_on_where_it_was_stopped(config, monkeypatch):
    whole = dataclasses.replace(config, log_dir=f"{config.log_dir}-whole")
    simulate(whole)
    learn, calls = simulation._learn, []

    def stop(*arguments):
        calls.append(arguments)
        if len(calls) == 4:  # in the second round of the second strategy or so
            raise KeyboardInterrupt
        return learn(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(simulation, "_learn", stop)
        with pytest.raises(KeyboardInterrupt):
            simulate(config)
    with pytest.raises(UsageError, match="or --resume to go on"):
        simulate(config)
    simulate(dataclasses.replace(config, resume=True))

    def without_time(rows):
        return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]

    assert without_time(table(config)) == without_time(table(whole))
    assert len(table(config)) == 5
    rounds = pathlib.Path(config.log_dir, "cells", "guided-0", "rounds.json")
    written = rounds.read_text()
    rounds.write_text(written.replace("accuracy", "acc"))
    with pytest.raises(UsageError, match=r"Received: .*rounds.json, which is damaged"):
        simulate(dataclasses.replace(config, resume=True))
    rounds.unlink()
    simulate(dataclasses.replace(config, resume=True))
    assert without_time(table(config)) == without_time(table(whole))
    assert (pathlib.Path(config.log_dir) / "figures" / "accuracy.png").exists()
    # A fifth of the labels is wrong, the same whoever asks.
    images = simulation._load(config)
    wrong = []
    for strategy in config.strategies:
        pool = Pool(f"{config.log_dir}/cells/{strategy}-0/pool.sqlite", [], images.class_names)
        assert len(pool.log()) == 30
        wrong += [images.class_names[images.pool.labels[int(pool.names[n])]] != label
                  for n, label in pool.labels().items()]  # fmt: skip
    assert 0.05 < np.mean(wrong) < 0.4


@pytest.mark.parametrize(
    "choices, sentence",
    [
        ({"budgets": (30, 10)}, "Expected --budgets to increase. Received: 30,10"),
        ({"budgets": (10, 400)}, "Expected --budgets <= 300. Received: 10,400"),
    ],
)
def test_wrong_budgets(config, choices, sentence):
    with pytest.raises(UsageError) as caught:
        dataclasses.replace(config, **choices)
    assert str(caught.value) == sentence


def test_wilson():
    """By the roots of `(p − x)² = z² x (1 − x) / n`, from which the interval comes."""
    for correct, count in ((0, 5), (9, 10), (70, 100)):
        share, spread = correct / count, 1.96**2 / count
        low, high = sorted(np.roots([1 + spread, -(2 * share + spread), share**2]))
        np.testing.assert_allclose(accuracy_bounds(correct, count), (low, high), atol=1e-7)


def test_reasons_to_stop():
    rows = [{"low": 0.5, "changed": change} for change in (1.0, 0.2, 0.004, 0.003)]
    choice = {"budget": 0, "target_accuracy": 0.9}
    assert reason_to_stop(50, rows[:3], **choice) is None
    assert reason_to_stop(50, rows, **choice) == (
        "In 2 rounds less than 1% of the predictions changed."
    )
    assert "at least 95.0%" in reason_to_stop(50, [{"low": 0.95, "changed": 1.0}], **choice)


def test_network(config, quick, monkeypatch):
    """A network learns, each round's from the weights of the one before, also after a stop."""
    asked = dataclasses.replace(
        config,
        strategies=("margin_clusters",),
        network="convnet",
        pool_size=40,
        budgets=(10, 20),
        epochs=1,
        steps_per_epoch=2,
        warm_start=True,
    )
    train, begun = training.train, []

    def told(run_config, data, initial_model=None):
        begun.append((len(np.unique(data.train.images, axis=0)), initial_model is not None))
        return train(run_config, data, initial_model=initial_model)

    monkeypatch.setattr(training, "train", told)
    monkeypatch.setattr(training.ImageTask, "export", lambda *_, **__: None)  # takes seconds
    simulate(asked)
    assert begun == [(40, False), (10, False), (20, True)]
    rows = [row | {"seconds": None} for row in table(asked)]
    assert [row["labels"] for row in rows] == ["40", "10", "20"]
    cell = pathlib.Path(asked.log_dir, "cells", "margin_clusters-0")
    assert {path.name for path in (cell / "networks").iterdir()} == {"10", "20"}
    weights = training.load_run(cell / "networks" / "20").model.get_weights()

    # Stopped before the last round was over.
    written = json.loads((cell / "rounds.json").read_text())
    (cell / "rounds.json").write_text(json.dumps(written[:-1]))
    (cell / "networks" / "20" / "results.json").unlink()
    shutil.rmtree(cell / "networks" / "20" / "checkpoints")
    begun.clear()
    simulate(dataclasses.replace(asked, resume=True))
    assert begun == [(20, True)]
    assert [row | {"seconds": None} for row in table(asked)] == rows
    again = training.load_run(cell / "networks" / "20").model.get_weights()
    for before, after in zip(weights, again, strict=True):
        np.testing.assert_array_equal(before, after)


def test_pool_is_no_larger_than_the_data(config):
    images = simulation._load(dataclasses.replace(config, pool_size=10**6))
    assert len(images.pool) == 4000
    with pytest.raises(UsageError, match=r"--budgets of at most 4000.*Received: 5000"):
        simulation._load(dataclasses.replace(config, pool_size=10**6, budgets=(5000,)))
