"""A training ends when it doesn't become better, also if it was stopped in between."""

import csv
import json
import shutil

import keras
import pytest

from tests import runs
from tfcaps import datasets
from tfcaps.errors import UsageError
from tfcaps.training import ImageTask, checkpoints, early_stopping, loop, train


def rows_of(*accuracies):
    return [
        {"epoch": float(epoch), "val_accuracy": value}
        for epoch, value in enumerate(accuracies, start=1)
    ]


@pytest.mark.parametrize(
    ("accuracies", "best", "ends"),
    [
        ((0.5,), 1, set()),
        ((0.5, 0.4), 1, {1}),
        ((0.5, 0.5, 0.5), 1, {1, 2}),  # as good is not better
        ((0.5, 0.4, 0.6), 3, set()),
        ((0.5, 0.4, 0.6, 0.1, 0.2), 3, {1, 2}),
    ],
)
def test_when_it_is_over(accuracies, best, ends):
    rows = rows_of(*accuracies)
    assert early_stopping.best(rows)["epoch"] == best
    assert {n for n in range(1, 5) if early_stopping.is_over(rows, n)} == ends
    assert not early_stopping.is_over(rows, 0)
    assert not early_stopping.is_over([], 1)


ACCURACIES = {1: 0.2, 2: 0.4, 3: 0.3, 4: 0.4, 5: 0.9, 6: 0.9}


@pytest.fixture
def judged(quick, monkeypatch):
    """Says how good each epoch is, whatever was learnt."""
    before = loop.Session.train_epochs

    def train_epochs(session, epochs, callbacks, **others):
        class Judge(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                logs["val_accuracy"] = ACCURACIES[epoch + 1]

        before(session, epochs, [Judge(), *callbacks], **others)

    monkeypatch.setattr(loop.Session, "train_epochs", train_epochs)
    monkeypatch.setattr(
        ImageTask,
        "export",
        lambda *given, **_: (given[-1] / "1").mkdir(parents=True, exist_ok=True),
    )


def epochs_of(run):
    with (run / "metrics.csv").open(newline="") as file:
        return [row["epoch"] for row in csv.DictReader(file)]


def test_a_training_that_stops(judged, tmp_path, capsys):
    run, asked = tmp_path / "run", {"epochs": 6, "patience": 2, "test": False}
    found = train(runs.plain(run, **asked))
    sentence = (
        "Stopped after epoch 4: the validation accuracy has not been better than in epoch 2 "
        "for --patience=2 epochs.\n"
    )
    assert sentence in capsys.readouterr().out
    assert epochs_of(run) == ["1", "2", "3", "4"]
    # The final weights are those of the last epoch; the best ones are beside them.
    assert (found["epochs"], found["stopped_early"]) == (4, True)
    assert found["validation_chosen"]["epoch"] == 2
    best = (run / "checkpoints" / "best.keras").read_bytes()
    assert best == (run / "checkpoints" / "epoch-0002.keras").read_bytes()

    # Gone on with, it says that it had ended.
    assert train(runs.plain(run, resume=True, **asked)) == found
    output = capsys.readouterr().out
    assert f"The training is over. {sentence}" in output
    assert "Epoch 5" not in output

    # Killed in between, it counts on from what was there.
    stopped = runs.stopped_after(3, run, tmp_path / "stopped")
    train(runs.plain(stopped, resume=True, **asked))
    assert epochs_of(stopped) == ["1", "2", "3", "4"]

    # More patience goes on beyond the end.
    patient = shutil.copytree(run, tmp_path / "patient")
    found = train(runs.plain(patient, resume=True, **{**asked, "patience": 3}))
    assert epochs_of(patient) == ["1", "2", "3", "4", "5", "6"]
    assert found["stopped_early"] is False
    assert json.loads((patient / "run.json").read_text())["config"]["patience"] == 3
    assert checkpoints.newest(patient / "checkpoints").name == "epoch-0006.keras"


def test_there_has_to_be_something_to_watch(tmp_path):
    with pytest.raises(UsageError) as caught:
        runs.plain("x", patience=1, validation_fraction=0.0)
    assert str(caught.value) == (
        "Expected --validation_fraction > 0 with --patience. Received: 0.0"
    )
    digits = datasets.load("mnist5k", train_examples=20)
    with pytest.raises(UsageError) as caught:
        train(runs.plain(tmp_path / "run", patience=1), digits)
    assert str(caught.value) == (
        "Expected data with a validation split with --patience. "
        "Received: --patience=1, and mnist5k without one"
    )
    assert not (tmp_path / "run").exists()
