"""How accurate a finished run's network is on images that are changed to fool it."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfcaps import files, plots
from tfcaps.datasets import Split
from tfcaps.errors import UsageError
from tfcaps.evaluation.progress import shown
from tfcaps.evaluation.subject import Subject, spread
from tfcaps.robustness import attacks


def accuracy_under_attack(
    subject: Subject, output_dir: str | os.PathLike | None = None, **changes: Any
) -> list[dict[str, Any]]:
    """Attacks a network with bounds of several sizes; ε is in units of pixels in [0, 1].

    Writes `attacks.csv` and `figures/accuracy_against_epsilon.png`. What was finished is kept in
    `attack-NAME.json` after each batch: a call with the same arguments goes on there.

    Args:
        subject: network and examples.
        output_dir: where to; it is made if missing. Default: as the subject's options say.
        **changes: other options than the subject's, see `EvaluationOptions`: `attack`, `epsilons`,
            `attack_examples` (all of them where there are fewer), `attack_step_size` and
            `attack_steps`.

    Returns:
        The rows of attacks.csv: `attack`, `norm`, `epsilon`, `accuracy`, `examples`.

    Raises:
        UsageError: an argument is out of its range, or the attacks' library is not installed.
    """
    subject = subject.asked(output_dir, **changes)
    options = subject.options
    if not options.attack:
        raise UsageError(f"Expected --attack, some of {', '.join(attacks.names())}. Received: none")
    bounds = sorted(set(options.epsilons))
    count = min(options.attack_examples or len(subject.split), len(subject.split))
    split = spread(subject.split, count, flag="attack_examples")
    rows = []
    with files.WorkFolder(subject.folder, files.EVALUATION).locked():
        files.remove_unfinished(subject.folder)
        for name in options.attack:
            wrong = _attack(subject, split, name, bounds)
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
        files.write_csv(subject.folder / "attacks.csv", rows)
        figure = plots.accuracy_against_epsilon(rows)
        plots.save(figure, subject.folder / "figures" / "accuracy_against_epsilon.png")
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


def _attack(subject: Subject, split: Split, name: str, bounds: list[float]) -> list[int]:
    """How many examples the network is wrong on under one attack, for each bound."""
    options = subject.options
    path = subject.folder / f"attack-{name}.json"
    arguments: dict[str, Any] = {
        "step_size": options.attack_step_size,
        "steps": options.attack_steps,
    }
    settings = {
        "checkpoint": options.checkpoint,
        "epoch": subject.run.epoch,
        "dataset": subject.data.name,
        "split": options.split,
        "examples": len(split),
        "batch_size": options.batch_size,
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
    for _, is_wrong in shown(f"Attack {name}", found, len(rest), options.batch_size):
        done += is_wrong.shape[1]
        wrong = (np.array(wrong) + is_wrong.sum(axis=1)).tolist()
        files.write_json(path, {"settings": settings, "done": done, "wrong": wrong})
    return wrong


def _read(path: pathlib.Path, settings: dict[str, Any]) -> tuple[int, list[int]]:
    """Examples that an earlier call with the same settings has attacked, and its numbers."""
    content = files.read_json(path)
    if isinstance(content, dict) and content.get("settings") == settings:
        return content["done"], content["wrong"]
    return 0, [0] * len(settings["epsilons"])
