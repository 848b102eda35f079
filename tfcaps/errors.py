"""The errors that a user, and not a programmer, is meant to read, and a check for everybody."""

from typing import Any


class UsageError(ValueError):
    """A wrong input: one sentence that names the value and says what is allowed.

    Programs print it without a stack trace and end with exit code 1.
    """


class NotFiniteError(UsageError):
    """Numbers of a training that don't stay finite: it is over, and whoever has others goes on."""


def positive_int(name: str, value: Any) -> int:
    """A value as an int.

    Args:
        name: the argument's, for the message.
        value: what was given for it: an int, or NumPy's.

    Raises:
        UsageError: it is none, or less than 1.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < 1:
        raise UsageError(f"Expected {name} to be a positive integer. Received: {value!r}")
    return int(value)
