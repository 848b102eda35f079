"""Disks that are full, read-only or forbidden, for a block or a whole process."""

import contextlib
import errno
import os
import pathlib
import resource
import sys
from collections.abc import Iterator

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
# Folder and number of the error that whatever writes below it ends in; one at a time.
_refused: list[tuple[str, int]] = []
_is_watching = False


@contextlib.contextmanager
def full() -> Iterator[None]:
    """No file can become longer: what foreign libraries write fails, too, as EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # Python ignores the signal
    try:
        # What a test prints goes to a file.
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def refusing(folder: str | os.PathLike, number: int) -> Iterator[None]:
    """Whatever Python writes below a folder ends in an error, as EROFS or EACCES."""
    refuse(folder, number)
    try:
        yield
    finally:
        _refused.clear()


def refuse(folder: str | os.PathLike, number: int) -> None:
    """The same until the process ends. Foreign libraries aren't asked."""
    global _is_watching
    _refused[:] = [(os.fspath(folder), number)]
    if not _is_watching:
        sys.addaudithook(_refuse)
        _is_watching = True


def _refuse(event: str, arguments: tuple) -> None:
    if not _refused:
        return
    folder, number = _refused[0]
    if event == "open":
        path, mode, flags = arguments
        writes = bool(flags & _WRITING) or (isinstance(mode, str) and set(mode) & set("wax+"))
    else:
        path, writes = arguments[0] if arguments else None, event in ("os.mkdir", "os.rename")
    if writes and isinstance(path, (str, os.PathLike)):
        is_new = event == "os.mkdir" and os.path.isdir(path)  # the system says that it exists
        if folder in (os.fspath(path), *map(str, pathlib.Path(path).parents)) and not is_new:
            raise OSError(number, os.strerror(number), os.fspath(path))


READ_ONLY, FORBIDDEN = errno.EROFS, errno.EACCES
