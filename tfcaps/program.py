"""What all programs share: wrong input ends them with one sentence, not with a stack trace."""

import errno
import sys
from collections.abc import Callable

from absl import app, logging

from tfcaps.errors import UsageError

_EXIT_USAGE = 1
_EXIT_INTERRUPTED = 130  # the shells' code for Ctrl-C
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


def run(main: Callable[[list[str]], None]) -> None:
    """Parses the flags, calls `main` and ends the process.

    Exit codes: 0; 1 for wrong input or files that can't be written; 130 after Ctrl-C.
    """

    def guarded(argv: list[str]) -> None:
        if len(argv) > 1:
            _end(f"Expected flags only. Received: {argv[1]}", _EXIT_USAGE)
        logging.set_verbosity(logging.WARNING)  # TensorFlow tells about each file it writes
        try:
            main(argv)
        except UsageError as error:
            _end(str(error), _EXIT_USAGE)
        except KeyboardInterrupt:
            _end("Stopped. What was finished is saved; --resume goes on.", _EXIT_INTERRUPTED)
        except OSError as error:
            if error.errno not in _DISK_ERRORS:
                raise
            where = f" {error.filename}" if error.filename else ""
            _end(
                f"Cannot write{where}: {error.strerror}; what was written before is intact",
                _EXIT_USAGE,
            )

    app.run(guarded)


def _end(message: str, code: int) -> None:
    print(f"\n{message}", file=sys.stderr)
    sys.exit(code)
