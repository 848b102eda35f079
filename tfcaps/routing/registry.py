"""Names of routings."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tfcaps.registry import Registry

if TYPE_CHECKING:
    from tfcaps.routing.routing import Routing

_ROUTINGS = Registry("a routing", "tfcaps.routing")


def register(name: str) -> Callable[[type], type]:
    """Class decorator: makes a routing known under a short name and to Keras' serialisation."""

    def decorate(cls):
        import keras

        return keras.saving.register_keras_serializable(package="tfcaps")(
            _ROUTINGS.register(name)(cls)
        )

    return decorate


def names() -> tuple[str, ...]:
    """The short names that `get` takes, in alphabetical order."""
    return tuple(sorted(_ROUTINGS.names()))


def get(identifier: Any) -> "Routing":
    """Gives the routing that a name, a configuration or an instance stands for.

    Args:
        identifier: a name such as `"em"`; a dict, either as `keras.saving.serialize_keras_object`
            makes it or `{"name": "em", ...arguments}`; or a routing, which is returned as it is.

    Returns:
        A `tfcaps.routing.Routing`.

    Raises:
        ValueError: the name is unknown, or `identifier` is of another type.

    Example:

    >>> get({"name": "em", "iterations": 3}).iterations
    3
    """
    import keras

    from tfcaps.routing.routing import Routing

    if isinstance(identifier, Routing):
        return identifier
    if isinstance(identifier, dict) and "class_name" in identifier:
        return keras.saving.deserialize_keras_object(identifier)
    if isinstance(identifier, dict) and "name" in identifier:
        arguments = dict(identifier)
        return _ROUTINGS.get(arguments.pop("name"))(**arguments)
    return _ROUTINGS.get(identifier)()


def serialize(routing: "Routing") -> dict[str, Any]:
    """The configuration of a routing, which `get` takes."""
    import keras

    return keras.saving.serialize_keras_object(routing)
