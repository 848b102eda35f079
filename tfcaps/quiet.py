"""Keeps TensorFlow's notices at its start off standard error; imports no TensorFlow itself."""

import contextlib
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_ERRORS_ONLY = "2"
# TensorFlow writes some notices before it reads its level, and on a machine without a GPU one of
# them is an error by name only. The instructions of a processor are the second line of a notice.
_NOTICE = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog|"
    rb"[IW]\d{4} [\d:.]+ +\d+ [\w.]+:\d+\] |"
    rb"E\d{4} [\d:.]+ +\d+ cuda_platform\.cc:\d+\] failed call to cuInit|"
    rb"E\d{4} [\d:.]+ +\d+ util\.cc:\d+\] oneDNN supports DT_INT64 only|"
    rb"To enable the following instructions: "
)


def hide_start_of_tensorflow() -> None:
    """Hides what TensorFlow writes to standard error when it is imported and looks for devices.

    Nothing is imported yet: the import that comes, from wherever, is a quiet one. All other lines
    of that time still get to standard error when it is over, and all later ones at once, errors
    of TensorFlow among them. Where the environment's TF_CPP_MIN_LOG_LEVEL is below 2, nothing is
    hidden; where it is not set, it becomes 2, for processes that this one starts, too.
    """
    if os.environ.setdefault(_LEVEL, _ERRORS_ONLY) < _ERRORS_ONLY or "tensorflow" in sys.modules:
        return
    if not any(isinstance(finder, _QuietImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _QuietImport())


class _QuietImport:
    """Finds TensorFlow, once, where it would be found anyway; its import is quiet."""

    def find_spec(self, name, path=None, target=None):
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            execute = spec.loader.exec_module

            def execute_quietly(module):
                with without_notices():
                    execute(module)
                    # Looks for a GPU's driver, which would be the first thing a program does.
                    module.config.list_physical_devices()

            spec.loader.exec_module = execute_quietly
        return spec


@contextlib.contextmanager
def without_notices() -> Iterator[None]:
    """Holds back file descriptor 2, in the end writes what is no notice of TensorFlow.

    Where the environment's TF_CPP_MIN_LOG_LEVEL isn't set, or is below 2, nothing is held back.
    """
    if os.environ.get(_LEVEL, "") < _ERRORS_ONLY:
        yield
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        real = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            os.close(real)
            held.seek(0)
            for line in held:
                if not _NOTICE.match(line):
                    os.write(2, line)
