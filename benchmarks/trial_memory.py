"""Does the memory of a process grow from trial to trial?

Makes small trials, one after the other, and prints the searching process's memory after each.

    python -m benchmarks.trial_memory --trials=30
    python -m benchmarks.trial_memory --trials=30 --no-isolate_trials
"""

import argparse
import contextlib
import io
import os
import pathlib
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


from nas import search
from nas.configuration import SearchConfig
from nas.folders import SearchFolder
from nas.records import START, Decision, Proposal
from nas.tuner import ControllerOracle

# The first trials fill TensorFlow's and Keras' caches.
SETTLED = 3
_TINY = {
    **{"blocks": (2, 2, 2), "widths": (8, 16, 32), "stem": "cifar"},
    **{"train_examples": 200, "validation_fraction": 0.3, "steps_per_epoch": 3, "check_epochs": 1},
    **{"conflicting_samples_size": 64, "batch_size": 32},
}


class _Repeat:
    """A rule that makes the same trial again and again."""

    def __init__(self, architecture):
        self.architecture = architecture

    def decide(self, records):
        return Decision((Proposal(len(records), START, self.architecture),))


def memory_after_trials(trials: int, *, isolate_trials: bool) -> list[float]:
    """Resident memory in MB (2²⁰ bytes) after each of so many trials."""
    found = []
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        config = SearchConfig(
            log_dir=folder, max_trials=trials, isolate_trials=isolate_trials, **_TINY
        )
        search_folder = SearchFolder(folder)
        search_folder.create(config, {})
        tuner = search.make_tuner(config, search_folder, config.task().load())
        oracle: ControllerOracle = tuner.oracle
        oracle.rule = _Repeat(config.start)
        oracle.on_end = lambda _: found.append(_resident_megabytes())
        tuner.search()
    return found


def _resident_megabytes() -> float:
    for line in pathlib.Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no VmRSS")


def main() -> None:
    """Prints the memory after each trial, and the growth since the third one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--isolate_trials", action=argparse.BooleanOptionalAction, default=True)
    found = memory_after_trials(**vars(parser.parse_args()))
    for number, megabytes in enumerate(found, start=1):
        print(f"trial {number:2}: {megabytes:7.0f} MB", flush=True)
    print(f"growth since trial {SETTLED}: {found[-1] - found[SETTLED - 1]:.0f} MB")


if __name__ == "__main__":
    main()
