"""What differs between kinds of training in the one loop."""

import abc
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from tfcaps.errors import UsageError
from tfcaps.training.configuration import RunConfig

# Keras is imported where something is computed: a wrong value is told without it.
if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf
    from matplotlib.figure import Figure

Config = TypeVar("Config", bound=RunConfig)


class Examples(Protocol):
    """Some examples of a data set."""

    def __len__(self) -> int:
        """How many there are."""

    def take(self, indices: "Sequence[int] | np.ndarray") -> "Examples":
        """The examples at these indices, in their order."""


class Data(Protocol):
    """What a training learns from, and is judged by."""

    @property
    def name(self) -> str:
        """What it was loaded by."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The K classes."""

    @property
    def train(self) -> Examples:
        """What a network learns from."""

    @property
    def validation(self) -> Examples | None:
        """What decisions rest on; None: nothing was held out."""

    @property
    def test(self) -> Examples:
        """What the reported accuracy is of."""


class Task(abc.ABC, Generic[Config]):
    """Base class: data, network, compilation, batches, figures and export of a kind of training.

    The loop asks in this order, and knows nothing of what is in between: `load`, `describe`,
    `build`, `compile`, the batches, and after each epoch and in the end `figures`, `results` and
    `export`.

    Args:
        config: what is asked for.
    """

    def __init__(self, config: Config):
        self.config = config

    @abc.abstractmethod
    def load(self) -> Data:
        """The data that the configuration names."""

    def check_data(self, data: Data) -> None:
        """Checks that the data have what the configuration asks for, beside what all kinds check.

        Raises:
            UsageError: they haven't.
        """
        if self.config.class_weights != "none":
            self.config.expect("class_weights", False, f"to be none for a {self.config.kind}")

    @abc.abstractmethod
    def describe(self, data: Data) -> dict[str, Any]:
        """What run.json says of the data: all that a finished run needs to be used."""

    @abc.abstractmethod
    def build(self, data: Data) -> "keras.Model":
        """The network for such data, not compiled; `classifier` gives its scores."""

    def initialize(self, model: "keras.Model") -> None:
        """Gives a network its first weights, where these aren't the ones that it was drawn with.

        Raises:
            UsageError: they can't be had.
        """

    @abc.abstractmethod
    def compile(
        self,
        model: "keras.Model",
        *,
        jit: bool,
        optimizer: "keras.optimizers.Optimizer | None" = None,
    ) -> None:
        """Compiles with losses, `accuracy` and the optimizer; a given one keeps its state."""

    @abc.abstractmethod
    def training_batches(
        self, model: "keras.Model", data: Data, *, epochs: range, devices: int
    ) -> "tf.data.Dataset":
        """Batches of these epochs, one after the other, as `fit` takes them.

        Args:
            model: the network.
            data: what it learns from.
            epochs: their numbers, from 0; an epoch's order depends on its number.
            devices: that share each batch; examples that don't go round are left out.
        """

    @abc.abstractmethod
    def evaluation_batches(
        self, model: "keras.Model", data: Data, examples: Examples, *, batch_size: int
    ) -> "tf.data.Dataset":
        """All examples once, in order, as `evaluate` takes them."""

    @abc.abstractmethod
    def batches(self, data: Data, examples: Examples) -> Iterator[dict[str, "tf.Tensor"]]:
        """Examples in order, in batches of `label` and of what the network sees."""

    @abc.abstractmethod
    def network_input(self, batch: Mapping[str, Any]) -> Any:
        """The part of such a batch that the classifier takes."""

    def arrays(self, data: Data, examples: Examples) -> dict[str, "np.ndarray"]:
        """As `batches`, all examples at once."""
        import numpy as np

        parts = [
            {name: value.numpy() for name, value in batch.items()}
            for batch in self.batches(data, examples)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    @abc.abstractmethod
    def figures(
        self,
        model: "keras.Model",
        examples: Mapping[str, "np.ndarray"],
        class_names: Sequence[str],
        *,
        is_finished: bool,
    ) -> tuple[dict[str, "Figure"], dict[str, "np.ndarray"]]:
        """Figures and histograms by name: what the network makes of some examples.

        Args:
            model: the network.
            examples: as `arrays` gives them.
            class_names: of the K classes.
            is_finished: whether this is the end of the training, which has more figures than each
                epoch has.
        """

    @abc.abstractmethod
    def export(
        self,
        model: "keras.Model",
        data: Data,
        directory: pathlib.Path,
        *,
        description: Mapping[str, Any],
    ) -> None:
        """Writes the classifier as the next version of a servable model.

        Args:
            model: the network.
            data: says which classes it knows.
            directory: of the versions.
            description: what the export says of itself, see `tfcaps.export.export_model`.
        """

    def scores(self, data: Data, labels: "np.ndarray", outputs: "np.ndarray") -> dict[str, float]:
        """How good the classifier's outputs are, by the names that results.json has.

        Args:
            data: whose examples they are of.
            labels: (N,).
            outputs: of the classifier, (N, K).
        """
        from tfcaps import metrics, plots

        counts = plots.confusion_counts(labels, outputs.argmax(axis=-1), len(data.class_names))
        return metrics.classification_scores(counts)._asdict()

    def score_names(self, data: Data) -> tuple[str, ...]:
        """The names of `scores`."""
        from tfcaps import metrics

        del data
        return metrics.ClassificationScores._fields

    def input_too_large(self, data: Data, needed: str) -> UsageError:
        """The error of a training that doesn't fit into memory; it says what may be made smaller.

        Args:
            data: what it learns from.
            needed: how much it needs, in a few words.
        """
        del data
        return UsageError(
            "Expected a training that fits into memory: a smaller --batch_size. "
            f"Received: --batch_size={self.config.batch_size}, which needs {needed}"
        )

    def callbacks(self, examples: Mapping[str, "np.ndarray"]) -> list["keras.callbacks.Callback"]:
        """What is measured after each epoch, beside what is measured of all kinds.

        Args:
            examples: a few that were held out, as `arrays` gives them.
        """
        del examples
        return []

    def results(self, model: "keras.Model", inputs: Iterable["tf.Tensor"]) -> dict[str, Any]:
        """What results.json says of this kind of network beside what it says of all.

        Args:
            model: the network.
            inputs: batches of its inputs, of the whole test set unless it isn't touched.
        """
        del model, inputs
        return {}
