"""How accurate a finished run's network is on images that are changed to fool it."""

import hashlib
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfcaps import files, plots
from tfcaps.datasets import Split
from tfcaps.errors import UsageError
from tfcaps.evaluation.progress import shown
from tfcaps.evaluation.subject import Subject, spread
from tfcaps.robustness import attacks

_KEY_LENGTH = 8  # hexadecimal digits of a file's name that tell settings apart


def accuracy_under_attack(
    subject: Subject, output_dir: str | os.PathLike | None = None, **changes: Any
) -> list[dict[str, Any]]:
    """Attacks a network with bounds of several sizes; ε is in units of pixels in [0, 1].

    Writes `attacks.csv` and `figures/accuracy_against_epsilon.png`. What was finished is kept in
    `attack-NAME-KEY.json` after each batch: a call with the same arguments goes on there, and one
    with others has a file of its own, so that attacks.csv has the rows of all calls on the run as
    it is now.

    Args:
        subject: network and examples.
        output_dir: where to; it is made if missing. Default: as the subject's options say.
        **changes: other options than the subject's, see `EvaluationOptions`: `attack`, `epsilons`,
            `attack_examples` (all of them where there are fewer), `attack_step_size` and
            `attack_steps`.

    Returns:
        The rows of this call, as in attacks.csv: `attack`, `norm`, `epsilon`, `accuracy`,
        `examples`, and what it was asked for, `step_size` and `steps`.

    Raises:
        UsageError: an argument is out of its range, the attacks' library is not installed, or the
            folder has results of other weights or examples.
    """
    subject = subject.asked(output_dir, **changes)
    options = subject.options
    if not options.attack:
        raise UsageError(f"Expected --attack, some of {', '.join(attacks.names())}. Received: none")
    bounds = sorted(set(options.epsilons))
    count = min(options.attack_examples or len(subject.split), len(subject.split))
    split = spread(subject.split, count, flag="attack_examples")
    subject.expect_own_folder()
    rows: list[dict[str, Any]] = []
    with files.WorkFolder(subject.folder, files.EVALUATION).locked():
        files.remove_unfinished(subject.folder)
        for name in options.attack:
            settings = _settings(subject, split, name, bounds)
            wrong = _attack(subject, split, settings)
            rows += _rows(settings, wrong)
        all_rows = [*_earlier_rows(subject, settings, rows), *rows]
        files.write_csv(subject.folder / "attacks.csv", all_rows)
        figure = plots.accuracy_against_epsilon(all_rows)
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


def _settings(subject: Subject, split: Split, name: str, bounds: list[float]) -> dict[str, Any]:
    """All that the result of one attack depends on."""
    options = subject.options
    return {
        "attack": name,
        "checkpoint": options.checkpoint,
        "epoch": subject.run.epoch,
        "dataset": subject.data.name,
        "split": options.split,
        "examples": len(split),
        "batch_size": options.batch_size,
        "epsilons": bounds,
        "step_size": options.attack_step_size,
        "steps": options.attack_steps,
    }


def _rows(settings: Mapping[str, Any], wrong: Sequence[int]) -> list[dict[str, Any]]:
    """A row of attacks.csv for each bound."""
    examples = settings["examples"]
    return [
        {
            "attack": settings["attack"],
            "norm": attacks.norm(settings["attack"]),
            "epsilon": epsilon,
            "accuracy": 1.0 - number / examples,
            **{name: settings[name] for name in ("examples", "step_size", "steps")},
        }
        for epsilon, number in zip(settings["epsilons"], wrong, strict=True)
    ]


def _earlier_rows(
    subject: Subject, settings: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The rows of earlier calls on the same weights, of which these aren't repetitions."""
    found = {_key(row): row for row in rows}
    earlier = []
    for path in sorted(subject.folder.glob("attack-*.json")):
        known, done, wrong = _stored(path)
        is_alike = known.keys() == settings.keys() and known["epoch"] == settings["epoch"]
        if is_alike and done == known["examples"]:
            earlier += [row for row in _rows(known, wrong) if _key(row) not in found]
            found |= {_key(row): row for row in earlier}
    return earlier


def _key(row: Mapping[str, Any]) -> tuple:
    return tuple(value for name, value in row.items() if name != "accuracy")


def _attack(subject: Subject, split: Split, settings: Mapping[str, Any]) -> list[int]:
    """How many examples the network is wrong on under one attack, for each bound."""
    name = settings["attack"]
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:_KEY_LENGTH]
    path = subject.folder / f"attack-{name}-{key}.json"
    done, wrong = _read(path, settings)
    if done == len(split):
        return wrong
    if done:
        print(f"Going on with {name} after {done:,} examples.")
    rest = split.take(np.arange(done, len(split)))
    batches = (
        (batch["original"].numpy(), batch["label"].numpy()) for batch in subject.batches(rest)
    )
    arguments = {argument: settings[argument] for argument in ("step_size", "steps")}
    found = attacks.attacked_images(
        subject.scores, batches, name, settings["epsilons"], **arguments
    )
    for _, is_wrong in shown(f"Attack {name}", found, len(rest), settings["batch_size"]):
        done += is_wrong.shape[1]
        wrong = (np.array(wrong) + is_wrong.sum(axis=1)).tolist()
        files.write_json(path, {"settings": settings, "done": done, "wrong": wrong})
    return wrong


def _read(path: pathlib.Path, settings: Mapping[str, Any]) -> tuple[int, list[int]]:
    """Examples that an earlier call with the same settings has attacked, and its numbers."""
    known, done, wrong = _stored(path)
    if known == settings:
        return done, wrong
    return 0, [0] * len(settings["epsilons"])


def _stored(path: pathlib.Path) -> tuple[dict[str, Any], int, list[int]]:
    """Settings and numbers of an earlier call; no settings where the file is damaged."""
    content = files.read_json(path)
    if not isinstance(content, dict):
        return {}, 0, []
    known, done, wrong = (content.get(name) for name in ("settings", "done", "wrong"))
    if not (isinstance(known, dict) and isinstance(wrong, list) and isinstance(done, int)):
        return {}, 0, []
    bounds, numbers = known.get("epsilons"), (known.get("examples"), *wrong)
    is_whole = isinstance(bounds, list) and len(bounds) == len(wrong)
    if not is_whole or not all(isinstance(number, int) for number in numbers):
        return {}, 0, []
    return known, done, wrong
