"""What experiments of many trainings share: lists of choices, a folder, processes, a table."""

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import tensorflow as tf

from tfcaps import files, process
from tfcaps.errors import UsageError
from tfcaps.training.configuration import flag_value

_SETTINGS = "experiment.json"
_BOOLEANS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """Base class of an experiment's choices; a field is the flag of the same name.

    Args:
        log_dir: folder of the results.
        resume: whether to go on in `log_dir`. Default False.
        workers: processes that train at the same time. Default (0): one for each core, or a single
            one with a GPU.
    """

    # What may differ between calls that add to the same experiment.
    varying: ClassVar[tuple[str, ...]] = ("log_dir", "resume", "workers")

    log_dir: str
    resume: bool = False
    workers: int = 0

    def fixed(self) -> dict[str, Any]:
        """What all parts of one experiment have in common, as in a JSON file."""
        values = {k: v for k, v in dataclasses.asdict(self).items() if k not in self.varying}
        return json.loads(json.dumps(values))

    def set_list(self, name: str, convert: Callable[[Any], Any], expected: str) -> None:
        """Converts the values of a list, which have to be distinct ones.

        Args:
            name: of the field.
            convert: a value, or raises a ValueError or KeyError.
            expected: what the list has to be, for the message.
        """
        received = getattr(self, name)
        try:
            values = tuple(convert(value) for value in received)
        except (ValueError, KeyError):
            values = ()
        is_good = values and len(set(values)) == len(values)
        expect(is_good, f"--{name} {expected}", ",".join(map(str, received)))
        object.__setattr__(self, name, values)

    def open_folder(self, *subfolders: str) -> pathlib.Path:
        """Makes `log_dir` and folders in it, or checks that what is there can be gone on with.

        Raises:
            UsageError: `log_dir` has an experiment and `resume` isn't set, or one with other
                settings.
        """
        folder = pathlib.Path(self.log_dir)
        settings = folder / _SETTINGS
        if settings.exists():
            expect(
                self.resume, "--resume, or another --log_dir", f"{folder}, which has an experiment"
            )
            stored = json.loads(settings.read_text(encoding="utf-8"))
            for name, value in self.fixed().items():
                expect(
                    stored.get(name) == value,
                    f"--{name}={flag_value(stored.get(name))}, as in {folder}",
                    flag_value(value),
                )
        for place in (folder, *(folder / name for name in subfolders)):
            place.mkdir(parents=True, exist_ok=True)
            files.remove_unfinished(place)
        files.write_json(settings, self.fixed())
        return folder


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
    return 1 if tf.config.list_physical_devices("GPU") else len(os.sched_getaffinity(0))


def _on_one_core(function: Callable[..., None], *arguments: Any) -> None:
    """Calls a function in a process that has others beside it."""
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


def boolean(value: Any) -> bool:
    """A boolean as flags have it.

    Raises:
        KeyError: it is none.
    """
    return _BOOLEANS[str(value).lower()]


def at_least(smallest: int, value: Any) -> int:
    """An integer of this size.

    Raises:
        ValueError: it is smaller, or none.
    """
    if int(value) < smallest:
        raise ValueError
    return int(value)


def expect(condition: Any, expected: str, received: Any) -> None:
    """Raises a UsageError unless the condition holds."""
    if not condition:
        raise UsageError(f"Expected {expected}. Received: {received}")


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
