"""How networks are trained where nothing else is asked for; nothing here imports Keras.

`paper`, as published, differs between kinds of training, and stands with each of them. `fast`, in
few epochs, is the same for all, and stands here.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tfcaps.options import flag_value

if TYPE_CHECKING:
    import keras

NAMES = ("paper", "fast")
HELP = "How it is trained, where nothing else is asked for: as published; or in few epochs."
# What each option of this name is in the fast recipe, of the kinds of training that have it.
FAST: Mapping[str, Any] = {
    "augmentation": "fast",
    "batch_size": 256,
    "epochs": 20,
    "label_smoothing": 0.1,
    "precision": "auto",
    "schedule": "one_cycle",
}
# The rate grows with the batch, so that an epoch goes as far.
_RATE_PER_EXAMPLE = 0.1 / 128
_MOMENTUM = 0.9
# Keras takes λ η w off a weight w in each step, beside the momentum. Where λ w is a part of the
# gradient instead, as in the published recipes with λ = 5e-4, momentum takes off ten times as much.
_WEIGHT_DECAY = 5e-4 / (1 - _MOMENTUM)


def fast_rate(batch_size: int) -> float:
    """The fast recipe's learning rate, at the top of its cycle.

    Args:
        batch_size: examples of a step.

    Example:

    >>> fast_rate(256)
    0.2
    """
    return _RATE_PER_EXAMPLE * batch_size


def fast_optimizer(learning_rate: float) -> "keras.optimizers.Optimizer":
    """The fast recipe's optimizer: Nesterov's momentum of 0.9, with a weight decay of 5e-3.

    Args:
        learning_rate: its rate, which a schedule may change.
    """
    import keras

    return keras.optimizers.SGD(learning_rate, _MOMENTUM, nesterov=True, weight_decay=_WEIGHT_DECAY)


def defaults(recipes: Mapping[str, Mapping[str, Any]], name: str) -> str:
    """What recipes have where an option isn't given, for its help.

    Args:
        recipes: the options of each recipe, by name.
        name: of the option.

    Example:

    >>> defaults({"paper": {"epochs": 120}, "fast": FAST}, "epochs")
    'paper: 120; fast: 20'
    """
    return "; ".join(f"{recipe}: {flag_value(known[name])}" for recipe, known in recipes.items())
