"""What programs cost: seconds side by side, peak memory in a new process, time for an image."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import pathlib
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfcaps import process, quiet
from tfcaps.errors import UsageError

# Keras is imported where it is needed: a measured process begins small and in no time.
if TYPE_CHECKING:
    import keras

# Of the second and the first version of control groups.
_CONTAINER_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)


def medians(programs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each program; in each round every program runs once, in turn.

    A busy machine slows all of them, so their ratios stay. Two runs of each come before, uncounted.

    Args:
        programs: functions without arguments, by name.
        rounds: number of counted runs of each.

    Raises:
        ValueError: `rounds` is below 1.

    Example:

    >>> seconds = medians({"sum": lambda: sum(range(9)), "sort": lambda: sorted("capsule")}, 3)
    >>> list(seconds)
    ['sum', 'sort']
    """
    if rounds < 1:
        raise UsageError(f"Expected rounds >= 1. Received: {rounds}")
    for program in programs.values():
        program()
        program()
    seconds = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            start = time.perf_counter()
            program()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def milliseconds_per_image(
    model: "keras.Model", image_shape: Sequence[int], *, batch_size: int = 64, rounds: int = 5
) -> float:
    """Median time in ms that a model needs for an image, with full batches and a compiled function.

    Args:
        model: a model of images; its weights don't matter.
        image_shape: height, width, channels.
        batch_size: Default 64.
        rounds: number of batches that are timed. Default 5.

    Raises:
        ValueError: `batch_size` or `rounds` is below 1.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten()])
    >>> milliseconds_per_image(model, (2, 2, 1), rounds=3) > 0
    True
    """
    if batch_size < 1:
        raise UsageError(f"Expected batch_size >= 1. Received: {batch_size}")
    images = np.random.default_rng(0).random((batch_size, *image_shape), dtype="float32")
    return 1e3 * medians({"image": inference(model, images)}, rounds)["image"] / batch_size


def inference(model: "keras.Model", inputs: object) -> Callable[[], object]:
    """A program that has a model see some inputs, with a compiled function, and waits for the end.

    Args:
        model: any model.
        inputs: an array, or arrays by name, as the model takes them.
    """
    import keras

    infer = _compiled(model)
    tensors = keras.tree.map_structure(keras.ops.convert_to_tensor, inputs)

    def infer_once():
        # To NumPy: devices work on after the call, until someone asks for the result.
        return [keras.ops.convert_to_numpy(output) for output in keras.tree.flatten(infer(tensors))]

    return infer_once


def peak_megabytes(
    make_program: Callable[..., Callable[[], object]], *args, settled: bool = False
) -> float:
    """How far three runs of a program raise the peak memory of a new process, in MB (2²⁰ bytes).

    Where the function is one of the main module, the new process imports that again: what it does
    at once has to stand below `if __name__ == "__main__"`. Linux only.

    Args:
        make_program: a function of a module that makes the program, with all its inputs, from
            `args`; what it allocates itself isn't counted.
        args: anything that can be pickled.
        settled: whether one more run comes before, which opens what the others use: what it keeps
            is counted, what it frees isn't. Default False.

    Raises:
        concurrent.futures.process.BrokenProcessPool: the process was killed, e.g. as it needs more
            memory than there is.
    """
    context = multiprocessing.get_context("spawn")
    # Not context.Pool: it would wait for ever for a process that was killed.
    with concurrent.futures.ProcessPoolExecutor(
        1, mp_context=context, initializer=quiet.hide_start_of_tensorflow
    ) as pool:
        with process.without_main(make_program, args):
            found = pool.submit(_peak_of, make_program, args, settled)
        return found.result()


def machine_megabytes() -> float:
    """What the machine, or the container that this process is in, has of memory, in MB (Linux)."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    limits = [pages * size]
    for path in _CONTAINER_LIMITS:
        # There is no such file on some systems, and "max" in it where nothing is limited.
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(pathlib.Path(path).read_text(encoding="utf-8")))
    own, _ = resource.getrlimit(resource.RLIMIT_AS)
    if own != resource.RLIM_INFINITY:
        limits.append(own)
    return min(limits) / 2**20


def _compiled(model):
    import keras

    if keras.backend.backend() != "tensorflow":
        return model.predict_on_batch  # compiles
    import tensorflow as tf

    # Not predict_on_batch: its way of compiling depends on how the model was trained.
    return tf.function(lambda images: model(images, training=False))


def _peak_of(make_program, args, settled) -> float:
    program = make_program(*args)
    _forget_peak()  # else the making would count
    before = _memory("VmRSS")
    if settled:
        program()
        _forget_peak()
    for _ in range(3):
        program()
    return _memory("VmHWM") - before


def _forget_peak() -> None:
    """Sets the peak back to the present memory. Some kernels can't."""
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def _memory(field: str) -> float:
    """A figure of this process in MB: VmRSS, now, or VmHWM, its peak (Linux)."""
    # Not getrusage: its peak is inherited from the parent process.
    for line in pathlib.Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {field}")
