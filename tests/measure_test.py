"""Measurements of what is known: sleeping takes time, arrays take memory."""

import time

import keras
import pytest

from tests import runs
from tfcaps import measure
from tfcaps.errors import UsageError


def test_medians_of_programs_in_turn():
    order = []
    # The first two runs of each aren't counted; the third one of "b" is an outlier.
    naps = {"a": iter([0, 0, 0, 0, 0]), "b": iter([0, 0, 0.2, 0.02, 0.02])}

    def program(name):
        order.append(name)
        time.sleep(next(naps[name]))

    seconds = measure.medians({"a": lambda: program("a"), "b": lambda: program("b")}, rounds=3)

    assert "".join(order) == "aabb" + "ababab"
    assert 0 < seconds["a"] < 0.02 <= seconds["b"] < 0.15


class _Slow(keras.layers.Layer):
    """Works for 64 ms, for whatever batch, and counts."""

    def call(self, inputs):
        import tensorflow as tf

        return tf.numpy_function(self._nap, [inputs], tf.float32)

    def compute_output_shape(self, input_shape):
        return input_shape

    def _nap(self, inputs):
        time.sleep(0.064)
        self.shapes.append(inputs.shape)
        return inputs


def test_milliseconds_per_image():
    slow = _Slow()
    slow.shapes = []
    inputs = keras.Input((2, 3, 1))
    model = keras.Model(inputs, {"x": slow(inputs), "y": inputs})

    milliseconds = measure.milliseconds_per_image(model, (2, 3, 1), batch_size=16, rounds=4)

    assert 4.0 <= milliseconds < 8.0  # 64 ms for 16 images
    assert slow.shapes == [(16, 2, 3, 1)] * 6


def test_wrong_arguments():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Flatten()])
    for arguments in ({"batch_size": 0}, {"rounds": 0}):
        with pytest.raises(UsageError, match=r">= 1\. Received: 0"):
            measure.milliseconds_per_image(model, (2,), **arguments)


PROGRAM = """#!/usr/bin/env python3
import concurrent.futures.process
import os

import numpy as np
from absl import app, flags

from tfcaps import measure

flags.DEFINE_string("log_dir", None, "", required=True, allow_override=True)


def make(megabytes):
    np.ones((200, 2**17))  # 200 MB that are gone when the program runs
    return lambda: np.ones((megabytes, 2**17)).sum()


def make_opened():
    opened = []  # 50 MB, for which 200 are needed at first

    def program():
        if not opened:
            opened.append(np.ones((200, 2**17))[:50].copy())

    return program


def make_killed():
    return lambda: os.kill(os.getpid(), 9)


def main(_argv):
    print(measure.peak_megabytes(make, 50))
    print(measure.peak_megabytes(make_opened, settled=True))
    try:
        measure.peak_megabytes(make_killed)
    except concurrent.futures.process.BrokenProcessPool:
        print("killed")


if __name__ == "__main__":
    app.run(main)
"""


def test_peak_memory_measured_by_a_program_without_an_ending(tmp_path):
    program = tmp_path / "auto_tune"
    program.write_text(PROGRAM)
    code, output, errors = runs.finish(runs.start(program, "--log_dir=x"))
    assert code == 0, errors
    megabytes, of_opened, killed = output.split()
    assert 45 < float(megabytes) < 80
    assert 45 < float(of_opened) < 80
    assert killed == "killed"
