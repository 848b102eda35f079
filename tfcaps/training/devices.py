"""What a training runs on."""

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Iterator
from typing import TypeVar

import keras
import tensorflow as tf
from tensorflow.python.framework import config as tensorflow_config

from tfcaps.errors import UsageError
from tfcaps.training import cluster
from tfcaps.training.configuration import RunConfig

_Config = TypeVar("_Config", bound=RunConfig)

# What Linux says of the processor, and how it calls bfloat16 products of x86 and ARM.
_PROCESSOR = pathlib.Path("/proc/cpuinfo")
_BFLOAT16_INSTRUCTIONS = {"avx512_bf16", "amx_bf16", "bf16"}
# The first GPUs that have them.
_AMPERE = (8, 0)


def strategy() -> tf.distribute.Strategy:
    """All GPUs of this machine where there are several, else the one device that there is.

    Those of several machines where the environment says so, see `cluster`; then it waits for all.

    Raises:
        UsageError: something was computed before, so that other machines can't take part.
    """
    return _strategy(cluster.of_environment())


@functools.cache  # of several strategies in one process, one waits for another's sums
def _strategy(here: cluster.Cluster) -> tf.distribute.Strategy:
    if here.size > 1:
        return _of_several_machines(here)
    gpus = tf.config.list_logical_devices("GPU")
    return tf.distribute.MirroredStrategy() if len(gpus) > 1 else tf.distribute.get_strategy()


def _of_several_machines(here: cluster.Cluster) -> tf.distribute.Strategy:
    if here.is_chief:
        print(f"Waiting for all {here.size} workers.", flush=True)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise UsageError(
            "Expected a training on several machines, as TF_CONFIG asks for, to be the first that "
            f"its process computes. Received: {here.size} workers, after something else"
        ) from error


def count() -> int:
    """How many devices share a batch, of those in whose scope this is called."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def share_gpus() -> None:
    """Takes memory of the GPUs as it is needed, so that several processes can have some.

    To be called before anything is computed: later, it changes nothing.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(gpu, True)


def check_batch_size(batch_size: int) -> None:
    """Checks that all devices get equally many examples of a batch, which Keras relies on.

    Raises:
        UsageError: they don't.
    """
    if batch_size % count():
        raise UsageError(
            f"Expected --batch_size to be a multiple of {count()}, the number of devices. "
            f"Received: {batch_size}"
        )


def evaluation_batch_size(examples: int, batch_size: int, devices: int) -> int:
    """The largest batch size, at most `batch_size`, with which no device goes without examples.

    It is a multiple of the number of devices, and the first batch is a full one: by that one Keras
    builds. A last batch of r examples is dealt out in parts of ceil(r / devices), so that the last
    devices may get none, and an empty part has no mean. Where no batch size helps, as with fewer
    examples than devices, it is `batch_size`.

    Args:
        examples: in all batches.
        batch_size: a multiple of the number of devices.
        devices: that share each batch.

    Example:

    >>> evaluation_batch_size(65, 64, 2)   # 64 would leave one example for two devices
    62
    >>> evaluation_batch_size(65, 64, 1)
    64
    """
    if devices == 1:
        return batch_size
    for size in range(min(batch_size, examples - examples % devices), 0, -devices):
        last = examples % size or size
        if (devices - 1) * -(-last // devices) < last:
            return size
    return batch_size


def check_jit(choice: str) -> None:
    """Checks that a step doesn't have to go through XLA where it can't.

    Raises:
        UsageError: several machines share it.
    """
    if choice == "on" and cluster.of_environment().size > 1:
        raise UsageError(
            "Expected --jit to be auto or off where several machines share a training. "
            "Received: --jit=on"
        )


def use_jit(choice: str) -> bool:
    """Whether the whole train step goes through XLA.

    "auto" means on a GPU only: on a CPU the backward 9×9 convolution is 25 times slower with XLA.
    Sums over several machines are no part of what XLA compiles.
    """
    if cluster.of_environment().size > 1:
        return False
    return choice == "on" or (choice == "auto" and bool(tf.config.list_logical_devices("GPU")))


def with_precision(config: _Config) -> _Config:
    """The configuration with the dtype policy that "auto" stands for here, which is said."""
    if config.precision != "auto":
        return config
    policy = "mixed_bfloat16" if _have_bfloat16() else "float32"
    print(f"Precision: {policy}, as --precision=auto chooses on this machine.", flush=True)
    return dataclasses.replace(config, precision=policy)


def _have_bfloat16() -> bool:
    """Whether all devices multiply bfloat16 numbers, which have the range of float32.

    What can't be found out counts as no: emulated, they are several times slower than float32.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        found = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        return all(details.get("compute_capability", (0,)) >= _AMPERE for details in found)
    with contextlib.suppress(OSError):
        return not _BFLOAT16_INSTRUCTIONS.isdisjoint(_PROCESSOR.read_text("utf-8").split())
    return False


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
