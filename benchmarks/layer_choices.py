"""What other methods would have chosen by the trials of an exhaustive pruning, and at what score.

python -m benchmarks.layer_choices PRUNING_FOLDER [block_influence=5,4 …]

Orders behind a method's name, the first two layers, are compared, too: those of one pass.
"""

import csv
import math
import pathlib
import sys

import numpy as np

from nas.layer_pruning import METHODS, Removal, RemovalRecord
from nas.layer_pruning.removals import split


def read(folder: pathlib.Path) -> list[RemovalRecord]:
    """The finished trials, from history.csv."""
    with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["status"] == "completed"]
    return [
        RemovalRecord(
            row["trial"],
            Removal(split(row["removed"]), int(row["seed"]), float(row["part"]), row["role"]),
            score=float(row["score"]),
            above_majority=float(row["above_majority"] or math.nan),
            above_error=float(row["above_error"] or math.nan),
        )
        for row in rows
    ]


def main(folder: str, *orders: str) -> None:
    """Prints a table."""
    records = read(pathlib.Path(folder))
    scores = {
        (r.proposal.removed, r.proposal.seed): r.score
        for r in records
        if r.proposal.role != "final"
    }
    seeds = sorted({seed for _, seed in scores})
    layers = 1 + max(layer for removed, _ in scores for layer in removed)
    chosen = {
        name: METHODS.get(name)(layers, 2, seeds=seeds).chosen(records)
        for name in ("exhaustive", "greedy", "top")
    }
    for text in orders:
        name, order = text.split("=")
        first, second = map(int, order.split(","))
        chosen[name] = ((first,), (first, second))

    def row(name: str, removed: tuple[int, ...]) -> None:
        removed = tuple(sorted(removed))
        if any((removed, seed) not in scores for seed in seeds):
            return  # the pruning hasn't come so far
        own = np.array([scores[removed, seed] for seed in seeds])
        best = tuple(sorted(chosen["exhaustive"][len(removed) - 1])) if removed else ()
        differences = own - [scores[best, seed] for seed in seeds]
        root = math.sqrt(len(seeds))
        print(
            f"{len(removed)} {name:16} {'-'.join(map(str, removed)) or 'none':8} "
            f"{own.mean():.4f} ± {own.std(ddof=1) / root:.4f}  to the best "
            f"{differences.mean():+.4f} ± {differences.std(ddof=1) / root:.4f}"
        )

    row("whole model", ())
    for size in range(1, 1 + len(chosen["exhaustive"])):
        for name, sets in chosen.items():
            if len(sets) >= size:
                row(name, sets[size - 1])
        all_sets = sorted({removed for removed, _ in scores if len(removed) == size})
        means = [np.mean([scores[removed, seed] for seed in seeds]) for removed in all_sets]
        print(f"{size} median of {len(means)} sets: {np.median(means):.4f}, worst {min(means):.4f}")
    for number, step in enumerate(METHODS.get("greedy")(layers, 2, seeds=seeds).steps(records), 1):
        print(
            f"greedy choice {number}: ahead of the second by {step.difference:+.4f} ± "
            f"{step.error:.4f}, {'' if step.is_distinguishable else 'not '}distinguishable"
        )
    each = [METHODS.get("greedy")(layers, 2, seeds=(seed,)).chosen(records) for seed in seeds]
    print("greedy by one seed:", "; ".join("-".join(map(str, sets[-1])) for sets in each if sets))


if __name__ == "__main__":
    main(*sys.argv[1:])
