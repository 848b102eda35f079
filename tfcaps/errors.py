"""The errors that a user, and not a programmer, is meant to read, and a check for everybody."""

from typing import Any

_LONGEST = 2000  # characters of a sentence


class UsageError(ValueError):
    r"""A wrong input: one sentence that names the value and says what is allowed.

    Programs print it without a stack trace and end with exit code 1. Line breaks, control
    characters and the middle of a long value, which may stand in what is received, are not shown as
    they are.

    >>> print(UsageError("Expected a name. Received: a\nb"))
    Expected a name. Received: a\nb
    """

    def __str__(self) -> str:
        sentence = super().__str__()
        if len(sentence) > _LONGEST:
            half = _LONGEST // 2
            sentence = f"{sentence[:half]} … {sentence[-half:]}"
        if sentence.isprintable():
            return sentence
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in sentence)


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
