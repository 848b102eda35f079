"""One training by several processes, usually one a machine: all of them do all of it alike.

Each learns from its part of every batch, and TensorFlow adds up what they find. It makes variables,
and reads those that are sums, only by all processes together, so one that did something alone would
wait for ever. Only what is asked of the run's folder, and written into it, is the chief's: the
others write into a folder of their own, which is gone afterwards.

`cluster` says which processes there are; with one alone, nothing here does anything.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import tempfile
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcaps import export
from tfcaps.errors import UsageError
from tfcaps.training import checkpoints, cluster, devices
from tfcaps.training.configuration import RunConfig
from tfcaps.training.run_directory import RunDirectory

# Numbers that are sent at a time. Each holds two bytes, which float32 does exactly.
_CHUNK = 2**20
# What TensorFlow says where a process is gone, or can't be reached.
_LOSSES = (
    *(tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError),
    tf.errors.DeadlineExceededError,
)
# Options that a machine may have for itself.
_OWN = ("log_dir", "data_dir")


class _LostWorkerError(UsageError):
    """Another process of the training is gone, and this one can't go on without it."""


@contextlib.contextmanager
def losses_told() -> Iterator[None]:
    """Says of a process that is gone what there is to do.

    Raises:
        _LostWorkerError: the block failed, as another process was gone.
    """
    try:
        yield
    except _LOSSES as error:
        size = cluster.of_environment().size
        if size == 1:
            raise
        raise _LostWorkerError(
            f"Expected all {size} workers to be there until the training ends. Received: the loss "
            "of one; start all of them again with --resume"
        ) from error


@contextlib.contextmanager
def opened(config: RunConfig) -> Iterator[tuple[RunConfig, RunDirectory]]:
    """The folder of a run, in which nobody else works, and the configuration with its precision.

    Of a process that isn't the chief it is a copy of what a training goes on with, which the
    configuration names then, and nothing is printed.

    Raises:
        UsageError: see `RunDirectory.check`; or the processes are asked for different trainings.
    """
    if cluster.of_environment().size == 1:
        with _own(config) as found:
            yield found
        return
    with contextlib.ExitStack() as stack:
        yield _opened_together(config, stack)
        from_chief(lambda: None)  # whoever ended before would be missed by the others


def _opened_together(
    config: RunConfig, stack: contextlib.ExitStack
) -> tuple[RunConfig, RunDirectory]:
    mine: list[tuple[RunConfig, RunDirectory]] = []

    def begin() -> str:
        mine.append(stack.enter_context(_own(config)))
        return mine[0][0].precision

    precision = from_chief(begin)
    if mine:
        _send(mine[0][1])
        found = mine[0]
    else:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tfcaps-"))
        stack.enter_context(_silence())
        found = _receive(config, RunDirectory(folder), precision)
    asked = found[0].to_description().items()
    _expect_same({f"--{name}": value for name, value in asked if name not in _OWN})
    return found


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


@contextlib.contextmanager
def _own(config: RunConfig) -> Iterator[tuple[RunConfig, RunDirectory]]:
    directory = RunDirectory(config.log_dir)
    with directory.locked():
        config = devices.with_precision(directory.as_begun(config))
        directory.check(config)
        yield config, directory


def _send(directory: RunDirectory) -> None:
    """Gives the other processes what a training goes on with."""
    paths = [
        *(directory.marker, directory.metrics, directory.results),
        *checkpoints.needed(directory.checkpoints),
        *export.descriptions(directory.serving),
    ]
    paths = [path for path in paths if path.exists()]
    from_chief(lambda: [str(path.relative_to(directory.path)) for path in paths])
    for path in paths:
        _broadcast(path.read_bytes())


def _receive(
    config: RunConfig, directory: RunDirectory, precision: str
) -> tuple[RunConfig, RunDirectory]:
    """What the chief sends, and the configuration with the precision that the chief came to."""
    for name in from_chief():
        path = directory.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_broadcast())
    config = directory.as_begun(dataclasses.replace(config, log_dir=str(directory.path)))
    return dataclasses.replace(config, precision=precision), directory


def expect_alike(model: keras.Model, description: Mapping[str, Any]) -> None:
    """Checks that all processes begin with the data and the weights of the chief.

    Raises:
        UsageError: one of them doesn't.
    """
    if cluster.of_environment().size > 1:
        weights = hashlib.sha256(b"".join(each.tobytes() for each in model.get_weights()))
        _expect_same({"data": description, "weights": weights.hexdigest()})


def _expect_same(own: Mapping[str, Any]) -> None:
    """Checks in all processes that they have what the chief has.

    Raises:
        UsageError: one of them hasn't; in all of them, so that none waits for it.
    """
    here = cluster.of_environment()
    own = json.loads(json.dumps(own))
    names, chief = list(own), from_chief(lambda: own)
    differing = [names.index(name) + 1 for name in names if own[name] != chief.get(name)]
    first = np.zeros(here.size, "float32")
    first[here.index] = differing[0] if differing else 0
    first = _sum(first)
    if first.any():
        worker = int(np.flatnonzero(first)[0])
        raise UsageError(
            f"Expected the {names[int(first[worker]) - 1]} of the first worker in all of them. "
            f"Received: another one in worker {worker}"
        )


