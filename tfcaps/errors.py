"""The one error that a user, and not a programmer, is meant to read."""


class UsageError(ValueError):
    """A wrong input: one sentence that names the value and says what is allowed.

    Programs print it without a stack trace and end with exit code 1.
    """
