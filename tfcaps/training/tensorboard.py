"""What TensorBoard shows of a run."""

import os
import pathlib
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from tfcaps import files, plots
from tfcaps.metrics import learning_rate
from tfcaps.training.metric_names import readable


class RunSummaries(keras.callbacks.Callback):
    """Writes a run's numbers and pictures for TensorBoard after every epoch.

    Three TensorBoard runs come to lie under `directory`:

    * `train`: every number that `fit` reports, and the learning rate,
    * `validation`: those of them that begin with `val_`, without that prefix, so that both
      curves share a chart,
    * `probe`: figures and histograms of what the network makes of a few examples.

    Every training adds event files and leaves earlier ones alone, so a resumed run goes on in the
    same charts.

    Args:
        directory: Where the event files go.
        look: From the network to its figures and its histograms (arrays), each by name.
        first_epoch: Added to the epoch that `fit` reports (which counts from 0, or from its
            `initial_epoch`) to get the step. Default 0.
    """

    def __init__(
        self,
        directory: str | os.PathLike,
        look: Callable[[keras.Model], tuple[dict[str, Figure], dict[str, np.ndarray]]],
        first_epoch: int = 0,
    ):
        super().__init__()
        self.directory = pathlib.Path(directory)
        self.look = look
        self.first_epoch = first_epoch
        self._writers: dict[str, tf.summary.SummaryWriter] = {}

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Writes the epoch's numbers and pictures; they are on disk when it returns."""
        step = self.first_epoch + epoch
        figures, histograms = self.look(self.model)
        with files.disk_errors(self.directory, tf.errors.OpError):
            self._write_scalars(step, readable(logs))
            with self._writer("probe").as_default(step=step):
                _write_probe(figures, histograms)
            for writer in self._writers.values():
                writer.flush()

    def on_train_end(self, logs: dict | None = None) -> None:
        """Closes the event files."""
        with files.disk_errors(self.directory, tf.errors.OpError):
            for writer in self._writers.values():
                writer.close()
        self._writers.clear()

    def _writer(self, run: str) -> tf.summary.SummaryWriter:
        """Returns the open event file of a TensorBoard run, a new one at first use."""
        if run not in self._writers:
            self._writers[run] = tf.summary.create_file_writer(str(self.directory / run))
        return self._writers[run]

    def _write_scalars(self, step: int, logs: dict) -> None:
        """Writes training and validation numbers to their two runs."""
        values = dict(logs)
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is not None:
            values.setdefault("learning_rate", learning_rate(optimizer))
        for name, value in values.items():
            run = "validation" if name.startswith("val_") else "train"
            with self._writer(run).as_default(step=step):
                tf.summary.scalar(name.removeprefix("val_"), value)


def _write_probe(figures: dict[str, Figure], histograms: dict[str, np.ndarray]) -> None:
    for name, figure in figures.items():
        tf.summary.image(name, plots.to_array(figure)[np.newaxis])
    for name, values in histograms.items():
        tf.summary.histogram(name, values.ravel())
