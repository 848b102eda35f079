"""What is evaluated: a finished run's network, and the images that it is tried on."""

import dataclasses
import os
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from tfcaps import datasets, training
from tfcaps.datasets import ImageDataset, Split
from tfcaps.errors import UsageError
from tfcaps.models import CapsuleNetwork
from tfcaps.training import checkpoints

SPLITS = ("test", "validation")
CHECKPOINTS = ("final", "best")


@dataclasses.dataclass(frozen=True)
class Subject:
    """A finished run's network with the examples that it is tried on.

    Args:
        run: the run, with the weights that are evaluated.
        checkpoint: which weights these are, "final" or "best".
        data: the data set.
        split_name: "test" or "validation".
        split: the examples.
        batch_size: examples at a time.
    """

    run: training.Run
    checkpoint: str
    data: ImageDataset
    split_name: str
    split: Split
    batch_size: int

    @property
    def has_capsules(self) -> bool:
        """Whether the network is a capsule network."""
        return isinstance(self.run.model, CapsuleNetwork)

    def batches(self, split: Split | None = None) -> Iterator[dict[str, tf.Tensor]]:
        """Batches of `image` (the network's input), `original` (in [0, 1]) and `label`.

        Args:
            split: other examples than the subject's. Default None: its own.
        """
        examples = self.split if split is None else split
        return iter(
            datasets.evaluation_batches(
                examples, self.run.preprocessing, batch_size=self.batch_size
            )
        )

    def scores(self, originals: tf.Tensor) -> tf.Tensor:
        """What an attack differentiates: from images in [0, 1] to scores without a softmax.

        The lengths of the class capsules, or the logits of a block network. Standardisation is a
        part of it, so that the bound of an attack is one on pixels.
        """
        network: keras.Model = self.run.model.classifier if self.has_capsules else self.run.model
        images = self.run.preprocessing.standardized(originals)
        return tf.cast(network(images, training=False), tf.float32)


def load_subject(
    log_dir: str | os.PathLike,
    *,
    dataset: str | None = None,
    data_dir: str | None = None,
    split: str = "test",
    checkpoint: str = "final",
    batch_size: int = 128,
    examples: int = 0,
) -> Subject:
    """Loads a run and the images that it is to be tried on.

    Args:
        log_dir: the run directory.
        dataset: Default None: what it was trained on.
        data_dir: folder of tensorflow_datasets' prepared sets. Default None: the training's.
        split: "test", or "validation", which the training held out.
        checkpoint: "final", or "best" on the validation split.
        batch_size: examples at a time, at least 1. Default 128.
        examples: so many, spread evenly over the split; 0: all. Default 0.

    Raises:
        UsageError: there is no such run, checkpoint or split, an argument is out of its range, or
            the images have another shape or number of classes than those of the training.
    """
    _check_choice("split", split, SPLITS)
    _check_choice("checkpoint", checkpoint, CHECKPOINTS)
    if batch_size < 1:
        raise UsageError(f"Expected --batch_size >= 1. Received: {batch_size}")
    run = _load_run(log_dir, checkpoint)
    data = datasets.load(
        dataset or run.config.dataset,
        data_dir=data_dir or run.config.data_dir,
        image_size=run.config.image_size,
        train_examples=run.config.train_examples or None,
        validation_fraction=run.config.validation_fraction,
        seed=run.config.seed,
    )
    _check_data(run, data)
    chosen = data.test if split == "test" else data.validation
    if chosen is None:
        raise UsageError(
            f"Expected --split=test, as no training example was held out. Received: --split={split}"
        )
    chosen = chosen if examples == 0 else spread(chosen, examples, flag="test_examples")
    return Subject(run, checkpoint, data, split, chosen, batch_size)


def spread(split: Split, count: int, *, flag: str) -> Split:
    """So many examples, spread evenly over a split.

    Args:
        split: N examples.
        count: 1 to N.
        flag: names the count in the message.

    Raises:
        UsageError: there are not so many.
    """
    if not 1 <= count <= len(split):
        raise UsageError(
            f"Expected --{flag} between 1 and {len(split)}, the number of examples. "
            f"Received: {count}"
        )
    return split.take(np.linspace(0, len(split) - 1, count).astype(int))


def _load_run(log_dir: str | os.PathLike, checkpoint: str) -> training.Run:
    run = training.load_run(log_dir)
    if checkpoint == "final":
        return run
    model = checkpoints.best(training.RunDirectory(log_dir).checkpoints)
    if model is None:
        raise UsageError(
            "Expected a run with a checkpoint that was chosen on a validation split. "
            f"Received: --checkpoint={checkpoint} of {log_dir}, which has none that can be read"
        )
    return dataclasses.replace(run, model=model)


def _check_data(run: training.Run, data: ImageDataset) -> None:
    def told(shape, classes):
        return f"{'×'.join(map(str, shape))} pixels and {classes} classes"

    expected = told(run.image_shape, len(run.class_names))
    received = told(data.image_shape, len(data.class_names))
    if expected != received:
        raise UsageError(
            f"Expected images of {expected}, as in the training. "
            f"Received: {data.name}, of {received}"
        )


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"Expected --{name} to be one of {', '.join(choices)}. Received: {value}")
