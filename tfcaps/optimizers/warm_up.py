"""A learning rate that grows from little to what it is to be."""

import keras
from keras import ops

from tfcaps.errors import UsageError


@keras.saving.register_keras_serializable(package="tfcaps")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up of any learning rate.

    In step s = 0, 1, … of a training, where η(s) is the learning rate without warm-up and W the
    number of steps that it takes,

        min(1, (s + 1) / (W + 1)) · η(s)

    so that no step is without effect, and step W is the first one at the full rate.

    Args:
        rate: η, a float or a schedule.
        steps: W, at least 0.

    Call arguments:
        step: s, the number of steps before this one.

    Raises:
        ValueError: `steps` is out of its range.

    Example:

    >>> rate = WarmUp(0.8, steps=3)
    >>> [round(float(rate(step)), 4) for step in range(5)]
    [0.2, 0.4, 0.6, 0.8, 0.8]

    Source: Goyal et al., Accurate, large minibatch SGD, arXiv 1706.02677.
    """

    def __init__(self, rate, steps):
        if steps < 0:
            raise UsageError(f"Expected steps >= 0. Received: {steps}")
        self.rate = rate
        self.steps = steps

    def __call__(self, step):
        full = ops.convert_to_tensor(self.rate(step) if callable(self.rate) else self.rate)
        done = (ops.cast(step, full.dtype) + 1.0) / (self.steps + 1.0)
        return full * ops.minimum(done, 1.0)

    def get_config(self):
        is_schedule = isinstance(self.rate, keras.optimizers.schedules.LearningRateSchedule)
        rate = keras.saving.serialize_keras_object(self.rate) if is_schedule else self.rate
        return {"rate": rate, "steps": self.steps}

    @classmethod
    def from_config(cls, config):
        if isinstance(config["rate"], dict):
            config = {**config, "rate": keras.saving.deserialize_keras_object(config["rate"])}
        return cls(**config)
