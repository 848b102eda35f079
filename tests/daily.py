"""For the daily loop: a test ends as skipped where it would start a process, train, or take long.

`make check` loads this with `python -m pytest -p tests.daily`. Nobody marks a test, so that none
can be forgotten.
"""

import functools
import multiprocessing.process
import signal
import sys
from collections.abc import Callable

import pytest
import wrapt

# Of the processor, in all threads: the same on a busy machine.
_SECONDS = 1.0
# https://docs.python.org/3/library/audit_events.html
_STARTS = {"os.fork", "os.forkpty", "os.posix_spawn", "os.system", "subprocess.Popen"}
_Process = multiprocessing.process.BaseProcess
# What the test that runs was ended for; None: nothing yet; "": no test runs.
_ended: str | None = ""
_is_interruptible = False


def pytest_configure():
    """Watches all that comes."""
    sys.addaudithook(_watch)
    # What multiprocessing spawns raises no event.
    _Process.start = _replaced(_Process.start, "starts a process")
    wrapt.register_post_import_hook(_watch_trainings, "tfcaps.training.loop")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol():
    """Outside of tests pytest-xdist starts its own processes."""
    global _ended
    _ended = None
    signal.signal(signal.SIGPROF, lambda *_: _is_interruptible and _skip("takes long"))
    # Repeated until it is heard: Python drops what a destructor raises.
    signal.setitimer(signal.ITIMER_PROF, _SECONDS, 0.5)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        _ended = ""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup():
    """What a test needs, and the test itself, may be ended; not so pytest's own work on it."""
    return (yield from _interruptible())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call():
    """See `pytest_runtest_setup`."""
    return (yield from _interruptible())


def _interruptible():
    global _is_interruptible
    _is_interruptible = True
    try:
        return (yield)
    finally:
        _is_interruptible = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """TensorFlow makes errors of its own of what ends a function inside a graph."""
    report = yield
    if report.failed and _ended:
        report.outcome = "skipped"
        report.longrepr = (str(item.path), item.location[1], f"Skipped: {_ended}")
    return report


def _skip(reason: str) -> None:
    global _ended
    if _ended != "":
        _ended = f"{reason}: not in make check"
        pytest.skip(_ended)


def _watch(event: str, _arguments: tuple) -> None:
    if event in _STARTS:
        _skip("starts a process")


def _replaced(function: Callable, reason: str) -> Callable:
    @functools.wraps(function)
    def call(*args, **kwargs):
        _skip(reason)
        return function(*args, **kwargs)

    return call


def _watch_trainings(loop) -> None:
    loop.Session.train_epochs = _replaced(loop.Session.train_epochs, "trains a network")
