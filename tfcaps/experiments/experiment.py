"""What experiments of many trainings share: lists of choices, a folder, processes, a table."""

import contextlib
import dataclasses
import math
import multiprocessing
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tfcaps import files, process
from tfcaps.errors import UsageError
from tfcaps.options import WorkOptions, changed, flag_value, option
from tfcaps.training import CapsuleNetworkConfig, cluster


def em_cost() -> Any:
    """The option of experiments with EM among their routings."""
    return changed(
        CapsuleNetworkConfig,
        "em_cost",
        default="relative",
        help="Of em: what a cluster costs, relative to the others or as published.",
        before="published",
    )


# In experiment.json: what the experiment is on.
_KIND = "experiment"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment(WorkOptions):
    """Base class of an experiment's choices; a field is the flag of the same name.

    Lists may be longer, or others, in a call that goes on: the parts that are there are kept.
    """

    resume: bool = changed(
        WorkOptions, "resume", help="Go on in --log_dir; the lists may be others."
    )
    workers: int = option(
        "Processes that train at the same time; 0: one for each core, or a single one with a GPU.",
        default=0,
        range=">= 0",
        may_change=True,
    )

    @contextlib.contextmanager
    def open_folder(self, *subfolders: str) -> Iterator[pathlib.Path]:
        """Makes `log_dir` and folders in it, or checks that what is there can be gone on with.

        Raises:
            UsageError: `log_dir` has an experiment and `resume` isn't set, or one with other
                settings or on something else, or another process is at work there.
        """
        cluster.expect_one_machine("an experiment")
        folder = files.WorkFolder(self.log_dir, files.EXPERIMENT)
        with folder.locked():
            self._check_kind(folder)
            folder.check(self)
            folder.begin({_KIND: self.run_name, **self.settled()}, *subfolders)
            yield folder.path

    def _check_kind(self, folder: files.WorkFolder) -> None:
        """Refuses to go on with an experiment on something else."""
        stored = files.read_json(folder.marker)
        # Older experiments don't say what they are on.
        found = stored.get(_KIND, self.run_name) if isinstance(stored, dict) else self.run_name
        if self.resume and found != self.run_name:
            raise UsageError(
                f"Expected --log_dir with the experiment {self.run_name} to go on with it. "
                f"Received: --log_dir={folder.path}, which holds the experiment {found}"
            )


@contextlib.contextmanager
def own_output(folder: pathlib.Path) -> Iterator[None]:
    """Sends the progress of a training beside others to a file, `folder`.log.

    Several bars on one screen say nothing; that of a training alone stays there.
    """
    if multiprocessing.parent_process() is None:
        yield
        return
    path = folder.with_suffix(".log")
    path.parent.mkdir(exist_ok=True)
    try:
        with path.open("a", encoding="utf-8") as log, contextlib.redirect_stdout(log):
            yield
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk names none
        raise


def share_out(train: Callable[..., None], calls: Sequence[tuple], workers: int) -> Iterator[tuple]:
    """Has trainings done, by several processes with one core each, or here if one is enough.

    Two of them side by side do more than one on two cores: the operations of small networks are
    too short to be divided.

    Args:
        train: a function of a module.
        calls: its arguments for each training. The first ones begin first.
        workers: see `Experiment`.

    Yields:
        The arguments of each training that has ended.
    """
    workers = min(workers or _processors(), len(calls))
    if workers <= 1:
        for call in calls:
            train(*call)
            yield call
        return
    print(f"{workers} processes share {len(calls)} trainings.", flush=True)
    for (_, *call), _ in process.run_all(_on_one_core, [(train, *call) for call in calls], workers):
        yield tuple(call)


def _processors() -> int:
    """How many trainings this machine has room for at the same time."""
    import tensorflow as tf

    return 1 if tf.config.list_physical_devices("GPU") else len(os.sched_getaffinity(0))


def _on_one_core(function: Callable[..., None], *arguments: Any) -> None:
    """Calls a function in a process that has others beside it."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    function(*arguments)


def time_left(seconds: float, done: float, whole: float) -> str:
    """How long the rest of some work takes, if it goes on as it did.

    >>> time_left(60.0, 1, 4), time_left(60.0, 4, 4)
    (' (about 3 min left)', '')
    """
    if done >= whole:
        return ""
    return f" (about {math.ceil(seconds * (whole - done) / done / 60)} min left)"


def ends_first(values: list[int]) -> list[int]:
    """The first and the last, then the middle of each gap.

    >>> ends_first([2, 3, 4, 5, 6, 7])
    [2, 7, 4, 3, 5, 6]
    """
    order = [values[0], *values[-1:]] if len(values) > 1 else values[:]
    gaps = [(0, len(values) - 1)]
    while gaps:
        low, high = gaps.pop(0)
        middle = (low + high) // 2
        if high - low > 1:
            order.append(values[middle])
            gaps += [(low, middle), (middle, high)]
    return order


def text_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as lines of text, with a header.

    >>> print(text_table([{"mean": None, "depth": 3}, {"mean": 0.5, "depth": 2}]))
             mean          depth
                               3
           0.5000              2
    """
    lines = [rows[0], *(row.values() for row in rows)]
    return "\n".join("  ".join(f"{_cell(value):>13}" for value in line) for line in lines)


def _cell(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else flag_value(value)
