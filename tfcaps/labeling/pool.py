"""The store of a labeling: every decision and every lease, in one file."""

import collections
import contextlib
import dataclasses
import itertools
import os
import pathlib
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import NamedTuple

from tfcaps import files
from tfcaps.errors import UsageError
from tfcaps.labeling.leases import Leases

LABEL = "label"
SKIP = "skip"
CANT_TELL = "cant_tell"
UNDO = "undo"
_KINDS = (LABEL, SKIP, CANT_TELL, UNDO)
LEASE_SECONDS = 60.0
# A renewed lease is written again once so much of it is used up: after a restart it ends sooner.
_STALE_SECONDS = LEASE_SECONDS / 3
# Rows that one statement writes: each statement may wait for other threads of Python.
_ROWS = 100
# Of a decision that is written down.
COLUMNS = (
    *("number", "click", "image", "kind", "label", "undone", "by", "is_random", "seconds"),
    "fingerprint",
)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS pool (identity TEXT NOT NULL);
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
    seconds REAL NOT NULL,
    fingerprint TEXT
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
        fingerprint: of the image's file, by which one that was replaced later is told; the pool
            fills it in.
    """

    identity: str
    kind: str
    by: str
    image: int | None = None
    label: str | None = None
    is_random: bool = False
    fingerprint: str | None = None


class Snapshot(NamedTuple):
    """What a pool knew at one moment: whoever writes it down keeps no click waiting.

    Args:
        names: of the images, by number.
        labels: of the images that have one, by number.
        drawn: those of them that were drawn at random.
        decisions: rows of `COLUMNS`, all in their order, undone ones too.
    """

    names: Mapping[int, str]
    labels: Mapping[int, str]
    drawn: Set[int]
    decisions: Sequence[tuple]

    def log(self) -> list[dict[str, object]]:
        """The decisions by the names of their columns."""
        return [dict(zip(COLUMNS, row, strict=True)) for row in self.decisions]


class Pool:
    """Which image has which label, and who is looking at which one.

    All is in one SQLite file to which decisions are only added (write-ahead log, full
    synchronisation): once `record` has returned, a decision outlives the end of the process and of
    the power. What is asked for often is kept in memory, so one process at a time uses a pool.

    Args:
        path: of the file; it is made if need be.
        names: the images, by which they are known. Those of earlier calls keep their numbers, and
            those that are gone keep their labels, but aren't handed out.
        classes: what an image may be.
        fingerprints: what the images' files are known by now, by name. Default None: their files
            aren't looked at.

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

    def __init__(
        self,
        path: str | os.PathLike,
        names: Sequence[str],
        classes: Sequence[str],
        fingerprints: Mapping[str, str | None] | None = None,
    ):
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
            self._add_what_older_pools_lack()
            with self._transaction():
                self._database.execute(
                    "INSERT INTO pool SELECT ? WHERE NOT EXISTS (SELECT * FROM pool)",
                    (uuid.uuid4().hex,),
                )
                self._database.executemany(
                    "INSERT OR IGNORE INTO images (name) VALUES (?)", [(name,) for name in names]
                )
                self._database.execute("DELETE FROM leases WHERE expires <= ?", (time.time(),))
        except sqlite3.DatabaseError as error:
            raise UsageError(
                f"Expected a pool of labels that can be written. Received: {path}, {error}"
            ) from None
        rows = self._database.execute("SELECT id - 1, name FROM images ORDER BY id")
        self.names: dict[int, str] = dict(rows)
        # By which a page knows its clicks, whatever its address.
        (self.identity,) = self._database.execute("SELECT identity FROM pool").fetchone()
        present = set(names)
        self.present = {image for image, name in self.names.items() if name in present}
        self._decided: dict[int, Click] = {}
        self._history: dict[int, list[Click]] = {}
        self._clicks: dict[str, int | None] = {}
        self._standing: dict[str, list[Click]] = {}
        self._counts: collections.Counter[str] = collections.Counter()
        by_name = fingerprints or {}
        self._fingerprints = {image: by_name.get(name) for image, name in self.names.items()}
        self._replaced: set[int] = set()
        self._open = set(self.present)
        self._returned: list[int] = []
        self._leases = Leases()
        self._written: dict[int, float] = {}
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
        # What an undo is about is what it takes back, whatever a request says.
        clicks = [
            dataclasses.replace(click, image=None, label=None) if click.kind == UNDO else click
            for click in clicks
        ]
        rows, later = [], _Later(self)
        for click in clicks:
            if click.identity in self._clicks or click.identity in later.identities:
                continue
            if click.image is not None:
                seen = self._fingerprints[click.image]
                click = dataclasses.replace(click, fingerprint=seen)
            undone = later.newest(click.by) if click.kind == UNDO else None
            image = undone.image if undone else click.image
            rows.append(
                (
                    *(click.identity, None if image is None else image + 1, click.kind),
                    *(click.label, undone and undone.identity, click.by),
                    *(int(click.is_random), time.time(), click.fingerprint),
                )
            )
            later.add(click, undone)
        with files.disk_errors(self.path, sqlite3.OperationalError), self._transaction():
            columns = "click, image, kind, label, undone, by, is_random, seconds, fingerprint"
            self._insert(f"decisions ({columns})", rows)
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
        self._keep(by, found, seconds)
        return found

    def is_free(self, image: int, by: str) -> bool:
        """Whether an image is there, undecided, and nobody else has it."""
        return image in self._open and self._leases.holder(image) in (None, by)

    def renew(self, by: str, images: Iterable[int], *, seconds: float = LEASE_SECONDS) -> list[int]:
        """Keeps images for whoever has them; gives those that somebody else has got meanwhile."""
        kept, lost = [], []
        for image in images:
            holder = self._leases.holder(image)
            is_lost = holder != by and (holder is not None or image in self._decided)
            (lost if is_lost else kept).append(image)
        self._keep(by, kept, seconds)
        return lost

    def held(self, by: str) -> list[int]:
        """The images that somebody has and that wait for a decision."""
        return [image for image in self._leases.of(by) if image in self._open]

    def returned(self) -> list[int]:
        """The images that may be free again, since this was last asked.

        Their lease is over, or what was decided of them was taken back.
        """
        found = [*self._returned, *self._leases.ended()]
        self._returned.clear()
        for image in found:
            self._written.pop(image, None)
        return found

    def labels(self, *, drawn: bool = False) -> dict[int, str]:
        """The label of each image that has one; `drawn`: of those alone that were drawn."""
        return {
            image: str(click.label)
            for image, click in self._decided.items()
            if click.kind == LABEL and (click.is_random or not drawn)
        }

    def replaced(self) -> list[int]:
        """The decided images whose file is another one since; their decisions stand."""
        return sorted(self._replaced)

    def see(self, image: int, fingerprint: str | None) -> None:
        """Says what an image's file is known by now, where it may have been replaced."""
        self._fingerprints[image] = fingerprint
        self._compare(image)

    def open(self) -> list[int]:
        """The images that are there and wait for a decision, by number."""
        return sorted(self._open)

    def counts(self) -> dict[str, int]:
        """How many images are labelled, skipped, can't be told, and open."""
        return {
            **{kind: self._counts[kind] for kind in (LABEL, SKIP, CANT_TELL)},
            "open": len(self._open),
        }

    def decision(self, image: int) -> Click | None:
        """What was decided of an image; None: nothing."""
        return self._decided.get(image)

    def snapshot(self) -> Snapshot:
        """All that is known now, as whoever writes it down needs it."""
        rows = self._database.execute(
            "SELECT decisions.number, click, name, kind, label, undone, by, is_random, seconds, "
            "fingerprint FROM decisions LEFT JOIN images ON images.id = image "
            "ORDER BY decisions.number"
        )
        drawn = self.labels(drawn=True).keys()
        return Snapshot(self.names, self.labels(), drawn, rows.fetchall())

    def log(self) -> list[dict[str, object]]:
        """All decisions in their order, undone ones too."""
        return self.snapshot().log()

    def _add_what_older_pools_lack(self) -> None:
        columns = self._database.execute("SELECT name FROM pragma_table_info('decisions')")
        if ("fingerprint",) not in columns.fetchall():
            self._database.execute("ALTER TABLE decisions ADD COLUMN fingerprint TEXT")

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

    def _insert(self, table: str, rows: Sequence[tuple]) -> None:
        """Adds rows to a table, `name (column, ...)`, by few statements."""
        for start in range(0, len(rows), _ROWS):
            part = rows[start : start + _ROWS]
            marks = ", ".join(["(" + ", ".join("?" * len(part[0])) + ")"] * len(part))
            self._database.execute(
                f"INSERT INTO {table} VALUES {marks}", list(itertools.chain.from_iterable(part))
            )

    def _keep(self, by: str, images: Sequence[int], seconds: float) -> None:
        """Keeps images for `by`; what of it a restart couldn't know is written."""
        expires = time.monotonic() + seconds
        stale = [
            image
            for image in images
            if self._leases.holder(image) != by
            or self._written.get(image, 0.0) < expires - _STALE_SECONDS
        ]
        if stale:
            self._write_leases([(image + 1, by, time.time() + seconds) for image in stale])
        self._leases.keep(by, images, seconds=seconds)
        self._written.update(dict.fromkeys(stale, expires))

    def _write_leases(self, rows: Sequence[tuple]) -> None:
        with files.disk_errors(self.path, sqlite3.OperationalError):
            # A lease outlives the process as it is; it need not outlive the power.
            self._database.execute("PRAGMA synchronous=NORMAL")
            try:
                with self._transaction():
                    self._insert("leases (image, by, expires)", rows)
            finally:
                self._database.execute("PRAGMA synchronous=FULL")

    def _replay(self) -> None:
        """Brings memory to where the file is."""
        known: dict[str, Click] = {}
        rows = self._database.execute(
            "SELECT click, kind, by, image - 1, label, is_random, fingerprint, undone "
            "FROM decisions ORDER BY number"
        )
        for identity, kind, by, image, label, is_random, fingerprint, undone in rows:
            click = Click(identity, kind, by, image, label, bool(is_random), fingerprint)
            known[click.identity] = click
            self._apply(click, known.get(undone))
        rows = self._database.execute("SELECT image - 1, by, expires FROM leases ORDER BY number")
        # What is left of each by the clock that may have been set meanwhile, as at most it can be.
        leases = {image: (by, expires - time.time()) for image, by, expires in rows}
        for image, (by, left) in leases.items():
            if left > 0:
                self._leases.keep(by, [image], seconds=min(left, LEASE_SECONDS))

    def _apply(self, click: Click, undone: Click | None) -> None:
        if click.kind != UNDO:
            image = int(click.image or 0)
            self._clicks[click.identity] = image
            self._standing.setdefault(click.by, []).append(click)
            self._history.setdefault(image, []).append(click)
            self._decide(image, click)
            return
        self._clicks[click.identity] = None if undone is None else undone.image
        if undone is None:
            return
        self._standing[undone.by].pop()  # the newest one
        image = int(undone.image or 0)
        self._history[image].remove(undone)
        # What was decided of it before counts again: a label that was corrected by mistake.
        self._decide(image, self._history[image][-1] if self._history[image] else None)

    def _decide(self, image: int, click: Click | None) -> None:
        before = self._decided.pop(image, None)
        if before is not None:
            self._counts[before.kind] -= 1
        if click is not None:
            self._decided[image] = click
            self._counts[click.kind] += 1
            self._open.discard(image)
        elif image in self.present:
            self._open.add(image)
            self._returned.append(image)
        self._compare(image)

    def _compare(self, image: int) -> None:
        """Notes whether a decision was on another file than there is now, where both are known."""
        click, now = self._decided.get(image), self._fingerprints.get(image)
        if click is not None and None not in (click.fingerprint, now) and click.fingerprint != now:
            self._replaced.add(image)
        else:
            self._replaced.discard(image)


class _Later:
    """What a pool will be after clicks that aren't written yet."""

    def __init__(self, pool: Pool):
        self._pool = pool
        self._undone: collections.Counter[str] = collections.Counter()
        self._new: dict[str, list[Click]] = {}
        self.identities: set[str] = set()
        self.added: list[tuple[Click, Click | None]] = []

    def newest(self, by: str) -> Click | None:
        if self._new.get(by):
            return self._new[by][-1]
        standing, undone = self._pool._standing.get(by, []), self._undone[by]
        return standing[-1 - undone] if undone < len(standing) else None

    def add(self, click: Click, undone: Click | None) -> None:
        self.added.append((click, undone))
        self.identities.add(click.identity)
        if click.kind != UNDO:
            self._new.setdefault(click.by, []).append(click)
        elif self._new.get(click.by):
            self._new[click.by].pop()
        elif undone is not None:
            self._undone[click.by] += 1


def pool_file(folder: str | os.PathLike) -> pathlib.Path:
    """Where the pool of a labeling's folder lies."""
    return pathlib.Path(folder) / "pool.sqlite"
