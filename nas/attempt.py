"""One attempt of a search: a network is trained for a few checks and measured after each."""

import dataclasses
import math
import time
from collections.abc import Callable

import keras
import numpy as np

from tfcaps import datasets
from tfcaps.datasets import ImageDataset, Preprocessing, Split
from tfcaps.errors import UsageError
from tfcaps.metrics import BundleEntropy
from tfcaps.models.block_network import BlockNetwork
from tfcaps.training.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Material:
    """What all attempts of a search have in common.

    Args:
        data: training and validation examples; test examples are not touched.
        preprocessing: of the images.
        probe: training examples on which bundle entropy is measured.
        recipe: how networks are compiled and fed.
        steps_per_epoch: between two checks; 0: all training examples.
        checks: how often a network is checked at most.
        seed: of the order and the augmentation.
    """

    data: ImageDataset
    preprocessing: Preprocessing
    probe: Split
    recipe: Recipe
    steps_per_epoch: int
    checks: int
    seed: int

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of the networks' input."""
        return self.preprocessing.output_shape(self.data.image_shape)

    @property
    def num_classes(self) -> int:
        return len(self.data.class_names)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What an attempt came to.

    Args:
        checks: numbers of the checks; 0 is that before the first step.
        entropies: H of each tap at each check.
        losses: mean training loss of each epoch, as many as there were.
        accuracy: on the validation split, at the end.
        seconds: of it all.
    """

    checks: tuple[int, ...]
    entropies: dict[str, tuple[float, ...]]
    losses: tuple[float, ...]
    accuracy: float
    seconds: float

    def last(self) -> dict[str, float]:
        """H of each tap at the last check."""
        return {tap: values[-1] for tap, values in self.entropies.items()}


def make_attempt(
    model: BlockNetwork,
    material: Material,
    *,
    first_epoch: int,
    check_before: bool,
    stop_at_conflict: bool,
    show: Callable[[str], None] = print,
    alive: Callable[[], None] = lambda: None,
) -> Outcome:
    """Trains a compiled network and measures its bundle entropies.

    Args:
        model: compiled.
        material: what it learns from.
        first_epoch: number of the first epoch, which decides about the order of the examples.
        check_before: whether there is a check before the first step.
        stop_at_conflict: whether a conflict at the last block is the end of it.
        show: gets a line about each check.
        alive: is called after every step.

    Raises:
        UsageError: a loss or an activation is not finite; the message names it.
    """
    started = time.monotonic()
    watch = _Checks(
        model,
        material,
        check_before=check_before,
        stop_at_conflict=stop_at_conflict,
        show=show,
        alive=alive,
    )
    batches = datasets.training_batches(
        material.data.train,
        material.preprocessing,
        batch_size=material.recipe.config.batch_size,
        seed=material.seed,
        epochs=range(first_epoch, first_epoch + material.checks),
        steps_per_epoch=material.steps_per_epoch or None,
    )
    steps = datasets.epoch_steps(
        len(material.data.train),
        material.recipe.config.batch_size,
        material.steps_per_epoch or None,
    )
    if not watch.is_over_before_the_first_step():
        model.fit(
            material.recipe.as_inputs_and_targets(
                batches, model, material.num_classes, training=True
            ),
            epochs=material.checks,
            steps_per_epoch=steps,
            shuffle=False,
            verbose=0,
            callbacks=[watch],
        )
    return Outcome(
        checks=tuple(watch.checks),
        entropies={tap: tuple(values) for tap, values in watch.entropies.items()},
        losses=tuple(watch.losses),
        accuracy=_accuracy(model, material),
        seconds=time.monotonic() - started,
    )


class _Checks(keras.callbacks.Callback):
    """Measures bundle entropy after each epoch, and ends the training at a conflict."""

    def __init__(self, model, material, *, check_before, stop_at_conflict, show, alive):
        super().__init__()
        self.check_before = check_before
        self.stop_at_conflict = stop_at_conflict
        self.show, self.alive = show, alive
        self.checks, self.losses = [], []
        self.entropies = {}
        self._total = material.checks
        self._images, _ = material.preprocessing.evaluate(material.probe.images)
        self._labels = material.probe.labels
        self._measure = BundleEntropy(
            model,
            batch_size=material.recipe.config.batch_size,
            num_classes=material.num_classes,
        )

    def is_over_before_the_first_step(self) -> bool:
        """Makes the check before the first step, if there is one."""
        return self.check_before and self._check(0, math.nan) and self.stop_at_conflict

    def on_train_batch_end(self, batch, logs=None):
        self.alive()
        if not np.isfinite(logs["loss"]):
            raise UsageError(
                f"Expected a finite loss. Received: {float(logs['loss'])} "
                f"in epoch {len(self.losses) + 1}; lower --learning_rate"
            )

    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(float(logs["loss"]))
        if self._check(epoch + 1, float(logs["loss"])) and self.stop_at_conflict:
            self.model.stop_training = True

    def _check(self, number: int, loss: float) -> bool:
        """Measures all taps; whether the last block conflicts."""
        found = self._measure(self._images, self._labels)
        self.alive()
        self.checks.append(number)
        for tap, bundles in found.items():
            self.entropies.setdefault(tap, []).append(bundles.entropy)
        last_block = list(found)[-1].split("/")[0]
        last = max(b.entropy for tap, b in found.items() if tap.split("/")[0] == last_block)
        conflicts = sum(bundles.entropy > 0 for bundles in found.values())
        self.show(
            f"  check {number}/{self._total}: H of the last block {last:.4f}, "
            f"{conflicts} of {len(found)} taps conflict"
            + ("" if math.isnan(loss) else f", loss {loss:.4f}")
        )
        return last > 0


def _accuracy(model: BlockNetwork, material: Material) -> float:
    batches = datasets.evaluation_batches(
        material.data.validation,
        material.preprocessing,
        batch_size=material.recipe.config.batch_size,
    )
    batches = material.recipe.as_inputs_and_targets(
        batches, model, material.num_classes, training=False
    )
    accuracy = model.evaluate(batches, verbose=0, return_dict=True)["accuracy"]
    if not all(np.isfinite(weight).all() for weight in model.get_weights()):
        raise UsageError("Expected finite weights. Received: NaN; lower --learning_rate")
    return float(accuracy)
