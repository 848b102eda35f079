"""The fast recipe: how a convolutional network is trained in little time, whatever its head."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

NAMES = ("paper", "fast")
# What isn't given: crops and flips, one cycle of the learning rate, bfloat16 where there is any.
FAST: dict[str, Any] = {
    "augmentation": "fast",
    "batch_size": 256,
    "epochs": 20,
    "precision": "auto",
    "schedule": "one_cycle",
}
# The rate grows with the batch, so that an epoch goes as far.
_RATE_PER_EXAMPLE = 0.1 / 128
_MOMENTUM, _WEIGHT_DECAY = 0.9, 5e-4


def fast_learning_rate(batch_size: int) -> float:
    """The highest rate of the cycle: 0.1 for 128 examples of a batch."""
    return _RATE_PER_EXAMPLE * batch_size


def fast_optimizer(learning_rate: float) -> "keras.optimizers.Optimizer":
    """Nesterov's momentum of 0.9, with a weight decay of 5e-4."""
    import keras

    return keras.optimizers.SGD(learning_rate, _MOMENTUM, nesterov=True, weight_decay=_WEIGHT_DECAY)
