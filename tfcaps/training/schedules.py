"""The learning rate over a training."""

import json
from typing import Any

import keras
from keras.optimizers import schedules

from tfcaps import optimizers
from tfcaps.training.configuration import RunConfig

# Where the one cycle begins and ends, as shares of the largest rate.
_CYCLE_START, _CYCLE_END = 1 / 25, 1 / 250_000


def callbacks(config: RunConfig, steps: int) -> list[keras.callbacks.Callback]:
    """What sets the learning rate: a function of the number of epochs, or steps, alone.

    So a resumed run has the same.

    Args:
        config: what is asked for.
        steps: of an epoch.
    """
    warm_up = _warm_up_steps(config, steps)
    if config.schedule in ("constant", "exponential") and not warm_up:
        return _per_epoch(config)
    return [_RatePerStep(_schedule(config, steps, warm_up))]


def identity(config: RunConfig, steps: int) -> str:
    """What a compiled step knows of the schedule: two of equal identity have the same rates.

    Args:
        config: what is asked for.
        steps: of an epoch.
    """
    # Other callbacks give the rate to the step, epoch by epoch.
    in_step = [each for each in callbacks(config, steps) if isinstance(each, _RatePerStep)]
    known = [keras.saving.serialize_keras_object(each.schedule) for each in in_step]
    return json.dumps([config.learning_rate, known])


class _RatePerStep(keras.callbacks.Callback):
    """Gives the optimizer a schedule, and adds the last step's `learning_rate` to the logs.

    The schedule is a part of the optimizer then, whose number of steps is in each checkpoint.

    Args:
        schedule: from the number of steps that were done to the learning rate.
    """

    def __init__(self, schedule: schedules.LearningRateSchedule):
        super().__init__()
        self.schedule = schedule

    def on_train_begin(self, logs=None):
        self.model.optimizer.learning_rate = self.schedule

    def on_epoch_end(self, epoch, logs=None):
        # A sum is a tensor of one device; a variable that is mirrored is no number. While a loss
        # scale is looked for, steps are left out, perhaps all that there were.
        last = keras.ops.maximum(keras.ops.add(self.model.optimizer.iterations, -1), 0)
        logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.schedule(last)))


def _per_epoch(config: RunConfig) -> list[keras.callbacks.Callback]:
    if config.learning_rate_decay == 1:
        return []
    return [
        keras.callbacks.LearningRateScheduler(
            lambda epoch: config.learning_rate * config.learning_rate_decay**epoch
        )
    ]


def _warm_up_steps(config: RunConfig, steps: int) -> int:
    """At least the last step of all is at the full rate."""
    return min(round(config.warm_up * steps), config.epochs * steps - 1)


def _schedule(config: RunConfig, steps: int, warm_up: int) -> schedules.LearningRateSchedule:
    rate, falling = config.learning_rate, config.epochs * steps - warm_up
    rising: dict[str, Any] = {"warmup_target": rate, "warmup_steps": warm_up} if warm_up else {}
    if config.schedule == "cosine":
        # As `WarmUp` begins, which Keras' own warm-up then is.
        return schedules.CosineDecay(rate / (warm_up + 1), falling, **rising)
    if config.schedule == "one_cycle":
        start = rate * _CYCLE_START if warm_up else rate
        return schedules.CosineDecay(start, falling, alpha=_CYCLE_END, **rising)
    if config.schedule == "linear":
        decaying = schedules.PolynomialDecay(rate, config.epochs * steps, 0.0)
        return optimizers.WarmUp(decaying, warm_up)
    decayed = schedules.ExponentialDecay(rate, steps, config.learning_rate_decay, staircase=True)
    return optimizers.WarmUp(decayed, warm_up)
