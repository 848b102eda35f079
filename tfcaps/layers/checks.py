"""Checks of constructor arguments that several layers share."""

from tfcaps.errors import UsageError


def renamed(config: dict, former_names: dict[str, str]) -> dict:
    """A layer's configuration with the names that its arguments have now."""
    return {former_names.get(name, name): value for name, value in config.items()}


def rank(name: str, shape, *, expected: str) -> None:
    """Raises a UsageError unless a shape has as many axes as it is expected to have.

    Args:
        name: what has the shape, for the message.
        shape: a shape.
        expected: the axes by their names, e.g. "(B, I, D)"; or several such, with " or " between.
    """
    if len(shape) not in [axes.count(",") + 1 for axes in expected.split(" or ")]:
        raise UsageError(f"Expected {name} of shape {expected}. Received: {tuple(shape)}")
