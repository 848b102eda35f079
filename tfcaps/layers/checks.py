"""Checks of constructor arguments that several layers share."""

from tfcaps.errors import UsageError


def positive_int(name: str, value) -> int:
    """Returns `value` as an int, or raises a ValueError that names the argument."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < 1:
        raise UsageError(f"Expected {name} to be a positive integer. Received: {value!r}")
    return int(value)


def renamed(config: dict, former_names: dict[str, str]) -> dict:
    """A layer's configuration with the names that its arguments have now."""
    return {former_names.get(name, name): value for name, value in config.items()}


def rank(name: str, shape, *, expected: str) -> None:
    """Raises a ValueError unless `shape` has as many axes as `expected` names, e.g. "(B, I, D)"."""
    if len(shape) != expected.count(",") + 1:
        raise UsageError(f"Expected {name} of shape {expected}. Received: {tuple(shape)}")
