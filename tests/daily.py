"""For the daily loop: a test ends as skipped where it would start a process, or a training.

`make check` loads this with `python -m pytest -p tests.daily`. Nobody marks a test, so that none
can be forgotten.
"""

import functools
import multiprocessing.process
import sys
from collections.abc import Callable

import pytest
import wrapt

# https://docs.python.org/3/library/audit_events.html
_STARTS = {"os.fork", "os.forkpty", "os.posix_spawn", "os.system", "subprocess.Popen"}
_running = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol():
    """Outside of tests pytest-xdist starts its own processes."""
    global _running
    _running = True
    try:
        return (yield)
    finally:
        _running = False


def _skip(reason: str) -> None:
    if _running:
        pytest.skip(f"{reason}: not in make check")


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


sys.addaudithook(_watch)
# What multiprocessing spawns raises no event.
_Process = multiprocessing.process.BaseProcess
_Process.start = _replaced(_Process.start, "starts a process")
# Whoever imports the loop, which takes TensorFlow's seconds, does so anyway.
wrapt.register_post_import_hook(_watch_trainings, "tfcaps.training.loop")
