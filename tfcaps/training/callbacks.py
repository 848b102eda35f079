"""What happens during `fit`: numbers, checkpoints, a progress display, a stop at NaN."""

import pathlib
import sys
import time

import keras
import numpy as np

from tfcaps.errors import NotFiniteError
from tfcaps.training import checkpoints, early_stopping, probe
from tfcaps.training.metric_names import readable
from tfcaps.training.run_directory import Row, RunDirectory


class Recorder(keras.callbacks.Callback):
    """After each epoch: a row in metrics.csv, then the checkpoint that marks the epoch as done.

    Args:
        directory: of the run.
        rows: of the epochs that were done before. metrics.csv may have one more: a run that was
            killed between the row and the checkpoint computes that epoch again.
        keep_all: whether all checkpoints are kept.
    """

    def __init__(self, directory: RunDirectory, rows: list[Row], *, keep_all: bool):
        super().__init__()
        self.directory = directory
        self.keep_all = keep_all
        self.rows = list(rows)
        self._started = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self._started = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.monotonic() - self._started
        row = {"epoch": epoch + 1, **readable(logs), "seconds": round(seconds, 3)}
        self.rows.append(row)
        is_best = (
            any(name.startswith("val_") for name in row) and early_stopping.best(self.rows) is row
        )
        self.directory.write_metrics(self.rows)
        checkpoints.save(
            self.directory.checkpoints,
            self.model,
            epoch + 1,
            is_best=is_best,
            keep_all=self.keep_all,
        )


# How Keras calls the state of a generator.
_GENERATOR = "seed_generator_state"


class SeedEpochs(keras.callbacks.Callback):
    """Has what layers draw, such as dropout's masks, depend on seed and epoch alone.

    Keras doesn't save the state of its generators: a resumed training would draw others.

    Args:
        seed: of the training.
        offset: from the epochs' numbers in `fit` to those that are meant.
    """

    def __init__(self, seed: int, *, offset: int = 0):
        super().__init__()
        self.seed = seed
        self.offset = offset

    def on_epoch_begin(self, epoch, logs=None):
        states = [v for v in self.model.variables if v.path.endswith(_GENERATOR)]
        for index, state in enumerate(states):
            drawn = np.random.PCG64([self.seed, epoch + self.offset, index])
            state.assign(drawn.random_raw(state.shape[0]).astype(state.dtype))


class StopAtNaN(keras.callbacks.Callback):
    """Ends the training when the loss is no number any more, before anything is saved.

    Args:
        learning_rate: said in the message.
        folder: of the checkpoints, or None.
        images: a few network inputs (N, …), or None. An epoch's last step comes after its last
            loss, so the network is tried on them before it is saved.
    """

    def __init__(
        self, learning_rate: float, folder: pathlib.Path | None, images: np.ndarray | None
    ):
        super().__init__()
        self.learning_rate = learning_rate
        self.folder = folder
        self.images = images
        self._epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch, logs=None):
        self._check(f"the loss {float(logs['loss'])}", [logs["loss"]])

    def on_epoch_end(self, epoch, logs=None):
        self._check("NaN weights", self.model.get_weights())
        if self.images is not None:
            self._check("NaN scores", [probe.in_batches(self.model.classifier, self.images)])
        for name, value in logs.items():
            self._check(f"the {name} {value}", [value])

    def _check(self, name, values):
        if all(np.isfinite(value).all() for value in values):
            return
        kept = self.folder and checkpoints.newest(self.folder)
        raise NotFiniteError(
            f"Expected finite numbers. Received: {name} in epoch {self._epoch}; "
            f"lower --learning_rate (now {self.learning_rate:g}); "
            + (f"the last good checkpoint is {kept}" if kept else "no epoch was finished before")
        )


class Progress(keras.callbacks.Callback):
    """A progress bar with examples per second on a terminal, one line an epoch elsewhere.

    Args:
        examples: training examples per epoch.
        batch_size: examples per step.
    """

    def __init__(self, examples: int, batch_size: int):
        super().__init__()
        self.examples = examples
        self.batch_size = batch_size
        self._bar = None
        self._started = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        print(f"Epoch {epoch + 1}/{self.params['epochs']}", flush=True)
        verbose = 1 if sys.stdout.isatty() else 2
        self._bar = keras.utils.Progbar(-(-self.examples // self.batch_size), verbose=verbose)
        self._started = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        done = min((batch + 1) * self.batch_size, self.examples)
        if done < self.examples:  # the last step is shown with the epoch's own numbers
            self._show(batch + 1, done, logs, finalize=False)

    def on_epoch_end(self, epoch, logs=None):
        self._show(self._bar.target, self.examples, logs, finalize=True)

    def _show(self, step, done, logs, *, finalize):
        values = {
            "examples/s": done / (time.monotonic() - self._started),
            **readable(logs),
        }
        self._bar.stateful_metrics = set(values)  # they are means already
        self._bar.update(step, values=list(values.items()), finalize=finalize)
