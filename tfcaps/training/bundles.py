"""Bundle entropy over a training: per layer and epoch in the logs, and as a figure."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np
from matplotlib.figure import Figure

from tfcaps import plots
from tfcaps.metrics import BundleEntropy, learning_rate, weight_amplitude

_ENTROPY = "entropy/"


class BundleRecorder(keras.callbacks.Callback):
    """Adds what the probe set says about conflicting bundles to the logs after each epoch.

    For each layer l: `bundles/l`, how many there are; `entropy/l`, H^l in nats; `integral/l`, the
    normalised integral Σ_t H^l(t) / epochs so far. What H depends on comes with them:
    `weight_amplitude` (W), `learning_rate` (η) and `batch_size` (B_t). Callbacks behind this one
    see them like any other number.

    Args:
        images: network inputs of the probe set, (N, h, w, C).
        labels: their classes, integers (N,).
        batch_size: B_t, of the training.
        num_classes: K.
        last_layer_only: whether only the last of the layers is measured. Default False.
        rows: of the epochs that were done before, with these columns.

    Source: Peer et al., Conflicting bundles, arXiv 2011.02956.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        batch_size: int,
        num_classes: int,
        last_layer_only: bool = False,
        rows: Sequence[Mapping[str, float]] = (),
    ):
        super().__init__()
        self.images, self.labels = images, labels
        self.batch_size = batch_size
        self.num_classes = num_classes
        self.last_layer_only = last_layer_only
        self._rows = list(rows)
        self._measure = None

    def on_train_begin(self, logs=None):
        arguments = {"batch_size": self.batch_size, "num_classes": self.num_classes}
        self._measure = BundleEntropy(self.model, **arguments)
        if self.last_layer_only:
            self._measure = BundleEntropy(self.model, self._measure.layers[-1:], **arguments)

    def on_epoch_end(self, epoch, logs=None):
        row = {}
        # Where a schedule changes it in each step, the logs have that of the last one.
        rate = logs.get("learning_rate", learning_rate(self.model.optimizer))
        self._measure.learning_rate = rate
        for layer, bundles in self._measure(self.images, self.labels).items():
            past = [earlier[_ENTROPY + layer] for earlier in self._rows]
            row[f"bundles/{layer}"] = bundles.number
            row[_ENTROPY + layer] = bundles.entropy
            row[f"integral/{layer}"] = float(np.mean([*past, bundles.entropy]))
        row["weight_amplitude"] = weight_amplitude(self.model)
        row["learning_rate"] = rate
        row["batch_size"] = self.batch_size
        self._rows.append(row)
        logs.update(row)


def entropy_figure(history: Mapping[str, Sequence[float]]) -> Figure | None:
    """The heat map of bundle entropy, layers × epochs, or None where it wasn't measured.

    Args:
        history: columns of metrics.csv.
    """
    layers = [name for name in history if name.startswith(_ENTROPY)]
    if not layers:
        return None
    return plots.entropy_heatmap(
        np.array([history[name] for name in layers]),
        [name.removeprefix(_ENTROPY) for name in layers],
    )
