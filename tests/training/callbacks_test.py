"""What happens during `fit`: rows and checkpoints, a stop at NaN, what a user sees."""

import keras
import numpy as np
import pytest

from tests import runs
from tfcaps.errors import UsageError
from tfcaps.training import RunDirectory, callbacks, checkpoints


@pytest.fixture
def directory(tmp_path):
    directory = RunDirectory(tmp_path)
    description = {"class_names": [], "image_shape": [], "preprocessing": {}}
    directory.create(runs.config(tmp_path), description)
    return directory


@pytest.fixture
def model(plain_capsnet):
    model = plain_capsnet(use_decoder=False)
    model.compile(keras.optimizers.SGD(0.1), loss={"lengths": "mse"})
    model.optimizer.build(model.trainable_variables)
    return model


def recorder(directory, model, epochs_done=0, *, keep_all=False):
    rows = directory.read_metrics(epochs_done)
    callback = callbacks.Recorder(directory, rows, keep_all=keep_all)
    callback.set_model(model)
    return callback


def end_epochs(callback, logs, start=0):
    for epoch, values in enumerate(logs, start=start):
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, values)


class TestRecorder:
    def test_a_row_and_a_checkpoint_an_epoch(self, directory, model, monkeypatch):
        now = iter([10.0, 12.5, 20.0, 21.0])
        monkeypatch.setattr(callbacks.time, "monotonic", lambda: next(now))
        end_epochs(
            recorder(directory, model),
            [{"lengths_accuracy": 0.5, "loss": 1.0}, {"lengths_accuracy": 0.75, "loss": 0.5}],
        )
        assert directory.metrics.read_text() == (
            "epoch,accuracy,loss,seconds\n1,0.5,1.0,2.5\n2,0.75,0.5,1.0\n"
        )
        assert sorted(path.name for path in directory.checkpoints.iterdir()) == [
            "epoch-0001.keras",
            "epoch-0002.keras",
        ]

    def test_the_row_is_there_when_the_checkpoint_is_written(self, directory, model, monkeypatch):
        def full_disk(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(callbacks.checkpoints, "save", full_disk)
        with pytest.raises(OSError, match="No space"):
            end_epochs(recorder(directory, model), [{"loss": 1.0}])
        assert directory.metrics.read_text().startswith("epoch,loss,seconds\n1,1.0,")

    def test_the_first_of_equal_accuracies_is_the_best(self, directory, model, monkeypatch):
        saved = {}

        def note(folder, model, epoch, *, is_best, keep_all):
            saved[epoch] = (is_best, keep_all)

        monkeypatch.setattr(callbacks.checkpoints, "save", note)
        accuracies = [0.5, 0.4, 0.5, 0.6]
        logs = [{"val_accuracy": accuracy} for accuracy in accuracies]
        end_epochs(recorder(directory, model, keep_all=True), logs)
        assert saved == {1: (True, True), 2: (False, True), 3: (False, True), 4: (True, True)}

    def test_without_validation_there_is_no_best(self, directory, model):
        end_epochs(recorder(directory, model), [{"accuracy": 0.5}])
        assert not (directory.checkpoints / "best.keras").exists()

    def test_a_resumed_run_computes_an_unfinished_epoch_again(self, directory, model):
        end_epochs(recorder(directory, model), [{"val_accuracy": x} for x in (0.5, 0.2, 0.9)])
        best = (directory.checkpoints / "best.keras").read_bytes()
        resumed = recorder(directory, model, 2)
        assert [row["val_accuracy"] for row in resumed.rows] == [0.5, 0.2]
        end_epochs(resumed, [{"val_accuracy": 0.4}], start=2)
        rows = directory.metrics.read_text().splitlines()
        assert [row.rsplit(",", 1)[0] for row in rows[1:]] == ["1,0.5", "2,0.2", "3,0.4"]
        assert (directory.checkpoints / "best.keras").read_bytes() == best


class TestStopAtNaN:
    @pytest.fixture
    def stop(self, directory, model, examples):
        callback = callbacks.StopAtNaN(0.25, directory.checkpoints, examples[0])
        callback.set_model(model)
        callback.on_epoch_begin(6)
        return callback

    def test_finite(self, stop):
        stop.on_train_batch_end(0, {"loss": 1e30})
        stop.on_epoch_end(6, {"loss": 1e30, "val_loss": 0.0})

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_loss(self, stop, value):
        with pytest.raises(UsageError) as caught:
            stop.on_train_batch_end(0, {"loss": value})
        assert str(caught.value) == (
            f"Expected finite numbers. Received: the loss {value} in epoch 7; "
            "lower --learning_rate (now 0.25); no epoch was finished before"
        )

    def test_the_last_good_checkpoint_is_named(self, stop, directory, model):
        checkpoints.save(directory.checkpoints, model, 6, is_best=False, keep_all=False)
        with pytest.raises(UsageError) as caught:
            stop.on_train_batch_end(0, {"loss": np.nan})
        path = directory.checkpoints / "epoch-0006.keras"
        assert str(caught.value).endswith(f"; the last good checkpoint is {path}")

    def test_the_last_step_of_an_epoch_spoils_the_weights(self, stop, model):
        weights = model.get_weights()
        weights[0][0, 0] = np.nan
        model.set_weights(weights)
        with pytest.raises(UsageError, match="NaN weights in epoch 7"):
            stop.on_epoch_end(6, {"loss": 0.5})

    def test_the_last_step_of_an_epoch_makes_huge_weights(self, stop, model):
        # The squares of the capsules are more than float32 holds.
        model.set_weights([np.eye(6, dtype="float32") * 1e30])
        with pytest.raises(UsageError, match="NaN scores in epoch 7"):
            stop.on_epoch_end(6, {"loss": 0.5})

    def test_validation_loss(self, stop):
        with pytest.raises(UsageError, match="the val_loss nan in epoch 7"):
            stop.on_epoch_end(6, {"loss": 0.5, "val_loss": np.nan})


class TestProgress:
    def test_one_line_an_epoch_where_there_is_no_terminal(self, capsys, monkeypatch):
        now = iter([100.0, 101.0, 104.0])
        monkeypatch.setattr(callbacks.time, "monotonic", lambda: next(now))
        progress = callbacks.Progress(examples=80, batch_size=32)
        progress.set_params({"epochs": 3})
        progress.on_epoch_begin(1)
        for batch in range(3):
            if batch == 1:
                continue
            progress.on_train_batch_end(batch, {"loss": 0.5})
        progress.on_epoch_end(1, {"loss": 0.25, "lengths_accuracy": 0.5})
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "Epoch 2/3"
        assert len(lines) == 2
        assert lines[1].startswith("3/3 - ")
        # 80 examples in 4 seconds; the loss is the epoch's, no mean of means.
        assert "examples/s: 20.0000" in lines[1]
        assert "loss: 0.2500" in lines[1]
        assert "accuracy: 0.5000" in lines[1]

    def test_a_bar_on_a_terminal(self, capsys, monkeypatch):
        monkeypatch.setattr(callbacks.sys.stdout, "isatty", lambda: True)
        progress = callbacks.Progress(examples=80, batch_size=32)
        progress.set_params({"epochs": 3})
        progress.on_epoch_begin(0)
        progress.on_train_batch_end(0, {"loss": 0.5})
        output = capsys.readouterr().out
        assert "1/3" in output
        assert "examples/s" in output
