"""Files that are whole or not there, and folders of work that can be gone on with.

A file is written beside its place and renamed into it, so that nothing already written is ever
lost. `WorkFolder` is what trainings, searches, experiments and studies have in common: what the
work was made with, whether it may be gone on with, and that one process at a time does it.
"""

import contextlib
import csv
import dataclasses
import errno
import fcntl
import io
import json
import os
import pathlib
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfcaps.errors import UsageError
from tfcaps.options import WorkOptions, fields, flag, of

if TYPE_CHECKING:
    import numpy as np

_PREFIX = ".writing-"
_LOCK = ".lock"
# A killed process' children need a moment to end, and they hold their own folders' locks.
_LOCK_SECONDS = 1.0
# What libraries say of a disk, in lower case: mostly the system's own words; SQLite has others.
_DISK_ERRORS = {
    **{
        os.strerror(number).lower(): number
        for number in (
            *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
            *(errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP),
        )
    },
    "disk is full": errno.ENOSPC,
    "readonly database": errno.EROFS,
}


@contextlib.contextmanager
def replacing(path: str | os.PathLike, *, durable: bool = True) -> Iterator[pathlib.Path]:
    """Gives a temporary name beside `path`, which replaces it when the block ends well.

    The temporary name keeps the ending, for libraries that look at it.

    Args:
        path: where the file comes to lie.
        durable: whether it has to outlive the end of the power, for which the disk is waited for.
            Default True. What can be made again at any time, and by the thousand, need not.
    """
    path = pathlib.Path(path)
    with _named(path):
        handle, name = tempfile.mkstemp(prefix=_PREFIX, suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = pathlib.Path(name)
        try:
            yield temporary
            if durable:
                with temporary.open("rb") as file:
                    os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _named(path: pathlib.Path) -> Iterator[None]:
    """Has errors name a file as the user knows it, and not what is to become it.

    A full disk names none.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None or _PREFIX in str(error.filename):
            error.filename = str(path)
        raise


@contextlib.contextmanager
def scratch_folder(parent: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Gives a new folder below another one, which is gone when the block ends."""
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent) as path:
        yield pathlib.Path(path)


@contextlib.contextmanager
def whole_folder(path: str | os.PathLike, *, replace: bool = False) -> Iterator[pathlib.Path]:
    """Gives the name of a folder to be made, which is renamed to `path` when the block ends well.

    Args:
        path: where it comes to lie.
        replace: whether a folder that is there may be replaced. Default False.
    """
    path = pathlib.Path(path)
    with _named(path), scratch_folder(path.parent) as workspace:
        new = workspace / path.name
        yield new
        if replace and path.exists():
            path.rename(workspace / "old")
        new.rename(path)


@contextlib.contextmanager
def disk_errors(path: str | os.PathLike, *errors: type[Exception]) -> Iterator[None]:
    """Makes errors of the system of those that a library has for disks, by what they say.

    Args:
        path: what is written, as the user knows it.
        *errors: those of the library, such as `tf.errors.OpError`.

    Raises:
        OSError: the block failed so. It has the path, and a number that says why.
    """
    try:
        yield
    except errors as error:
        said = str(error).lower()
        known = (number for words, number in _DISK_ERRORS.items() if words in said)
        number = next(known, errno.EIO)
        raise OSError(number, os.strerror(number), str(path)) from error


def remove_unfinished(folder: str | os.PathLike) -> None:
    """Deletes what a process that was killed was about to write, in a folder and all below it.

    Folders below it in which another process works stay as they are.
    """
    for path, folders, names in os.walk(os.fspath(folder)):
        here = pathlib.Path(path)
        for name in folders:
            if name.startswith(_PREFIX):
                shutil.rmtree(here / name)
        folders[:] = [
            name
            for name in folders
            if not name.startswith(_PREFIX) and not _is_held(here / name / _LOCK)
        ]
        for name in names:
            if name.startswith(_PREFIX):
                (here / name).unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_csv(
    path: str | os.PathLike,
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[str] | None = None,
) -> None:
    """Writes a CSV file with a header, whole or not at all.

    None is an empty cell, and booleans are written as flags have them, true and false.

    Args:
        path: where to.
        rows: values by column.
        columns: their order. Default None: as in the first row, which then has to exist.
    """
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns or rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    write_text(path, text.getvalue())


def _cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


@contextlib.contextmanager
def reading(path: str | os.PathLike) -> Iterator[None]:
    """Says of a file that may not, or can't, be read just that: nobody knows its content.

    Raises:
        UsageError: the block failed so. A file that isn't there, or whose content is wrong, is the
            block's own concern.
    """
    try:
        yield
    except OSError as error:
        # Libraries' own errors on wrong content have no number.
        if error.errno in (None, errno.ENOENT, errno.EISDIR):
            raise
        raise UsageError(f"Cannot read {path}: {os.strerror(error.errno)}") from error


