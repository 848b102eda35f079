"""What a training runs on."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf


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


def make_reproducible(seed: int) -> None:
    """Seeds all generators and asks TensorFlow for the same sums in each run."""
    keras.utils.set_random_seed(seed % 2**32)
    tf.config.experimental.enable_op_determinism()
