"""Ends programs at random moments, has them go on, and compares: `make chaos MOMENTS=20`.

python -m tests.chaos runs/chaos --moments=20 --programs=train_capsnet,auto_tune --seed=1

Each program does a small piece of work without a disturbance first. Then, for each moment and for
each of SIGKILL and SIGTERM, the same is begun anew, ended, and called again with --resume until it
is done. All numbers in its folder have to be those of the first time, to the last bit, and SIGTERM
has to end it with 143. `moments.csv` in the folder has a row for each; moments that it has aren't
tried again, so this can be stopped at any time, too.

--ends=FULL fills the disk instead, a small one in memory, which only root can make: it has room
for a random part of what the work leaves. The program has to say so in one sentence and to leave
nothing half written, and gets more room before it is called again.
"""

import argparse
import contextlib
import csv
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

from tests import runs
from tests.chaos.jobs import JOBS
from tests.chaos.outcome import outcome
from tfcaps import files

COLUMNS = ("program", "signal", "moment", "seconds", "exit_code", "calls", "result")
# What ends a program, and its exit code.
ENDS = {"SIGKILL": -signal.SIGKILL, "SIGTERM": 143, "FULL": 1}
_ROOM = "2g"  # for what goes on
_MOST_CALLS = 3


def main() -> int:
    """Tries what is asked for; 1 where something came out differently."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("folder", type=pathlib.Path, help="of moments.csv, and for the programs")
    parser.add_argument("--moments", type=int, default=20, help="of each program and signal")
    parser.add_argument("--programs", default=",".join(JOBS), help="some of them")
    parser.add_argument("--ends", default="SIGKILL,SIGTERM", help=f"of {', '.join(ENDS)}")
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
            for number in asked.ends.split(",")
            if (name, number, moment) not in done
        ]
        if not wanted:
            continue
        arguments = JOBS[name](asked.folder)
        undisturbed = asked.folder / "undisturbed" / name
        expected, seconds = _undisturbed(name, arguments, undisturbed)
        size = sum(path.stat().st_size for path in undisturbed.rglob("*") if path.is_file())
        for number, moment in wanted:
            draw = random.Random(f"{asked.seed} {name} {number} {moment}")
            with contextlib.ExitStack() as stack:
                folder = asked.folder / "disturbed"
                if number == "FULL":
                    stack.enter_context(_small_disk(folder, int(draw.uniform(0.0, 1.0) * size)))
                row = _disturbed(
                    *(name, arguments, folder, number, draw.uniform(0, seconds), expected)
                )
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
    if number != "FULL":
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(getattr(signal, number))
    code, _, errors = runs.finish(process)
    result = ""
    # It may be done already, as it takes a little longer or shorter each time; and before anything
    # is written, Python may not yet know what to do at a signal.
    may_be = {0, ENDS[number]}
    if number != "FULL" and not any(folder.iterdir()):
        may_be.add(-getattr(signal, number))
    if code not in may_be:
        result = f"exit code {code}: {errors.strip()[-200:]}"
    if number == "FULL" and code:
        last = errors.strip().splitlines()[-1]
        left = [str(path) for path in folder.rglob(".writing-*")]
        if "Traceback" in errors or not re.search("No space left|disk is full", last) or left:
            result = f"full: {left} {errors.strip()[-400:]}"
        subprocess.run(["mount", "-o", f"remount,size={_ROOM}", folder], check=True)
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
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextlib.contextmanager
def _small_disk(folder: pathlib.Path, size: int) -> Iterator[None]:
    """Has a folder lie in memory, with room for so many bytes, rounded to pages."""
    folder.mkdir(parents=True, exist_ok=True)
    if folder.is_mount():  # of a call that was stopped
        subprocess.run(["umount", folder], check=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={max(size, 4096)}", "tmpfs", folder]
    subprocess.run(mount, check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def _start(name: str, arguments: tuple[str, ...], folder: pathlib.Path) -> subprocess.Popen:
    return runs.start(name, f"--log_dir={folder}", *arguments, "--resume")


if __name__ == "__main__":
    sys.exit(main())
