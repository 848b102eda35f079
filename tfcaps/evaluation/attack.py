"""How accurate a finished run's network is on images that are changed to fool it."""

import json
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tfcaps import files, plots
from tfcaps.datasets import Split
from tfcaps.errors import UsageError
from tfcaps.evaluation.progress import shown
from tfcaps.evaluation.subject import Subject, spread
from tfcaps.plots.accuracy_against_epsilon import accuracy_against_epsilon
from tfcaps.robustness import attacks
from tfcaps.robustness.projected_gradient_descent import check_attack


def accuracy_under_attack(
    subject: Subject,
    output_dir: str | os.PathLike,
    *,
    names: Sequence[str],
    epsilons: Iterable[float | str],
    examples: int = 1000,
    step_size: float = 0.01,
    steps: int = 40,
) -> list[dict[str, Any]]:
    """Attacks a network with bounds of several sizes; ε is in units of pixels in [0, 1].

    Writes `attacks.csv` and `figures/accuracy_against_epsilon.png`. What was finished is kept in
    `attack-NAME.json` after each batch: a call with the same arguments goes on there.

    Args:
        subject: network and examples.
        output_dir: where to; it is made if missing.
        names: attacks, among `robustness.attacks.names()`.
        epsilons: bounds, each at least 0.
        examples: so many, spread evenly over the subject's; 0: all of them. Default 1000, or all of
            them where there are fewer.
        step_size: of projected gradient descent, above 0. Default 0.01.
        steps: of projected gradient descent, at least 1. Default 40.

    Returns:
        The rows of attacks.csv: `attack`, `norm`, `epsilon`, `accuracy`, `examples`.

    Raises:
        UsageError: an argument is out of its range, or the attacks' library is not installed.
    """
    bounds = _bounds(epsilons)
    check_attack(epsilon=0.0, step_size=step_size, steps=steps)
    for name in names:
        attacks.check(name, bounds)
    if examples < 0:
        raise UsageError(f"Expected --attack_examples >= 0. Received: {examples}")
    count = min(examples or len(subject.split), len(subject.split))
    split = spread(subject.split, count, flag="attack_examples")
    folder = pathlib.Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in names:
        wrong = _attack(subject, split, folder, name, bounds, step_size=step_size, steps=steps)
        rows += [
            {
                "attack": name,
                "norm": attacks.norm(name),
                "epsilon": epsilon,
                "accuracy": 1.0 - number / len(split),
                "examples": len(split),
            }
            for epsilon, number in zip(bounds, wrong, strict=True)
        ]
    files.write_csv(folder / "attacks.csv", rows)
    plots.save(accuracy_against_epsilon(rows), folder / "figures" / "accuracy_against_epsilon.png")
    return rows


def attack_table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows of `accuracy_under_attack` as lines of text."""
    lines = [
        f"{rows[0]['examples']:,} examples",
        f"{'attack':16}{'norm':6}{'ε':>8}{'accuracy':>10}",
    ]
    lines += [
        f"{row['attack']:16}{row['norm']:6}{row['epsilon']:8g}{row['accuracy']:10.2%}"
        for row in rows
    ]
    return "\n".join(lines)


def _bounds(epsilons: Iterable[float | str]) -> list[float]:
    """The bounds as numbers, from the smallest on and each once."""
    epsilons = list(epsilons)
    try:
        return sorted({float(epsilon) for epsilon in epsilons})
    except ValueError:
        raise UsageError(
            "Expected --epsilons to be numbers >= 0, such as 0,0.05,0.1. "
            f"Received: {','.join(map(str, epsilons))}"
        ) from None


def _attack(
    subject: Subject,
    split: Split,
    folder: pathlib.Path,
    name: str,
    bounds: list[float],
    **arguments: float,
) -> list[int]:
    """How many examples the network is wrong on under one attack, for each bound."""
    path = folder / f"attack-{name}.json"
    settings = {
        "checkpoint": subject.checkpoint,
        "epoch": subject.run.epoch,
        "dataset": subject.data.name,
        "split": subject.split_name,
        "examples": len(split),
        "batch_size": subject.batch_size,
        "epsilons": bounds,
        **arguments,
    }
    done, wrong = _read(path, settings)
    if done == len(split):
        return wrong
    if done:
        print(f"Going on with {name} after {done:,} examples.")
    rest = split.take(np.arange(done, len(split)))
    batches = (
        (batch["original"].numpy(), batch["label"].numpy()) for batch in subject.batches(rest)
    )
    found = attacks.attacked_images(subject.scores, batches, name, bounds, **arguments)
    for _, is_wrong in shown(f"Attack {name}", found, len(rest), subject.batch_size):
        done += is_wrong.shape[1]
        wrong = (np.array(wrong) + is_wrong.sum(axis=1)).tolist()
        files.write_json(path, {"settings": settings, "done": done, "wrong": wrong})
    return wrong


def _read(path: pathlib.Path, settings: dict[str, Any]) -> tuple[int, list[int]]:
    """Examples that an earlier call with the same settings has attacked, and its numbers."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["settings"] == settings:
            return content["done"], content["wrong"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass
    return 0, [0] * len(settings["epsilons"])
