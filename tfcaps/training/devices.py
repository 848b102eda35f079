"""What a training runs on."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf
from tensorflow.python.framework import config as tensorflow_config


def strategy() -> tf.distribute.Strategy:
    """All GPUs of this machine where there are several, else the one device that there is."""
    gpus = tf.config.list_logical_devices("GPU")
    return tf.distribute.MirroredStrategy() if len(gpus) > 1 else tf.distribute.get_strategy()


def use_jit(choice: str) -> bool:
    """Whether the whole train step goes through XLA.

    "auto" means on a GPU only: on a CPU the backward 9×9 convolution is 25 times slower with XLA.
    """
    return choice == "on" or (choice == "auto" and bool(tf.config.list_logical_devices("GPU")))


@contextlib.contextmanager
def precision(policy: str) -> Iterator[None]:
    """Keras' dtype policy inside the block."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def seed_generators(seed: int) -> None:
    """Seeds Python's, NumPy's and TensorFlow's generators."""
    keras.utils.set_random_seed(seed % 2**32)


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """TensorFlow computes the same sums in each run inside the block.

    To be entered after `compile`: inside, Keras refuses to compile with XLA, since some operations
    don't support both. Those of capsule networks do.
    """
    before = tensorflow_config.is_op_determinism_enabled()
    tf.config.experimental.enable_op_determinism()
    try:
        yield
    finally:
        if not before:  # there is no public name for this
            tensorflow_config.disable_op_determinism()
