"""The training of ordinary image classifiers: any network of `keras.applications`, or a plain one.

A network of images to class scores that isn't this package's own needs nothing else than this file.
"""

import ast
import dataclasses
import functools
import importlib.util
import pathlib
from typing import Any

from tfcaps import models
from tfcaps.options import changed, option
from tfcaps.training.configuration import KINDS, RunConfig
from tfcaps.training.image_task import ImageTask

PLAIN, LENET = "convnet", "lenet"


@functools.cache
def _applications() -> tuple[str, ...]:
    """The names of `keras.applications`' networks, read off its file without importing Keras."""
    spec: Any = importlib.util.find_spec("keras")
    folder = spec.submodule_search_locations[0]
    text = pathlib.Path(folder, "applications", "__init__.py").read_text(encoding="utf-8")
    imported = [node for node in ast.parse(text).body if isinstance(node, ast.ImportFrom)]
    # Beside each network its module is imported, in small letters.
    names = (name.asname or name.name for node in imported for name in node.names)
    return tuple(sorted(name for name in names if name != name.lower()))


def _networks() -> tuple[str, ...]:
    """The values of --model."""
    return (PLAIN, LENET, *_applications())


@KINDS.register("image_classifier")
@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageClassifierConfig(RunConfig):
    """All choices of one training of an image classifier; a field is the flag of the same name.

    Raises:
        UsageError: a value is out of its range.
    """

    model: str = option(
        f"{PLAIN}, a few convolutions; {LENET}, LeNet-5; or a network of keras.applications.",
        default=PLAIN,
        choices=_networks,
    )
    weights: str | None = option(
        "File that the network has its weights from: .keras, .weights.h5 or .h5, for a network of "
        "keras.applications with or without classes; none: drawn.",
        default=None,
    )
    filters: tuple[int, ...] = option(
        f"Filters of the convolutions of {PLAIN}, each of which halves the image.",
        default=(32, 64, 128),
        range=">= 1",
    )
    epochs: int = changed(RunConfig, "epochs", default=20)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model == PLAIN:
            self.expect("filters", self.filters, "with at least one convolution")

    @property
    def run_name(self) -> str:
        return f"{self.dataset_name}-{self.model}"

    def task(self) -> "ImageClassifierTask":
        return ImageClassifierTask(self)


class ImageClassifierTask(ImageTask[ImageClassifierConfig]):
    """Cross-entropy with Adam: see `ImageClassifierConfig` and `Task`."""

    @property
    def augmentation(self):
        # Crops to the images' own size, as networks of equal blocks have them.
        return {"paper": "blocks", "none": "none"}[self.config.augmentation]

    @functools.cached_property
    def preprocessing(self):
        # The networks take pixels in [0, 1], and normalise them by themselves.
        return dataclasses.replace(super().preprocessing, standardize=False)

    def network(self, image_shape, num_classes):
        config = self.config
        if config.model == PLAIN:
            return models.ConvNetwork(image_shape, num_classes, filters=config.filters)
        if config.model == LENET:
            return models.LeNet(image_shape, num_classes)
        return models.ApplicationNetwork(image_shape, num_classes, application=config.model)

    def initialize(self, model):
        if self.config.weights is not None:
            read = models.read_weights(model, self.config.weights)
            print(f"From {self.config.weights}: {read}.", flush=True)

    def compile(self, model, *, jit, optimizer=None):
        import keras

        model.compile(
            optimizer=optimizer or keras.optimizers.Adam(self.config.learning_rate),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
            jit_compile=jit,
            run_eagerly=not self.config.enable_tf_function,
        )
