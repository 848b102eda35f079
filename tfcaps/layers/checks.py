"""Checks of constructor arguments that several layers share."""

from tfcaps.errors import UsageError, positive_int as positive_int


def rank(name: str, shape, *, expected: str) -> None:
    """Raises a ValueError unless `shape` has as many axes as `expected` names, e.g. "(B, I, D)"."""
    if len(shape) != expected.count(",") + 1:
        raise UsageError(f"Expected {name} of shape {expected}. Received: {tuple(shape)}")