def read_text(path: str | os.PathLike) -> str:
    """The content of a text file.

    Raises:
        FileNotFoundError: there is none.
        UnicodeDecodeError: it is no text.
        UsageError: it can't be read, see `reading`.
    """
    with reading(path):
        return pathlib.Path(path).read_text(encoding="utf-8")


def read_json(path: str | os.PathLike) -> Any:
    """The content of a JSON file, or None where there is none, or a damaged one.

    Raises:
        UsageError: it can't be read, see `reading`.
    """
    try:
        return _parsed(read_text(path))
    except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError, _DamagedJSONError):
        return None


class _DamagedJSONError(Exception):
    """Text that is no JSON."""


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise _DamagedJSONError from None


def read_arrays(path: str | os.PathLike, names: Sequence[str]) -> "dict[str, np.ndarray]":
    """The arrays of an NPZ file, by name; nothing in it is ever executed.

    Args:
        path: of the file.
        names: of the arrays that it has.

    Raises:
        UsageError: the file is missing, damaged, or has other arrays.
    """
    import tokenize
    import zipfile
    import zlib

    import numpy as np

    # What the readers of archives, of their parts, and of arrays' headers say of damage.
    damage = (
        *(OSError, ValueError, EOFError, AttributeError, TypeError, KeyError, RuntimeError),
        *(MemoryError, RecursionError, SyntaxError, tokenize.TokenError),
        *(struct.error, zipfile.BadZipFile, zlib.error),
    )
    try:
        with reading(path), open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            if set(stored.files) == set(names):
                return {name: stored[name] for name in names}
    except UsageError:
        raise
    except damage:
        pass
    raise UsageError(
        f"Expected a file with the arrays {', '.join(names)}. Received: {path}, which is missing "
        "or damaged; without it, it is made again"
    )


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes a JSON file, whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


class FolderInUseError(UsageError):
    """Another process works in the folder."""


@dataclasses.dataclass(frozen=True)
class Work:
    """A kind of work that has a folder.

    Args:
        noun: what it is called.
        marker: the JSON file that is written when it begins, and that marks the folder.
        to_go_on: how messages call going on with it.
        traces: patterns of what it leaves beside the marker, and no other work does.
        option: the flag that names its folder, for messages.
    """

    noun: str
    marker: str
    to_go_on: str = "to go on with it"
    traces: tuple[str, ...] = ()
    option: str = "log_dir"

    @property
    def with_article(self) -> str:
        """The noun with its article."""
        return f"{'an' if self.noun[0] in 'aeiou' else 'a'} {self.noun}"


RUN = Work("run", "run.json", "to resume it", ("checkpoints/*.keras", "metrics.csv"))
SERIES = Work("series of runs", "run-1/run.json")
PRUNING = Work("pruning", "trials/pruning.json", traces=("trials/state.json", "layer_files"))
SEARCH = Work("search", "search/search.json", traces=("search/state.json", "history.csv"))
EXPERIMENT = Work("experiment", "experiment.json", traces=("cells.csv", "parts/*.npz"))
EXPORT = Work("export", "1", option="output_dir")
EXPLANATION = Work("explanation", "explanation.json")
EVALUATION = Work("evaluation", "evaluation.json", option="output_dir")
LABELING = Work("labeling", "labeling.json")
STUDY = Work("study", "study.json", "to go on with it; without that folder a new one begins")
_WORKS = (RUN, SERIES, PRUNING, SEARCH, EXPERIMENT)  # those whose folder --log_dir names


