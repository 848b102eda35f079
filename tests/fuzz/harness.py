"""Cases of a kind: each ends well or with one sentence, soon, and runs nothing."""

import collections
import contextlib
import dataclasses
import io
import math
import os
import pathlib
import random
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
from hypothesis import strategies as st

from tfcaps import program
from tfcaps.errors import UsageError

SECONDS = 20.0  # of the processor, in all threads: the same on a busy machine
_WALL_SECONDS = 120.0  # who waits needs no processor
_LONGEST_SENTENCE = 3000
# What a file would do that is executed, see `kinds.checkpoints`.
TRAP = "TFCAPS_FUZZ_TRAP"
_STARTS = {"os.exec", "os.fork", "os.posix_spawn", "os.system", "pickle.find_class",
           "subprocess.Popen"}  # fmt: skip
_started: list[str] = []
_is_watching = False


@dataclasses.dataclass(frozen=True)
class Kind:
    """What is read.

    Args:
        name: of the kind.
        make: a case, by a generator of random numbers.
        read: the reading functions, called with a case.
    """

    name: str
    make: Callable[[random.Random], Any]
    read: Callable[[Any], Any]


class FaultError(Exception):
    """A case that ended in another way than it may."""


@dataclasses.dataclass
class Tally:
    """What became of the cases of a kind."""

    done: int = 0
    read: int = 0
    slowest: float = 0.0
    sentences: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    faults: dict[str, str] = dataclasses.field(default_factory=dict)


def attempt(kind: Kind, case: Any) -> str:
    """Reads a case; gives the sentence, or "" where it was read.

    Raises:
        FaultError: it ended in another way.
    """
    _started.clear()
    # Files of wrong content are told of by libraries, too; nobody has to read that here.
    quiet = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    sentence, unexpected = "", None
    with _limited(), _watched(), warnings.catch_warnings(), quiet[0], quiet[1]:
        warnings.simplefilter("ignore")
        try:
            kind.read(case)
        except UsageError as error:
            sentence = str(error)
        except MemoryError:
            sentence = "Expected sizes that fit into memory."
        except OSError as error:
            said = program.disk_sentence(error)
            sentence, unexpected = said or "", None if said else error
        except BaseException as error:
            unexpected = error
    if isinstance(unexpected, KeyboardInterrupt):
        raise unexpected
    if _started or os.path.exists(os.environ.get(TRAP, "")):
        raise FaultError(f"executed: {', '.join(_started) or 'a payload'}")
    if unexpected is not None:
        where = list(traceback.extract_tb(unexpected.__traceback__))
        ours = [f for f in where if "/tfcaps/" in f.filename or "/nas/" in f.filename]
        place = ours[-1] if ours else where[-1]
        file = pathlib.Path(place.filename)
        raise FaultError(
            f"{type(unexpected).__name__} in {file.parent.name}/{file.name}:{place.lineno} "
            f"{place.name}"
        ) from unexpected
    if "\n" in sentence or len(sentence) > _LONGEST_SENTENCE:
        raise FaultError(f"no one sentence of {len(sentence)} characters: {sentence[:200]!r}")
    return sentence


def run(
    kind: Kind,
    cases: int,
    seed: int,
    *,
    seconds: float = 0.0,
    progress: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Makes and reads so many cases; faults are collected, the shortest case of each place.

    Args:
        kind: of the cases.
        cases: how many.
        seed: what they depend on.
        seconds: after which no more are made; 0: never. Default 0.
        progress: is told after each case.
    """
    tally, ends = Tally(), time.monotonic() + (seconds or math.inf)

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=cases,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
        verbosity=hypothesis.Verbosity.quiet,
    )
    @hypothesis.given(st.randoms(use_true_random=True))
    def try_one(draw):
        if time.monotonic() > ends:
            raise _EnoughError
        case = kind.make(draw)
        started = time.thread_time()
        try:
            sentence = attempt(kind, case)
        except FaultError as fault:
            shown = repr(case)
            place = f"{kind.name}: {fault}"
            if place not in tally.faults or len(shown) < len(tally.faults[place]):
                tally.faults[place] = shown
        else:
            tally.read += not sentence
            if sentence:
                tally.sentences[sentence[:24]] += 1
        tally.done += 1
        tally.slowest = max(tally.slowest, time.thread_time() - started)
        progress(tally)

    with contextlib.suppress(_EnoughError):
        try_one()
    return tally


def peak_megabytes() -> float:
    """What the process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class _EnoughError(BaseException):
    """Time is over."""


class _TooLongError(BaseException):
    """A case that doesn't come to an end."""


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Ends what doesn't come to an end."""

    def stop(number, _frame):
        raise _TooLongError(signal.Signals(number).name)

    clocks = {signal.SIGPROF: (signal.ITIMER_PROF, SECONDS),
              signal.SIGALRM: (signal.ITIMER_REAL, _WALL_SECONDS)}  # fmt: skip
    before = {number: signal.signal(number, stop) for number in clocks}
    for clock, seconds in clocks.values():
        signal.setitimer(clock, seconds, 1.0)
    try:
        yield
    finally:
        for clock, _ in clocks.values():
            signal.setitimer(clock, 0.0)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    """Notes what starts processes, or loads objects."""
    global _is_watching
    _is_watching = True
    try:
        yield
    finally:
        _is_watching = False


def _watch(event: str, _arguments: tuple) -> None:
    if _is_watching and event in _STARTS:
        _started.append(event)


sys.addaudithook(_watch)
