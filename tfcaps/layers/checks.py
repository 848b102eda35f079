"""Checks of constructor arguments that several layers share."""

from tfcaps.errors import UsageError


def renamed(config: dict, former_names: dict[str, str]) -> dict:
    """A layer's configuration with the names that its arguments have now."""
    return {former_names.get(name, name): value for name, value in config.items()}


def rank(name: str, shape, *, expected: str) -> None:
    """Raises a ValueError unless `shape` has as many axes as `expected` names, e.g. "(B, I, D)"."""
    if len(shape) != expected.count(",") + 1:
        raise UsageError(f"Expected {name} of shape {expected}. Received: {tuple(shape)}")
