"""Names of routings."""

import keras

from tfcaps.errors import UsageError

_ROUTINGS: dict[str, type] = {}


def register(name: str):
    """Class decorator: makes a routing known under a short name and to Keras' serialisation."""

    def decorate(cls):
        _ROUTINGS[name] = cls
        return keras.saving.register_keras_serializable(package="tfcaps")(cls)

    return decorate


def names() -> tuple[str, ...]:
    """The short names that `get` takes."""
    return tuple(sorted(_ROUTINGS))


def get(identifier):
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
    from tfcaps.routing.routing import Routing

    if isinstance(identifier, Routing):
        return identifier
    if isinstance(identifier, dict) and "class_name" in identifier:
        return keras.saving.deserialize_keras_object(identifier)
    if isinstance(identifier, dict) and "name" in identifier:
        arguments = dict(identifier)
        return _class_of(arguments.pop("name"))(**arguments)
    return _class_of(identifier)()


def _class_of(name) -> type:
    if not isinstance(name, str) or name not in _ROUTINGS:
        raise UsageError(f"Expected a routing, one of {', '.join(names())}. Received: {name!r}")
    return _ROUTINGS[name]


def serialize(routing) -> dict:
    """The configuration of a routing, which `get` takes."""
    return keras.saving.serialize_keras_object(routing)
