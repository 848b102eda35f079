"""Names of capsule networks, and what each is made of; nothing here imports Keras."""

from collections.abc import Callable
from typing import Any

from tfcaps.registry import Registry

_NETWORKS = Registry("a capsule network", "tfcaps.models")
# What a network is made of unless its decorator says otherwise.
COMMON = {
    "layers": (32, 32, 10),
    "dimensions": (8, 8, 16),
    "routing": "rba",
    "use_prior": False,
    "use_bias": True,
    "use_reconstruction": True,
}
# What the decoder sees, and what a residual connection adds: see `models.CapsuleNetwork`.
MASKS = ("none", "label")
SKIP_KINDS = ("gated", "published")
# What only networks on a residual trunk are made of: see `models.BlockNetwork`.
TRUNK = ("blocks", "widths", "stem")


def register(name: str, **published: Any) -> Callable[[type], type]:
    """Class decorator: makes a capsule network known under a name and to Keras' serialisation.

    Args:
        name: a value of `--model`.
        **published: what it is made of where nothing else is asked for, if that isn't what is
            common to most: `layers`, `dimensions`, `routing`, `use_prior`, `use_bias`,
            `use_reconstruction`; and of a network on a residual trunk its `blocks`, `widths` and
            `stem`, which no other network takes.
    """

    def decorate(cls):
        import keras

        cls.published = {**COMMON, **published}
        return keras.saving.register_keras_serializable(package="tfcaps")(
            _NETWORKS.register(name, **published)(cls)
        )

    return decorate


def names() -> tuple[str, ...]:
    """The names that `get` takes."""
    return _NETWORKS.names()


def get(name: str) -> type[Any]:
    """The class of a name, a `CapsuleNetwork`.

    Raises:
        UsageError: no network has this name; the message lists the names that there are.
    """
    return _NETWORKS.get(name)


def published(name: str) -> dict[str, Any]:
    """What a network is made of where nothing else is asked for.

    Raises:
        KeyError: no network has this name.

    Example:

    >>> published("EfficientCapsNet")["layers"]
    (16, 10)
    """
    return {**COMMON, **_NETWORKS.known(name)}
