"""What TensorBoard shows of a run."""

import os
import pathlib
import re
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from tfcaps import plots
from tfcaps.errors import UsageError
from tfcaps.training import probe
from tfcaps.training.metric_names import readable

# What TensorFlow adds to a message about the operation that failed.
_GRAPH_NAMES = re.compile(r"\{\{[^}]*\}\}|\[Op:.*")


class RunSummaries(keras.callbacks.Callback):
    """Writes a run's numbers and pictures for TensorBoard after every epoch.

    Three TensorBoard runs come to lie under `directory`:

    * `train`: every number that `fit` reports, and the learning rate,
    * `validation`: those of them that begin with `val_`, without that prefix, so that both
      curves share a chart,
    * `probe`: images of input/reconstruction pairs (if the network has a decoder) and of the
      confusion matrix, and a histogram of the coupling coefficients of each capsule layer.

    Every training adds event files and leaves earlier ones alone, so a resumed run goes on in the
    same charts.

    Args:
        directory: Where the event files go.
        probe_images: Network inputs (N, h, w, C).
        probe_originals: The same images in [0, 1], (N, h, w, C), as reconstruction targets.
        probe_labels: Their classes, integers (N,).
        class_names: Names of the K classes.
        first_epoch: Added to the epoch that `fit` reports (which counts from 0, or from its
            `initial_epoch`) to get the step. Default 0.

    Raises:
        ValueError: If the three probe arrays are empty or differ in length.
    """

    def __init__(
        self,
        directory: str | os.PathLike,
        probe_images: np.ndarray,
        probe_originals: np.ndarray,
        probe_labels: np.ndarray,
        class_names: Sequence[str],
        first_epoch: int = 0,
    ):
        super().__init__()
        lengths = [len(probe_images), len(probe_originals), len(probe_labels)]
        if not lengths[0] or len(set(lengths)) != 1:
            raise ValueError(
                "Expected as many probe originals and labels as probe images, and at least one. "
                f"Received: {lengths[0]} images, {lengths[1]} originals, {lengths[2]} labels"
            )
        self.directory = pathlib.Path(directory)
        self.probe_images = np.asarray(probe_images)
        self.probe_originals = np.asarray(probe_originals)
        self.probe_labels = np.asarray(probe_labels)
        self.class_names = tuple(class_names)
        self.first_epoch = first_epoch
        self._writers: dict[str, tf.summary.SummaryWriter] = {}

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Writes the epoch's numbers and pictures; they are on disk when it returns."""
        step = self.first_epoch + epoch
        figures, couplings = self._look()
        try:
            self._write_scalars(step, readable(logs))
            with self._writer("probe").as_default(step=step):
                _write_probe(figures, couplings)
            for writer in self._writers.values():
                writer.flush()
        except tf.errors.OpError as error:
            reason = _GRAPH_NAMES.sub("", error.message).strip().splitlines()[0]
            raise UsageError(
                f"Cannot write event files: {reason}; what was written before is intact"
            ) from error

    def on_train_end(self, logs: dict | None = None) -> None:
        """Closes the event files."""
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
            # As a tensor first: a variable that is mirrored on several devices is no number.
            rate = float(tf.convert_to_tensor(optimizer.learning_rate))
            values.setdefault("learning_rate", rate)
        for name, value in values.items():
            run = "validation" if name.startswith("val_") else "train"
            with self._writer(run).as_default(step=step):
                tf.summary.scalar(name.removeprefix("val_"), value)

    def _look(self) -> tuple[dict[str, Figure], dict[str, np.ndarray]]:
        """Draws what the network makes of the probe set; couplings by layer beside it."""
        predictions = probe.in_batches(self.model.classifier, self.probe_images).argmax(axis=-1)
        counts = plots.confusion_counts(self.probe_labels, predictions, len(self.class_names))
        figures = {"confusion_matrix": plots.confusion_matrix(counts, self.class_names)}

        shown = probe.spread_over_classes(self.probe_labels, probe.INSPECTED_IMAGES)
        inspected = probe.in_batches(self.model.inspector, self.probe_images[shown])
        if self.model.decoder is not None:
            capsules = probe.class_capsules(self.model, inspected)[: probe.SHOWN_PAIRS]
            pairs = shown[: probe.SHOWN_PAIRS]
            figures["reconstructions"] = plots.reconstructions(
                self.probe_originals[pairs],
                probe.in_batches(self.model.decoder, capsules),
                labels=self.probe_labels[pairs],
                predictions=predictions[pairs],
                class_names=self.class_names,
            )
        return figures, inspected["couplings"]


def _write_probe(figures: dict[str, Figure], couplings: dict[str, np.ndarray]) -> None:
    for name, figure in figures.items():
        tf.summary.image(name, plots.to_array(figure)[np.newaxis])
    for layer, values in couplings.items():
        tf.summary.histogram(f"couplings/{layer}", values.ravel())
