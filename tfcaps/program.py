"""What all programs share: wrong input ends them with one sentence, not with a stack trace."""

import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from tfcaps.errors import UsageError

_EXIT_USAGE = 1
_EXIT_INTERRUPTED = 130  # the shells' code for Ctrl-C
_DISK_ERRORS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP),
)
# What absl takes as the value of a boolean.
_BOOLEANS = ("true", "t", "1", "false", "f", "0")


def run(main: Callable[[list[str]], None]) -> None:
    """Parses the flags, calls `main` and ends the process.

    Exit codes: 0; 1 for wrong input or files that can't be written; 130 after Ctrl-C.
    """

    def guarded(argv: list[str]) -> None:
        if len(argv) > 1:
            _end(f"Expected flags only. Received: {argv[1]}", _EXIT_USAGE)
        logging.set_verbosity(logging.WARNING)  # TensorFlow tells about each file it writes
        _insist_on_interrupts()
        try:
            main(argv)
        except UsageError as error:
            _end(str(error), _EXIT_USAGE)
        except KeyboardInterrupt:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            _end("Stopped. What was finished is saved; --resume goes on.", _EXIT_INTERRUPTED)
        except OSError as error:
            if error.errno not in _DISK_ERRORS:
                raise
            where = f" {error.filename}" if error.filename else ""
            # Not the error's own words: those of HDF5 fill lines with addresses and offsets.
            reason = os.strerror(error.errno)
            _end(f"Cannot write{where}: {reason}; what was written before is intact", _EXIT_USAGE)

    app.run(guarded, argv=_with_joined_booleans(sys.argv))


def _insist_on_interrupts() -> None:
    """Repeats Ctrl-C each second until it is heard.

    Python drops an exception that falls into a destructor or a callback from foreign code.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return  # a shell that starts a program in the background has it ignore Ctrl-C

    def interrupt(_signal, _frame):
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGALRM, interrupt)


def _with_joined_booleans(argv: Sequence[str]) -> list[str]:
    """Makes `--flag=True` of `--flag True`, which absl takes for other kinds of flags only."""
    joined = [*argv[:1]]
    for argument in argv[1:]:
        name = joined[-1].lstrip("-")
        is_value = (
            len(joined) > 1
            and joined[-1].startswith("-")
            and name in flags.FLAGS
            and flags.FLAGS[name].boolean
            and argument.lower() in _BOOLEANS
        )
        if is_value:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _end(message: str, code: int) -> None:
    print(f"\n{message}", file=sys.stderr)
    sys.exit(code)
