"""What is evaluated: a finished run's network, and the images that it is tried on."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcaps import datasets, files, training
from tfcaps.datasets import ImageDataset, Split
from tfcaps.errors import UsageError
from tfcaps.evaluation.options import EvaluationOptions
from tfcaps.models import CapsuleNetwork
from tfcaps.options import fields, flag
from tfcaps.training import checkpoints

# The options that decide which weights and examples results are of.
_ASKED = ("dataset", "split", "checkpoint", "test_examples")
_NOT_IN_NAMES = re.compile(r"[^\w.,=-]+")


@dataclasses.dataclass(frozen=True)
class Subject:
    """A finished run's network with the examples that it is tried on.

    Args:
        run: the run, with the weights that are evaluated.
        options: what was asked for.
        data: the data set.
        split: the examples.
    """

    run: training.Run
    options: EvaluationOptions
    data: ImageDataset
    split: Split

    @property
    def folder(self) -> pathlib.Path:
        """Where results come to lie: what is asked for beside the defaults has its own folder."""
        if self.options.output_dir:
            return pathlib.Path(self.options.output_dir)
        own = pathlib.Path(self.options.log_dir) / "evaluation"
        asked = {name: getattr(self.options, name) for name in _ASKED}
        changed = [
            flag(name, value).removeprefix("--")
            for name, value in asked.items()
            if value != fields(self.options)[name].default
        ]
        return own / _NOT_IN_NAMES.sub("_", ",".join(changed)) if changed else own

    def expect_own_folder(self) -> None:
        """Refuses a folder with results of other weights or examples: they would be mixed.

        Raises:
            UsageError: it has some.
        """
        asked = {
            "checkpoint": self.options.checkpoint,
            "dataset": self.data.name,
            "split": self.options.split,
        }
        for path in (self.folder / "evaluation.json", *self.folder.glob("attack-*.json")):
            content = files.read_json(path)
            known = content.get("settings", content) if isinstance(content, dict) else {}
            if not isinstance(known, dict):
                continue  # damaged: it answers nothing
            for name, value in asked.items():
                if known.get(name, value) != value:
                    raise UsageError(
                        f"Expected --output_dir without results of {flag(name, known[name])}. "
                        f"Received: {self.folder} for {flag(name, value)}"
                    )

    def asked(self, output_dir: str | os.PathLike | None, **changes: Any) -> "Subject":
        """The subject with other options, which don't concern network and examples.

        Raises:
            UsageError: a value is out of its range.
        """
        if output_dir is not None:
            changes["output_dir"] = output_dir
        return dataclasses.replace(self, options=dataclasses.replace(self.options, **changes))

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
                examples, self.run.preprocessing, batch_size=self.options.batch_size
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


def load_subject(log_dir: str | os.PathLike, **choices: Any) -> Subject:
    """Loads a run and the images that it is to be tried on.

    Args:
        log_dir: the run directory.
        **choices: see `EvaluationOptions`.

    Raises:
        UsageError: there is no such run, checkpoint or split, an argument is out of its range, or
            the images have another shape or number of classes than those of the training.
    """
    options = EvaluationOptions(log_dir=os.fspath(log_dir), **choices)
    run = _load_run(options)
    data = run.load_data(dataset=options.dataset, data_dir=options.data_dir)
    _check_data(run, data)
    split = data.test if options.split == "test" else data.validation
    if split is None:
        raise UsageError(
            "Expected --split=test, as no training example was held out. "
            f"Received: --split={options.split}"
        )
    if options.test_examples:
        split = spread(split, options.test_examples, flag="test_examples")
    return Subject(run, options, data, split)


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


def _load_run(options: EvaluationOptions) -> training.Run:
    run = training.load_run(options.log_dir)
    if options.checkpoint == "final":
        return run
    model = checkpoints.best(training.RunDirectory(options.log_dir).checkpoints)
    if model is None:
        raise UsageError(
            "Expected a run with a checkpoint that was chosen on a validation split. "
            f"Received: --checkpoint={options.checkpoint} of {options.log_dir}, "
            "which has none that can be read"
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
