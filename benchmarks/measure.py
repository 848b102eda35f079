"""Times side by side, so that a busy machine slows both, and peak memory in a new process."""

import multiprocessing
import pathlib
import statistics
import time
from collections.abc import Callable, Mapping


def medians(programs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each program; in each round every program runs once, in turn."""
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


def peak_megabytes(make_program: Callable, *args) -> float:
    """How far a few runs of a program raise the peak memory of a new process, in MB.

    Args:
        make_program: makes the program, with all its inputs, from `args`; what it allocates
            itself isn't counted.
        args: picklable.
    """
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_peak_of, (make_program, args))


def _peak_of(make_program, args) -> float:
    program = make_program(*args)
    before = _memory("VmRSS")
    for _ in range(3):
        program()
    return _memory("VmHWM") - before


def _memory(field: str) -> float:
    """A figure of this process in MB: VmRSS, now, or VmHWM, its peak (Linux)."""
    # Not getrusage: its peak is inherited from the parent process.
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {field}")
