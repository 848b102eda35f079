"""Programs and code in processes that are forked from one that has imported the package already.

Most of the time of a tiny program goes into its imports. What is about these, or about the first
lines on standard error, starts a process of its own: `runs.start`.
"""

import atexit
import functools
import multiprocessing
import os
import pathlib
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable

from tests import runs


class Fork:
    """A running process; what the tests need of `subprocess.Popen`."""

    def __init__(self, run: Callable[[], None], arguments: list[str]):
        self._folder = tempfile.mkdtemp()
        self._process = context().Process(
            target=_run,
            args=(run, arguments, os.getcwd(), dict(os.environ), self._folder),
        )
        self._process.start()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Waits for the end; standard output and standard error, once."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(repr(self._process), timeout)
        output, errors = (pathlib.Path(self._folder, str(n)).read_text() for n in (1, 2))
        shutil.rmtree(self._folder)
        return output, errors


def start(program: str, *arguments: str | os.PathLike) -> Fork:
    """As `runs.start`."""
    path = str(runs.ROOT / "bin" / program)
    run = functools.partial(runpy.run_path, path, run_name="__main__")
    return Fork(run, [path, *map(os.fspath, arguments)])


def start_code(code: str, *arguments: str | os.PathLike) -> Fork:
    """As `runs.start_code`."""
    return Fork(functools.partial(_execute, code), ["-c", *map(os.fspath, arguments)])


@functools.cache
def context() -> multiprocessing.context.BaseContext:
    """That of `multiprocessing` for processes that have imported the package."""
    found = multiprocessing.get_context("forkserver")
    # TensorFlow starts nothing that a fork could hurt before its first operation.
    found.set_forkserver_preload(["tests.imported"])
    return found


def _run(run, arguments, folder, environment, streams) -> None:
    for number in (1, 2):
        file = os.open(
            os.path.join(streams, str(number)), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
        )
        os.dup2(file, number)
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = arguments
    try:
        run()
    finally:
        atexit._run_exitfuncs()  # multiprocessing leaves them out


def _execute(code: str) -> None:
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    exec(compile(code, "<string>", "exec"), main.__dict__)
