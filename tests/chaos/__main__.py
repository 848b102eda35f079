"""Ends programs at random moments, has them go on, and compares: `make chaos MOMENTS=20`.

python -m tests.chaos runs/chaos --moments=20 --programs=train_capsnet,auto_tune --seed=1

Each program does a small piece of work without a disturbance first. Then, for each moment and for
each of SIGKILL and SIGTERM, the same is begun anew, ended, and called again with --resume until it
is done. All numbers in its folder have to be those of the first time, to the last bit, and SIGTERM
has to end it with 143. `moments.csv` in the folder has a row for each; moments that it has aren't
tried again, so this can be stopped at any time, too.
"""

import argparse
import csv
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

from tests import runs
from tests.chaos.jobs import JOBS
from tests.chaos.outcome import outcome
from tfcaps import files

COLUMNS = ("program", "signal", "moment", "seconds", "exit_code", "calls", "result")
SIGNALS = {"SIGKILL": -signal.SIGKILL, "SIGTERM": 143}
_MOST_CALLS = 3


def main() -> int:
    """Tries what is asked for; 1 where something came out differently."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("folder", type=pathlib.Path, help="of moments.csv, and for the programs")
    parser.add_argument("--moments", type=int, default=20, help="of each program and signal")
    parser.add_argument("--programs", default=",".join(JOBS), help="some of them")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    table = asked.folder / "moments.csv"
    rows = list(csv.DictReader(table.open(newline=""))) if table.exists() else []
    done = {(row["program"], row["signal"], int(row["moment"])) for row in rows}
    for name in asked.programs.split(","):
        wanted = [
            (number, moment)
            for moment in range(asked.moments)
            for number in SIGNALS
            if (name, number, moment) not in done
        ]
        if not wanted:
            continue
        arguments = JOBS[name](asked.folder)
        expected, seconds = _undisturbed(name, arguments, asked.folder / "undisturbed" / name)
        for number, moment in wanted:
            draw = random.Random(f"{asked.seed} {name} {number} {moment}").uniform(0, seconds)
            row = _disturbed(name, arguments, asked.folder / "disturbed", number, draw, expected)
            rows.append({"program": name, "signal": number, "moment": moment, **row})
            files.write_csv(table, rows, COLUMNS)
            print(*(rows[-1][column] for column in COLUMNS), flush=True)
    wrong = [row for row in rows if row["result"] != "the same"]
    print(f"{len(rows)} moments, {len(wrong)} of them with another result.")
    return bool(wrong)


def _undisturbed(name: str, arguments: tuple[str, ...], folder: pathlib.Path):
    """What comes out, and how long it takes."""
    _empty(folder)
    started = time.monotonic()
    code, _, errors = runs.finish(_start(name, arguments, folder))
    if code:
        raise RuntimeError(f"{name} {' '.join(arguments)}: {errors}")
    return outcome(folder), time.monotonic() - started


def _disturbed(name, arguments, folder, number, seconds, expected) -> dict[str, object]:
    """Begins, ends with a signal after some seconds, goes on, and compares."""
    _empty(folder)
    process = _start(name, arguments, folder)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(getattr(signal, number))
    code, _, errors = runs.finish(process)
    result = ""
    # It may be done already, as it takes a little longer or shorter each time; and before anything
    # is written, Python may not yet know what to do at a signal.
    has_begun = any(folder.iterdir())
    may_be = {0, SIGNALS[number], *([] if has_begun else [-getattr(signal, number)])}
    if code not in may_be:
        result = f"exit code {code}: {errors.strip()[-200:]}"
    calls = 1
    while code and not result:
        calls += 1
        code, _, errors = runs.finish(_start(name, arguments, folder))
        if code and calls > _MOST_CALLS:
            result = f"could not go on: {errors.strip()[-200:]}"
    found = outcome(folder)
    differing = sorted(
        path for path in {*found, *expected} if found.get(path) != expected.get(path)
    )
    if differing and not result:
        result = f"differs: {', '.join(differing[:5])}"
    return {
        "seconds": f"{seconds:.2f}",
        "exit_code": process.returncode,
        "calls": calls,
        "result": result or "the same",
    }


def _empty(folder: pathlib.Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _start(name: str, arguments: tuple[str, ...], folder: pathlib.Path) -> subprocess.Popen:
    return runs.start(name, f"--log_dir={folder}", *arguments, "--resume")


if __name__ == "__main__":
    sys.exit(main())
