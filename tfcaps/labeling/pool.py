"""The store of a labeling: every decision and every lease, in one file that only grows."""

import contextlib
import dataclasses
import itertools
import os
import pathlib
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tfcaps.errors import UsageError

LABEL = "label"
SKIP = "skip"
CANT_TELL = "cant_tell"
UNDO = "undo"
_KINDS = (LABEL, SKIP, CANT_TELL, UNDO)
LEASE_SECONDS = 60.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS images (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS decisions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    click TEXT NOT NULL UNIQUE,
    image INTEGER REFERENCES images (id),
    kind TEXT NOT NULL,
    label TEXT,
    undone TEXT,
    by TEXT NOT NULL,
    is_random INTEGER NOT NULL,
    seconds REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS leases (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    image INTEGER NOT NULL REFERENCES images (id),
    by TEXT NOT NULL,
    expires REAL NOT NULL
);
"""


@dataclasses.dataclass(frozen=True)
class Click:
    """One decision of a person.

    Args:
        identity: of the click; the same one sent again changes nothing.
        kind: `label`, `skip`, `cant_tell` or `undo`, which takes back the newest decision of `by`
            that is left.
        by: who decided: a tab.
        image: which one it is about; of `undo`: none.
        label: the class; of `label` only.
        is_random: whether the image was drawn, and not chosen for what a model thinks of it.
    """

    identity: str
    kind: str
    by: str
    image: int | None = None
    label: str | None = None
    is_random: bool = False


class Pool:
    """Which image has which label, and who is looking at which one.

    All is in one SQLite file to which rows are only added (write-ahead log, full synchronisation):
    once `record` has returned, a decision outlives the end of the process and of the power. What
    is asked for often is kept in memory, so one process at a time uses a pool.

    Args:
        path: of the file; it is made if need be.
        names: the images, by which they are known. Those of earlier calls keep their numbers, and
            those that are gone keep their labels, but aren't handed out.
        classes: what an image may be.

    Raises:
        UsageError: the file is no pool, or lies where nothing can be written.

    Example:

    >>> pool = Pool(":memory:", ["a.png", "b.png"], ["cat", "dog"])
    >>> pool.lease("tab-1", 1, order=[1, 0])
    [1]
    >>> pool.record([Click("x-1", "label", "tab-1", image=1, label="dog")])
    [1]
    >>> pool.labels()
    {1: 'dog'}
    """

    def __init__(self, path: str | os.PathLike, names: Sequence[str], classes: Sequence[str]):
        self.path = path
        self.classes = tuple(classes)
        try:
            # One writer at a time: whoever has the server's lock.
            self._database = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=5.0
            )
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.executescript(_SCHEMA)
            with self._transaction():
                self._database.executemany(
                    "INSERT OR IGNORE INTO images (name) VALUES (?)", [(name,) for name in names]
                )
        except sqlite3.DatabaseError as error:
            raise UsageError(
                f"Expected a pool of labels that can be written. Received: {path}, {error}"
            ) from None
        rows = self._database.execute("SELECT id - 1, name FROM images ORDER BY id")
        self.names: dict[int, str] = dict(rows)
        present = set(names)
        self.present = {image for image, name in self.names.items() if name in present}
        self._decided: dict[int, Click] = {}
        self._history: dict[int, list[Click]] = {}
        self._clicks: dict[str, int | None] = {}
        self._standing: dict[str, list[Click]] = {}
        self._replay()

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def record(self, clicks: Iterable[Click]) -> list[int | None]:
        """Makes decisions last, all of them in one transaction, and then tells what they are about.

        Args:
            clicks: in their order.

        Returns:
            For each click the image that it is about; None of an `undo` with nothing to take back.

        Raises:
            UsageError: a click is none; none of them is kept.
            OSError: the disk is full; none of them is kept, and they may be sent again.
        """
        clicks = list(clicks)
        for click in clicks:
            self._check(click)
        rows, later = [], _Later(self)
        for click in clicks:
            if click.identity in self._clicks or click.identity in later.clicks:
                continue
            undone = later.newest(click.by) if click.kind == UNDO else None
            image = undone.image if undone else click.image
            rows.append(
                (
                    *(click.identity, None if image is None else image + 1, click.kind),
                    *(click.label, undone and undone.identity, click.by),
                    *(int(click.is_random), time.time()),
                )
            )
            later.add(click, undone)
        try:
            with self._transaction():
                self._database.executemany(
                    "INSERT INTO decisions (click, image, kind, label, undone, by, is_random, "
                    "seconds) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    rows,
                )
        except sqlite3.OperationalError as error:
            raise OSError(f"{self.path}: {error}") from None
        for click, undone in later.added:
            self._apply(click, undone)
        return [self._clicks[click.identity] for click in clicks]

    def lease(
        self, by: str, count: int, order: Iterable[int], *, seconds: float = LEASE_SECONDS
    ) -> list[int]:
        """Hands images out that nobody else gets until they are decided or the time is over.

        Args:
            by: who gets them.
            count: how many at most.
            order: images, those that should come first at the beginning.
            seconds: how long they are kept. Default 60.

        Raises:
            OSError: the disk is full.
        """
        free = (int(image) for image in order if self.is_free(image, by))
        found = list(itertools.islice(free, count))
        self._keep(by, found, time.time() + seconds)
        return found

    def is_free(self, image: int, by: str) -> bool:
        """Whether an image is there, undecided, and nobody else has it."""
        if image not in self.present or image in self._decided:
            return False
        holder, expires = self._leases.get(image, ("", 0.0))
        return holder == by or expires <= time.time()

    def renew(self, by: str, images: Iterable[int], *, seconds: float = LEASE_SECONDS) -> list[int]:
        """Keeps images for whoever has them; gives those that somebody else has got meanwhile."""
        now, kept, lost = time.time(), [], []
        for image in images:
            holder, expires = self._leases.get(image, ("", 0.0))
            is_lost = holder != by and (expires > now or image in self._decided)
            (lost if is_lost else kept).append(image)
        self._keep(by, kept, now + seconds)
        return lost

    def labels(self, *, drawn: bool = False) -> dict[int, str]:
        """The label of each image that has one; `drawn`: of those alone that were drawn."""
        return {
            image: str(click.label)
            for image, click in self._decided.items()
            if click.kind == LABEL and (click.is_random or not drawn)
        }

    def open(self) -> list[int]:
        """The images that are there and wait for a decision, by number."""
        return sorted(self.present - self._decided.keys())

    def counts(self) -> dict[str, int]:
        """How many images are labelled, skipped, can't be told, and open."""
        kinds = [click.kind for click in self._decided.values()]
        return {
            **{kind: kinds.count(kind) for kind in (LABEL, SKIP, CANT_TELL)},
            "open": len(self.present - self._decided.keys()),
        }

    def decision(self, image: int) -> Click | None:
        """What was decided of an image; None: nothing."""
        return self._decided.get(image)

    def log(self) -> list[Mapping[str, object]]:
        """All decisions in their order, undone ones too."""
        cursor = self._database.execute(
            "SELECT decisions.number, click, images.name AS image, kind, label, undone, by, "
            "is_random, seconds FROM decisions LEFT JOIN images ON images.id = image "
            "ORDER BY decisions.number"
        )
        columns = [column for column, *_ in cursor.description]
        return [dict(zip(columns, row, strict=True)) for row in cursor]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    def _check(self, click: Click) -> None:
        if click.kind not in _KINDS:
            raise UsageError(
                f"Expected a decision among {', '.join(_KINDS)}. Received: {click.kind}"
            )
        if click.kind == UNDO:
            return
        if click.image not in self.names:
            raise UsageError(f"Expected an image of this pool. Received: {click.image}")
        if click.kind != LABEL and click.label is not None:
            raise UsageError(f"Expected {click.kind} without a label. Received: {click.label}")
        if click.kind == LABEL and click.label not in self.classes:
            raise UsageError(
                f"Expected a label among {', '.join(self.classes)}. Received: {click.label}"
            )

    def _keep(self, by: str, images: Sequence[int], expires: float) -> None:
        if not images:
            return
        try:
            with self._transaction():
                self._database.executemany(
                    "INSERT INTO leases (image, by, expires) VALUES (?, ?, ?)",
                    [(image + 1, by, expires) for image in images],
                )
        except sqlite3.OperationalError as error:
            raise OSError(f"{self.path}: {error}") from None
        self._leases.update(dict.fromkeys(images, (by, expires)))

    def _replay(self) -> None:
        """Brings memory to where the file is."""
        known: dict[str, Click] = {}
        rows = self._database.execute(
            "SELECT click, kind, by, image - 1, label, is_random, undone FROM decisions "
            "ORDER BY number"
        )
        for identity, kind, by, image, label, is_random, undone in rows:
            click = Click(identity, kind, by, image, label, bool(is_random))
            known[click.identity] = click
            self._apply(click, known.get(undone))
        rows = self._database.execute("SELECT image - 1, by, expires FROM leases ORDER BY number")
        self._leases = {image: (by, expires) for image, by, expires in rows}

    def _apply(self, click: Click, undone: Click | None) -> None:
        if click.kind != UNDO:
            self._clicks[click.identity] = click.image
            self._standing.setdefault(click.by, []).append(click)
            self._history.setdefault(int(click.image or 0), []).append(click)
            self._decided[int(click.image or 0)] = click
            return
        self._clicks[click.identity] = None if undone is None else undone.image
        if undone is None:
            return
        self._standing[undone.by].remove(undone)
        image = int(undone.image or 0)
        self._history[image].remove(undone)
        # What was decided of it before counts again: a label that was corrected by mistake.
        if self._history[image]:
            self._decided[image] = self._history[image][-1]
        else:
            del self._decided[image]


class _Later:
    """What a pool will be after clicks that aren't written yet."""

    def __init__(self, pool: Pool):
        self._pool = pool
        self._standing: dict[str, list[Click]] = {}
        self.added: list[tuple[Click, Click | None]] = []

    @property
    def clicks(self) -> set[str]:
        return {click.identity for click, _ in self.added}

    def newest(self, by: str) -> Click | None:
        standing = self._of(by)
        return standing[-1] if standing else None

    def add(self, click: Click, undone: Click | None) -> None:
        self.added.append((click, undone))
        if click.kind != UNDO:
            self._of(click.by).append(click)
        elif undone is not None:
            self._of(click.by).remove(undone)

    def _of(self, by: str) -> list[Click]:
        if by not in self._standing:
            self._standing[by] = list(self._pool._standing.get(by, ()))
        return self._standing[by]


def pool_file(folder: str | os.PathLike) -> pathlib.Path:
    """Where the pool of a labeling's folder lies."""
    return pathlib.Path(folder) / "pool.sqlite"