def from_chief(call: Callable[[], Any] = lambda: None) -> Any:
    """What a function gives in the chief's process, in all of them.

    Args:
        call: what only the chief calls. It gives what JSON can hold.

    Raises:
        UsageError: the function did so.
    """
    here = cluster.of_environment()
    if here.size == 1:
        return call()
    failure, content = None, b""
    if here.is_chief:
        devices.strategy()  # before anything else is done with TensorFlow
        try:
            content = json.dumps({"found": call()}).encode()
        except UsageError as error:
            failure, content = error, json.dumps({"error": str(error)}).encode()
    said = json.loads(_broadcast(content))
    if failure is not None:
        raise failure
    if "error" in said:
        raise UsageError(said["error"])
    return said["found"]


def _broadcast(content: bytes = b"") -> bytes:
    """The chief's bytes, in all processes, which give none."""
    size = int.from_bytes(_sum_of_bytes(len(content).to_bytes(8, "little"), 4), "little")
    chunks = []
    for start in range(0, size, 2 * _CHUNK):
        count = min(_CHUNK, -(-(size - start) // 2))
        chunks.append(_sum_of_bytes(content[start : start + 2 * count], count))
    return b"".join(chunks)[:size]


def _sum_of_bytes(content: bytes, count: int) -> bytes:
    """So many pairs of bytes, which one process gives; the others have none, or zeros."""
    numbers = np.frombuffer(content.ljust(2 * count, b"\0"), "<u2").astype("float32")
    return _sum(numbers).astype("<u2").tobytes()


def _sum(numbers: np.ndarray) -> np.ndarray:
    """The sum of the processes' arrays of one shape."""
    strategy = devices.strategy()
    here = cluster.of_environment()
    first = here.index * (strategy.num_replicas_in_sync // here.size)  # of this process' devices
    parts = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(
            numbers if context.replica_id_in_sync_group == first else np.zeros_like(numbers)
        )
    )
    return strategy.reduce("SUM", parts, axis=None).numpy()


def share_out(batches: tf.data.Dataset) -> tf.data.Dataset:
    """This process' part of each batch, a share for each of its devices.

    Args:
        batches: of all processes together, which see the same ones.

    Returns:
        As `fit` and `evaluate` take it, which have to be told how many batches there are.
    """
    here = cluster.of_environment()
    if here.size == 1:
        return batches
    strategy = tf.distribute.get_strategy()
    devices_in_all = strategy.num_replicas_in_sync
    own = devices_in_all // here.size
    shared = _parts(batches, devices_in_all, range(here.index * own, (here.index + 1) * own))
    return strategy.distribute_datasets_from_function(lambda _: shared.prefetch(2 * own))


def _parts(batches: tf.data.Dataset, count: int, own: range) -> tf.data.Dataset:
    """Some of the parts of each batch.

    A batch of B examples is dealt out in order, ceil(B / count) to each part, as TensorFlow deals
    it out among the devices of one machine.

    Args:
        batches: tensors, or tuples or dicts of them.
        count: how many parts there are.
        own: those that are asked for, from 0.

    Example:

    >>> batches = tf.data.Dataset.range(9).batch(5)  # 0 to 4, 5 to 8
    >>> [part.numpy().tolist() for part in _parts(batches, 4, range(1, 3))]
    [[2, 3], [4], [6], [7]]
    """

    def of_batch(*batch: Any) -> tf.data.Dataset:
        whole = batch if len(batch) > 1 else batch[0]
        size = -(-tf.shape(keras.tree.flatten(whole)[0], tf.int64)[0] // count)

        def part(index: tf.Tensor) -> Any:
            cut = slice(index * size, (index + 1) * size)
            return keras.tree.map_structure(lambda values: values[cut], whole)

        return tf.data.Dataset.range(own.start, own.stop).map(part)

    return batches.flat_map(of_batch)


class _SharedSteps:
    """What Keras' trainer does otherwise where several processes share a batch.

    Keras would build by the mean of the processes' parts of a batch, labels included, and average
    what a step gives over its first axis, which a number doesn't have.
    """

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        if iterator is not None:
            iterator.reset()  # of an evaluation before, there is nothing left
        local = self.distribute_strategy.experimental_local_results
        for _, _, batches in iterator or ():
            data_batch = keras.tree.map_structure(lambda part: local(part)[0], next(batches))
            break
        with self.distribute_strategy.scope():
            self._symbolic_build(data_batch=data_batch)

    def _make_function(self, step_function):
        strategy = self.distribute_strategy

        def step(batches):
            found = strategy.run(step_function, args=(batches.get_next(),))
            return keras.tree.map_structure(
                lambda value: strategy.reduce("MEAN", value, axis=None), found
            )

        if self.run_eagerly:
            return step
        return tf.function(tf.autograph.experimental.do_not_convert(step), reduce_retracing=True)


def adapt(model: keras.Model) -> None:
    """Has a compiled network trained by all devices together, of one machine or several.

    Batch normalization then is over the whole batch, as on one device; and see `_SharedSteps`.

    Args:
        model: to be called again for one that was compiled, or loaded, since.
    """
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = devices.count() > 1
    if cluster.of_environment().size > 1:
        for name, method in vars(_SharedSteps).items():
            if callable(method):
                setattr(model, name, types.MethodType(method, model))
