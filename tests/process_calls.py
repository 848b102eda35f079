"""Functions for processes of their own; TensorFlow takes seconds: one call imports it."""

import os
import signal
import time


def add(left, right):
    return left + right, os.getpid()


def fail(error):
    raise error


def end_suddenly():
    os.kill(os.getpid(), signal.SIGKILL)


def tell_and_sleep():
    print(os.getpid(), flush=True)
    time.sleep(300)


def sleep_or_fail(seconds):
    if not seconds:
        raise ValueError("nothing to wait for")
    time.sleep(seconds)


def start_tensorflow():
    import tensorflow as tf

    tf.function(lambda x: x + 1, jit_compile=True)(tf.constant(1))