class WorkFolder:
    """The folder of some work that can be stopped and gone on with.

    Args:
        path: the folder; it need not exist.
        work: what is done in it.
    """

    def __init__(self, path: str | os.PathLike, work: Work):
        self.path = pathlib.Path(path)
        self.work = work
        self.marker = self.path / work.marker

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes out of the folder, which is made if need be.

        The system frees the lock when the process ends, however it ends. A folder in which nothing
        was written is gone afterwards.

        Raises:
            FolderInUseError: another process works in the folder.
            UsageError: the path is a file.
        """
        self._expect_folder()
        parents = [path for path in (self.path, *self.path.parents) if not path.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:  # as in /proc, where there are no folders to be made
            raise UsageError(
                f"Expected --{self.work.option} to be a folder that can be made. "
                f"Received: {self.path} ({error.strerror})"
            ) from error
        try:
            with _lock(self.path / _LOCK, self):
                yield
        finally:
            for path in parents:
                with contextlib.suppress(OSError):  # there is something in it
                    path.rmdir()

    def check(self, options: WorkOptions) -> None:
        """Refuses a folder whose work would be overwritten, or can't be gone on with.

        Args:
            options: what is asked for.

        Raises:
            UsageError: the folder has such work already and `options.resume` is false, or it was
                begun with other options; or as `check_others`.
        """
        self.check_others()
        if not self.marker.exists():
            return
        if not options.resume:
            raise UsageError(
                f"Expected --log_dir without {self.work.with_article}, or --resume to go on with "
                f"it. Received: --log_dir={self.path}, which holds {self.work.with_article}"
            )
        self.compare(options.settled(), self.made_with(options).settled())

    def check_others(self) -> None:
        """Refuses a folder in which other work would be mixed with this.

        Raises:
            UsageError: the folder has other work, or some whose marker is lost, so that nobody
                knows what it is; or the path is a file.
        """
        self._expect_folder()
        for other in _WORKS:
            if other is not self.work and (self.path / other.marker).exists():
                raise UsageError(
                    f"Expected --log_dir without {other.with_article}. "
                    f"Received: --log_dir={self.path}, which holds {other.with_article}"
                )
        if self.marker.exists():
            return
        for work in _WORKS:
            for pattern in work.traces:
                trace = next(self.path.glob(pattern), None)
                if trace is not None:
                    raise UsageError(
                        f"Expected {work.marker} beside {trace.relative_to(self.path)}, as "
                        f"{work.with_article} has it. Received: --log_dir={self.path} without it"
                    )

    def compare(self, now: Mapping[str, Any], earlier: Mapping[str, Any]) -> None:
        """Refuses options that differ from those that the work was begun with.

        Args:
            now: what may not change, by name.
            earlier: the same as it was. What wasn't known then is as it is now.

        Raises:
            UsageError: one differs; the first one is named.
        """
        for name, value in now.items():
            before = earlier.get(name, value)
            if before != value:
                raise UsageError(
                    f"Expected {flag(name, before)}, as the {self.work.noun} in {self.path} was "
                    f"started with, {self.work.to_go_on}. Received: {flag(name, value)}"
                )

    def made_with(self, options: WorkOptions) -> WorkOptions:
        """The options that the work was begun with; what may change is as in `options`.

        Raises:
            UsageError: the marker is damaged.
        """
        stored = self.read()
        try:
            known = {
                name: stored.get(name, of(fields(options)[name]).before or value)
                for name, value in options.settled().items()
            }
            return dataclasses.replace(options, **known)
        except (UsageError, TypeError, AttributeError):
            raise self.damaged() from None

    def read(self) -> Any:
        """The content of the marker.

        Raises:
            UsageError: there is none, or it is damaged.
        """
        try:
            return _parsed(read_text(self.marker))
        except FileNotFoundError:
            raise UsageError(
                f"Expected --log_dir to be the directory of {self.work.with_article}. "
                f"Received: {self.path}, which has no {self.work.marker}"
            ) from None
        except (IsADirectoryError, UnicodeDecodeError, _DamagedJSONError):
            raise self.damaged() from None

    def damaged(self) -> UsageError:
        """The error that says so of the marker."""
        return UsageError(
            f"Expected {self.work.with_article} description. "
            f"Received: {self.marker}, which is damaged"
        )

    def begin(self, content: Mapping[str, Any], *subfolders: str | os.PathLike) -> None:
        """Makes the folders, clears up after a killed process, and writes the marker.

        Args:
            content: of the marker.
            *subfolders: relative to the folder.
        """
        for folder in (self.marker.parent, *(self.path / name for name in subfolders)):
            folder.mkdir(parents=True, exist_ok=True)
        remove_unfinished(self.path)
        write_json(self.marker, content)

    def _expect_folder(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(
                f"Expected --{self.work.option} to be a folder. Received the file: {self.path}"
            )


@contextlib.contextmanager
def _lock(path: pathlib.Path, folder: WorkFolder) -> Iterator[None]:
    """Holds the lock of a folder; the file goes with it."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while (handle := _try_lock(path)) is None:
        if time.monotonic() > deadline:
            raise FolderInUseError(
                f"Expected --{folder.work.option} without another process at work. "
                f"Received: {folder.path}, "
                f"in which another process works on {folder.work.with_article}"
            )
        time.sleep(_LOCK_SECONDS / 20)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _is_held(path: pathlib.Path) -> bool:
    """Whether somebody holds the lock of this file; there need not be one."""
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    finally:
        os.close(handle)
    return False


def _try_lock(path: pathlib.Path) -> int | None:
    """Makes and locks a file, or gives None if another process holds it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)  # no child process gets it
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held it may have deleted the file that was opened here.
        if os.fstat(handle).st_ino == os.stat(path).st_ino:
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError as error:
        print(
            f"{path.parent} is not kept from other processes: {error.strerror}.",
            file=sys.stderr,
        )
        return handle
    os.close(handle)
    return None
