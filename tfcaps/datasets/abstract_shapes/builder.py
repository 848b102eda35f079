"""Abstract tasks for tensorflow_datasets: `tfds.builder("abstract_shapes/svrt_1")`.

Imported when tensorflow_datasets is, whether before or after tfcaps.
"""

import numpy as np
import tensorflow_datasets as tfds

from tfcaps.datasets.abstract_shapes.generator import (
    CLASS_NAMES,
    DEFAULT_SIZE,
    TEST_IMAGES,
    TRAIN_IMAGES,
    layouts,
)
from tfcaps.datasets.abstract_shapes.tasks import names

_CHUNK = 1024


class AbstractShapes(tfds.core.GeneratorBasedBuilder):
    """One configuration a task: 10,000 training and 5,000 test images of 128×128 pixels."""

    name = "abstract_shapes"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=task) for task in names()]  # noqa: RUF012

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Images of which the class is a relation between random shapes.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(DEFAULT_SIZE, DEFAULT_SIZE, 1)),
                    "label": tfds.features.ClassLabel(names=list(CLASS_NAMES)),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # All is drawn.
        return {
            "train": self._generate_examples("train", TRAIN_IMAGES),
            "test": self._generate_examples("test", TEST_IMAGES),
        }

    def _generate_examples(self, split, count):
        for start in range(0, count, _CHUNK):
            numbers = np.arange(start, min(start + _CHUNK, count))
            part = layouts(self.builder_config.name, numbers, split=split)
            for number, image, label in zip(numbers, part.render(), part.labels, strict=True):
                yield int(number), {"image": image, "label": int(label)}
