"""Standard error holds what a user has to know, and nothing of TensorFlow's start."""

import pytest

from tests import runs

# Imports TensorFlow as a library of the caller's would do it, starts it and lets XLA compile.
WORK = """
import os
import sys

from tfcaps import quiet

quiet.hide_start_of_tensorflow()
quiet.hide_start_of_tensorflow()
assert "tensorflow" not in sys.modules
import keras
import tensorflow as tf

tf.function(lambda x: x + 1, jit_compile=True)(tf.constant(1))
for _ in tf.data.Dataset.range(3).prefetch(1):
    pass
"""
# The same in a process of its own.
CHILD = """
from tests import process_calls
from tfcaps import process

process.run_alone(process_calls.start_tensorflow)
"""
# Something that is imported with TensorFlow speaks up while it is being imported.
OTHER_LINES = """
import importlib.abc
import os
import sys

from tfcaps import quiet


class Loud(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow.python":
            sys.stderr.write("a warning of Python\\n")
            os.write(2, b"E0000 00:00:1795697567.906275   22178 gpu.cc:52] out of order\\n")
            os.write(2, b"I0000 00:00:1795697567.906275   22178 gpu.cc:52] 1 device\\n")


quiet.hide_start_of_tensorflow()
sys.meta_path.insert(0, Loud())
import tensorflow

os.write(2, b"I0000 00:00:1795697567.906275   22178 gpu.cc:52] later\\n")
raise ValueError("the end")
"""


def errors_of(code):
    return runs.finish(runs.start_code(code))


@pytest.mark.parametrize(("code", "level"), [(WORK, None), (CHILD, None), (CHILD, "2")])
def test_nothing_is_said(code, level, monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    if level:
        monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", level)
    code, _, errors = errors_of(code)
    assert (code, errors) == (0, "")


def test_all_is_said_to_who_asks(monkeypatch):
    """By a process that another one starts, too."""
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    code, _, errors = errors_of(CHILD)
    assert code == 0
    assert "InitializeLog" in errors
    assert "XLA service" in errors


def test_what_is_no_notice_is_said():
    code, _, errors = errors_of(OTHER_LINES)
    lines = errors.splitlines()
    assert code == 1
    assert lines[0] == "a warning of Python"
    assert lines[1].endswith("gpu.cc:52] out of order")
    assert lines[2].endswith("gpu.cc:52] later")
    assert lines[3].startswith("Traceback")
    assert lines[-1] == "ValueError: the end"
