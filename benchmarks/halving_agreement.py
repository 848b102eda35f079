"""How often greedy pruning with --budget chooses as it does without, on published score logs.

python -m benchmarks.halving_agreement [DRAWS]

The logs have the scores of all sets of one and of two of twelve layers after all steps. What a part
of the steps would have come to isn't in them: it is simulated, by normal noise on each candidate's
score, given as a multiple of the standard deviation of a step's candidates. The rank correlation of
early and final scores says what that means.
"""

import json
import pathlib
import sys

import numpy as np
from scipy import stats

from nas.layer_pruning import METHODS, Removal, RemovalRecord
from nas.layer_pruning.removals import Layers

LOGS = pathlib.Path(__file__).parents[1] / "tests/nas/layer_pruning/published_scores.json"
LAYERS, COUNT, SEED, BUDGET = 12, 2, 41, 0.25
NOISE = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)

Scores = dict[Layers, float]


def read() -> list[Scores]:
    """The scores of each complete log, by what was removed."""
    logs = json.loads(LOGS.read_text(encoding="utf-8"))["exhaustive"]
    complete = LAYERS + LAYERS * (LAYERS - 1) // 2
    found = [{tuple(layers): score for layers, score in log["scores"]} for log in logs]
    return [scores for scores in found if len(scores) == complete]


def records(scores: Scores, part: float) -> list[RemovalRecord]:
    """The trials of all sets."""
    return [
        RemovalRecord("-", Removal(removed, SEED, part), score=score)
        for removed, score in scores.items()
    ]


def order(full: Scores, early: Scores | None) -> Layers:
    """The layers that are chosen, the first one first; with early scores by halving."""
    budget = None if early is None else BUDGET
    method = METHODS.get("greedy")(LAYERS, COUNT, seeds=(SEED,), budget=budget)
    known = records(full, 1.0) + ([] if early is None else records(early, BUDGET))
    return method.order(known)


def noisy(full: Scores, noise: float, generator: np.random.Generator) -> Scores:
    """Scores after a part of the steps: noise in proportion to the spread of sets of that size."""
    sizes = {len(removed) for removed in full}
    spread = {n: np.std([s for removed, s in full.items() if len(removed) == n]) for n in sizes}
    return {
        removed: score + noise * spread[len(removed)] * generator.standard_normal()
        for removed, score in full.items()
    }


def correlation(full: Scores, early: Scores) -> float:
    """Spearman's, of the candidates of the first choice."""
    single = [removed for removed in full if len(removed) == 1]
    return float(stats.spearmanr([full[s] for s in single], [early[s] for s in single])[0])


def cost() -> float:
    """Steps of all candidates with halving, for each step without."""
    counts = [LAYERS - removed for removed in range(COUNT)]
    return sum(BUDGET * count + -(-count // 2) for count in counts) / sum(counts)


def main(draws: str = "200") -> None:
    """Prints a table."""
    logs, generator = read(), np.random.default_rng(0)
    print(f"{len(logs)} logs, {draws} draws each; --budget={BUDGET}: {cost():.2f} of the steps")
    print("| noise | rank correlation | first layer the same | both the same | score lost |")
    print("|---|---|---|---|---|")
    whole = [order(full, None) for full in logs]
    for noise in NOISE:
        found = []
        for full, expected in zip(logs, whole, strict=True):
            for _ in range(int(draws)):
                early = noisy(full, noise, generator)
                chosen = order(full, early)
                lost = full[tuple(sorted(expected))] - full[tuple(sorted(chosen))]
                same = chosen[0] == expected[0], set(chosen) == set(expected)
                found.append((correlation(full, early), *same, lost))
        mean = np.mean(found, axis=0)
        print(f"| {noise:g} | {mean[0]:.2f} | {mean[1]:.2f} | {mean[2]:.2f} | {mean[3]:.4f} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
