"""What all trainings on images have in common."""

import abc
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfcaps import datasets, plots
from tfcaps.errors import UsageError
from tfcaps.training import class_weights
from tfcaps.training.task import Config, Task

if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf
    from matplotlib.figure import Figure


class ImageTask(Task[Config]):
    """Base class: images of one size in memory, and a network from them to class scores.

    A subclass says which `augmentation` the catalogue has for it, makes the `network` and compiles
    it; the rest can stay as it is.
    """

    @property
    def augmentation(self) -> str:
        """The kind of preprocessing, as `datasets.preprocessing` takes it."""
        return self.config.augmentation

    @abc.abstractmethod
    def network(self, image_shape: tuple[int, int, int], num_classes: int) -> "keras.Model":
        """The network for inputs (h, w, C) and K classes, not compiled.

        It has `classifier`, a model from images (B, h, w, C) to scores (B, K).
        """

    @functools.cached_property
    def preprocessing(self) -> "datasets.Preprocessing":
        """From stored images to the network's input."""
        return datasets.preprocessing(self.config.dataset, self.augmentation)

    @property
    def split_seed(self) -> int:
        """Decides which examples there are, and which of them are held out."""
        return self.config.seed

    def load(self) -> "datasets.ImageDataset":
        config = self.config
        return datasets.load(
            config.dataset,
            data_dir=config.data_dir,
            image_size=config.image_size,
            train_examples=config.train_examples or None,
            validation_fraction=config.validation_fraction,
            seed=self.split_seed,
        )

    def check_data(self, data: "datasets.ImageDataset") -> None:
        self._class_weights(data)

    def _class_weights(self, data: "datasets.ImageDataset") -> "np.ndarray | None":
        """What an example of each class counts, (K,); None: the same."""
        if self.config.class_weights == "none":
            return None
        return class_weights.balanced(data.train.labels, data.class_names)

    def describe(self, data: "datasets.ImageDataset") -> dict[str, Any]:
        return {
            "class_names": list(data.class_names),
            "image_shape": list(data.image_shape),
            "fingerprint": data.fingerprint,
            "preprocessing": self.preprocessing.to_dict(),
        }

    def input_too_large(self, data: "datasets.ImageDataset", needed: str) -> UsageError:
        size = "×".join(str(side) for side in data.image_shape[:2])
        return UsageError(
            "Expected a training that fits into memory: a smaller --batch_size, a smaller "
            "--image_size, or --model=EfficientCapsNet, with 0.25 to 1.6 million weights where "
            "CapsNet has 43 to 714 million at 64 to 224 pixels. Received: "
            f"--batch_size={self.config.batch_size} and images of {size}, which need {needed}"
        )

    def build(self, data: "datasets.ImageDataset") -> "keras.Model":
        shape = self.preprocessing.output_shape(data.image_shape)
        return self.network(shape, len(data.class_names))

    def training_batches(self, model, data, *, epochs, devices):
        config = self.config
        batches = datasets.training_batches(
            data.train,
            self.preprocessing,
            batch_size=config.batch_size,
            seed=config.seed,
            epochs=epochs,
            steps_per_epoch=config.steps_per_epoch or None,
            devices=devices,
        )
        weights = self._class_weights(data)
        if weights is not None:
            batches = batches.map(lambda batch: batch | {"weight": _of_class(weights, batch)})
        return self.as_inputs_and_targets(batches, model, len(data.class_names), training=True)

    def evaluation_batches(self, model, data, examples, *, batch_size):
        batches = datasets.evaluation_batches(examples, self.preprocessing, batch_size=batch_size)
        return self.as_inputs_and_targets(batches, model, len(data.class_names), training=False)

    def as_inputs_and_targets(
        self, batches: "tf.data.Dataset", model: "keras.Model", num_classes: int, *, training: bool
    ) -> "tf.data.Dataset":
        """Turns batches of `image`, `original` and `label` into what `fit` and `evaluate` take.

        Where they have a `weight`, it is that of each example in the loss of its class.
        """
        del model, num_classes, training  # the same for all of them

        def convert(batch):
            weights = (batch["weight"],) if "weight" in batch else ()
            return batch["image"], batch["label"], *weights

        return batches.map(convert).prefetch(2)

    def batches(self, data, examples):
        del data
        return iter(
            datasets.evaluation_batches(
                examples, self.preprocessing, batch_size=self.config.batch_size
            )
        )

    def network_input(self, batch: Mapping[str, Any]) -> Any:
        return batch["image"]

    def figures(
        self,
        model: "keras.Model",
        examples: Mapping[str, "np.ndarray"],
        class_names: Sequence[str],
        *,
        is_finished: bool,
    ) -> tuple[dict[str, "Figure"], dict[str, "np.ndarray"]]:
        from tfcaps.training import probe

        del is_finished  # a confusion matrix is all that there is to see
        predictions = probe.in_batches(model.classifier, examples["image"]).argmax(axis=-1)
        counts = plots.confusion_counts(examples["label"], predictions, len(class_names))
        return {"confusion_matrix": plots.confusion_matrix(counts, class_names)}, {}

    def export(self, model, data, directory: pathlib.Path, *, description) -> None:
        from tfcaps.export import export_model

        export_model(
            model.classifier,
            directory,
            preprocess=lambda images: self.preprocessing.evaluate(images)[0],
            image_shape=data.image_shape,
            class_names=data.class_names,
            description=description,
        )


def _of_class(values: "np.ndarray", batch: "Mapping[str, tf.Tensor]") -> "tf.Tensor":
    """The value of each example's class, (B,)."""
    import tensorflow as tf

    return tf.gather(values, batch["label"])
