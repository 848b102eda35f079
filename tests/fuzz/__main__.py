"""Reads many cases of each kind, and tells what became of them: `make fuzz CASES=100000`.

python -m tests.fuzz --cases=10000 --kinds=images,requests --seed=1
"""

import argparse
import os
import pathlib
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tests.fuzz import harness, kinds

_SHOWN_SECONDS = 5.0


def main() -> int:
    """Runs what is asked for; 1 where there are faults."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=1000, help="of each kind")
    parser.add_argument("--seconds", type=float, default=0, help="of a kind, at most; 0: any")
    parser.add_argument("--kinds", default="", help=f"of {', '.join(kinds.names())}; none: all")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    tallies = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ[harness.TRAP] = os.path.join(folder, "executed")
        for name in asked.kinds.split(",") if asked.kinds else kinds.names():
            kind = kinds.make(name, pathlib.Path(folder))
            tallies[name] = harness.run(
                kind, asked.cases, asked.seed, seconds=asked.seconds, progress=_shower(name, asked)
            )
            print(f"\r{_line(name, tallies[name])}", flush=True)
            for place, case in tallies[name].faults.items():
                print(f"  FAULT {place}\n    {case[:600]}", flush=True)
    print(f"\n{'kind':20} {'cases':>9} {'read':>9} {'told':>9} {'faults':>7} {'slowest':>9}")
    for name, tally in tallies.items():
        print(_line(name, tally))
    print(f"At most {harness.peak_megabytes():,.0f} MB.")
    return any(tally.faults for tally in tallies.values())


def _line(name: str, tally: harness.Tally) -> str:
    told = sum(tally.sentences.values())
    return (
        f"{name:20} {tally.done:9,} {tally.read:9,} {told:9,} {len(tally.faults):7} "
        f"{tally.slowest:7.2f} s"
    )


def _shower(name: str, asked: argparse.Namespace):
    """What shows the progress now and then."""
    shown = started = time.monotonic()

    def show(tally: harness.Tally) -> None:
        nonlocal shown
        if time.monotonic() - shown > _SHOWN_SECONDS:
            shown = time.monotonic()
            rate = tally.done / (shown - started)
            print(f"\r{name}: {tally.done:,} of {asked.cases:,} cases, {rate:,.0f}/s, "
                  f"{len(tally.faults)} faults", end="", file=sys.stderr, flush=True)  # fmt: skip

    return show


if __name__ == "__main__":
    sys.exit(main())
