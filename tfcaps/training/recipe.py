"""What differs between kinds of networks in the one way to train."""

import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from tfcaps.datasets import Preprocessing
from tfcaps.training.configuration import RunConfig


class Recipe:
    """Base class: how one kind of network is built, compiled, fed and looked at.

    Args:
        config: what to train.
    """

    def __init__(self, config: RunConfig):
        self.config = config

    def preprocessing(self) -> Preprocessing:
        """From stored images to the network's input."""
        raise NotImplementedError("A recipe has to define `preprocessing`.")

    def build(self, image_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
        """The network for inputs (h, w, C) and K classes, not compiled.

        It has `classifier`, a model from images (B, h, w, C) to scores (B, K).
        """
        raise NotImplementedError("A recipe has to define `build`.")

    def compile(
        self,
        model: keras.Model,
        *,
        jit: bool,
        optimizer: keras.optimizers.Optimizer | None = None,
    ) -> None:
        """Compiles with losses, `accuracy` and the optimizer; a given one keeps its state."""
        raise NotImplementedError("A recipe has to define `compile`.")

    def as_inputs_and_targets(
        self, batches: tf.data.Dataset, model: keras.Model, num_classes: int, *, training: bool
    ) -> tf.data.Dataset:
        """Turns batches of a data set into what `fit` and `evaluate` take."""
        raise NotImplementedError("A recipe has to define `as_inputs_and_targets`.")

    def look(
        self, model: keras.Model, probe: Mapping[str, np.ndarray], class_names: Sequence[str]
    ) -> tuple[dict[str, Figure], dict[str, np.ndarray]]:
        """Figures and histograms by name, for TensorBoard, after each epoch.

        Args:
            model: the network.
            probe: `image`, `original` and `label` of a few examples, as the pipelines give them.
            class_names: of the K classes.
        """
        raise NotImplementedError("A recipe has to define `look`.")

    def write_figures(
        self,
        directory: str | os.PathLike,
        *,
        model: keras.Model,
        history: Mapping[str, Sequence[float]],
        images: np.ndarray,
        originals: np.ndarray,
        labels: np.ndarray,
        class_names: Sequence[str],
    ) -> list[pathlib.Path]:
        """Writes a finished run's figures as PNG files and returns their paths.

        Args:
            directory: where to.
            model: the network.
            history: columns of metrics.csv.
            images: network inputs (N, h, w, C).
            originals: the same images in [0, 1].
            labels: their classes, integers (N,).
            class_names: of the K classes.
        """
        raise NotImplementedError("A recipe has to define `write_figures`.")

    def callbacks(self, images: np.ndarray) -> list[keras.callbacks.Callback]:
        """What is measured after each epoch, beside what is measured of all kinds.

        Args:
            images: network inputs (N, h, w, C) of a few held out examples.
        """
        del images
        return []

    def results(self, model: keras.Model, batches: Iterable[tf.Tensor]) -> dict[str, Any]:
        """What results.json says of this kind of network beside what it says of all.

        Args:
            model: the network.
            batches: network inputs (B, h, w, C), of the whole test set unless it isn't touched.
        """
        del model, batches
        return {}
