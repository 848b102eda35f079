"""Abstract tasks for tensorflow_datasets: `tfds.builder("abstract_shapes/svrt_1")`.

Other numbers of shapes than a task's own: `tfds.builder("abstract_shapes/odd_one_out_6")`.

Imported when tensorflow_datasets is, whether before or after tfcaps.
"""

import dataclasses

import numpy as np
import tensorflow_datasets as tfds

from tfcaps.datasets.abstract_shapes.generator import (
    CLASS_NAMES,
    DEFAULT_SIZE,
    TEST_IMAGES,
    TRAIN_IMAGES,
    layouts,
)
from tfcaps.datasets.abstract_shapes.tasks import TASKS

_CHUNK = 1024


@dataclasses.dataclass
class _Config(tfds.core.BuilderConfig):
    """A task, and how many shapes there are; None: as many as it has."""

    task: str = ""
    shapes: int | None = None


_CONFIGS = [_Config(name=name, task=name) for name in TASKS] + [
    _Config(name=f"{name}_{shapes}", task=name, shapes=shapes)
    for name, task in TASKS.items()
    for shapes in task.shapes or ()
]


class AbstractShapes(tfds.core.GeneratorBasedBuilder):
    """One configuration a task: 10,000 training and 5,000 test images of 128×128 pixels.

    Where a number of shapes may be chosen, there is one for each number, too: `TASK_SHAPES`.
    """

    name = "abstract_shapes"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = _CONFIGS

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
        config = self.builder_config
        for start in range(0, count, _CHUNK):
            numbers = np.arange(start, min(start + _CHUNK, count))
            part = layouts(config.task, numbers, split=split, shapes=config.shapes)
            for number, image, label in zip(numbers, part.render(), part.labels, strict=True):
                yield int(number), {"image": image, "label": int(label)}
