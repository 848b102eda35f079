"""One attempt of a search: a network is trained for a few epochs and measured after each."""

import dataclasses
import math
import time
from collections.abc import Callable

import keras
import numpy as np

from nas.material import Material
from tfcaps import datasets
from tfcaps.errors import UsageError
from tfcaps.metrics import BundleEntropy
from tfcaps.models.block_network import BlockNetwork


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What an attempt came to.

    Args:
        checks: numbers of the epochs after which there was a check; 0: before the first step.
        entropies: H of each tap at each check.
        bundles: number of bundles of each tap at each check.
        losses: mean training loss of each epoch that there was.
        accuracy: on the validation split, at the end.
        seconds: of it all.
    """

    checks: tuple[int, ...]
    entropies: dict[str, tuple[float, ...]]
    bundles: dict[str, tuple[int, ...]]
    losses: tuple[float, ...]
    accuracy: float
    seconds: float


def make_attempt(
    model: BlockNetwork,
    material: Material,
    *,
    first_epoch: int = 0,
    check_before: bool = False,
    stop_at_conflict: bool = False,
    show: Callable[[str], None] = print,
) -> Outcome:
    """Trains a network and measures the bundle entropy of all blocks after each epoch.

    Args:
        model: compiled.
        material: what it learns from.
        first_epoch: number of the first epoch, which decides about the order of the examples.
            Default 0.
        check_before: whether there is a check before the first step, too. Default False.
        stop_at_conflict: whether a conflict at the last block is the end of it. Default False.
        show: gets a line about each check. Default: prints it.

    Raises:
        UsageError: a loss, a weight or an activation is not finite; the message names it.
    """
    started = time.monotonic()
    checks = _Checks(model, material, stop_at_conflict=stop_at_conflict, show=show)
    if not (check_before and checks.conflicts(0)):
        _fit(model, material, first_epoch, checks)
    if not all(np.isfinite(weight).all() for weight in model.get_weights()):
        raise UsageError(
            "Expected finite weights. Received: NaN or infinity; lower --learning_rate"
        )
    return Outcome(
        checks=tuple(checks.numbers),
        entropies={tap: tuple(b.entropy for b in found) for tap, found in checks.found.items()},
        bundles={tap: tuple(b.number for b in found) for tap, found in checks.found.items()},
        losses=tuple(checks.losses),
        accuracy=_validation_accuracy(model, material),
        seconds=time.monotonic() - started,
    )


def _fit(model, material, first_epoch, checks):
    size, batch_size = len(material.data.train), material.recipe.config.batch_size
    batches = datasets.training_batches(
        material.data.train,
        material.preprocessing,
        batch_size=batch_size,
        seed=material.seed,
        epochs=range(first_epoch, first_epoch + material.epochs),
        steps_per_epoch=material.steps_per_epoch,
    )
    model.fit(
        material.recipe.as_inputs_and_targets(batches, model, material.num_classes, training=True),
        epochs=material.epochs,
        steps_per_epoch=datasets.epoch_steps(size, batch_size, material.steps_per_epoch),
        shuffle=False,  # the batches are shuffled already, in a way that can be repeated
        verbose=0,
        callbacks=[checks],
    )


def _validation_accuracy(model, material) -> float:
    batches = datasets.evaluation_batches(
        material.data.validation,
        material.preprocessing,
        batch_size=material.recipe.config.batch_size,
    )
    batches = material.recipe.as_inputs_and_targets(
        batches, model, material.num_classes, training=False
    )
    return float(model.evaluate(batches, verbose=0, return_dict=True)["accuracy"])


class _Checks(keras.callbacks.Callback):
    """Measures bundle entropy after each epoch, and ends the training at a conflict."""

    def __init__(self, model, material, *, stop_at_conflict, show):
        super().__init__()
        self.numbers, self.losses = [], []
        self.found = {}
        self._network = model
        self._stop_at_conflict = stop_at_conflict
        self._show = show
        self._epochs = material.epochs
        images, _ = material.preprocessing.evaluate(material.probe.images)
        self._probe = images, material.probe.labels
        self._measure = BundleEntropy(
            model,
            batch_size=material.recipe.config.batch_size,
            num_classes=material.num_classes,
        )

    def conflicts(self, number: int) -> bool:
        """Makes a check, and says whether the last block conflicts and that is the end."""
        found = self._measure(*self._probe)
        self.numbers.append(number)
        for tap, bundles in found.items():
            self.found.setdefault(tap, []).append(bundles)
        last_block = self._network.block_names[-1]
        entropy = max(b.entropy for tap, b in found.items() if tap.split("/")[0] == last_block)
        conflicting = sum(bundles.entropy > 0 for bundles in found.values())
        self._show(
            f"  epoch {number}/{self._epochs}: H of the last block {entropy:.4f}, "
            f"{conflicting} of {len(found)} outputs conflict"
            + (f", loss {self.losses[-1]:.4f}" if self.losses else "")
        )
        return entropy > 0 and self._stop_at_conflict

    def on_train_batch_end(self, batch, logs=None):
        if not math.isfinite(logs["loss"]):
            raise UsageError(
                f"Expected a finite loss. Received: {float(logs['loss'])} "
                f"in epoch {len(self.losses) + 1}; lower --learning_rate"
            )

    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(float(logs["loss"]))
        if self.conflicts(epoch + 1):
            self.model.stop_training = True
