"""The published program's text files: choices of layers, and logs of their scores."""

import ast
import itertools
import os
import pathlib
import re
from collections.abc import Callable, Sequence

from nas.layer_pruning.methods import DIGITS, Exhaustive, Method, Step
from nas.layer_pruning.removals import Layers, RemovalRecord, joined, split
from tfcaps import files
from tfcaps.errors import UsageError

# What the published program calls a method, where it isn't its name.
_PUBLISHED_NAMES = {"exhaustive": "perfect"}
# What reading another text than a dict of numbers ends in, however deep or long it is.
_NO_LITERAL = (ValueError, TypeError, SyntaxError, AttributeError, RecursionError, MemoryError)


class LayerFiles:
    """The published program's text files of one choice.

        {model}_{task}_greedy.txt       one layer a line, in order of removal: any prefix is a size
        {model}_{task}_greedy_log.txt   k;{layer: score, …} a line, k layers removed before
        {model}_{task}_perfect.txt      line n: the best set of n layers, i-j
        {model}_{task}_perfect_log.txt  i-j;score a line

    Orders that another method gave have its name in place of "greedy".

    Args:
        folder: where they lie.
        model: its name; of a path the last part, in lower case.
        task: its name, in lower case; of an own table that of the file.
        method: how the layers were chosen. Default: greedily.
    """

    def __init__(self, folder: str | os.PathLike, model: str, task: str, method: str = "greedy"):
        kind = _PUBLISHED_NAMES.get(method, method)
        stem = f"{_file_name(model)}_{_file_name(task)}_{kind}"
        self._folder = folder = pathlib.Path(folder)
        self._choice, self._log = folder / f"{stem}.txt", folder / f"{stem}_log.txt"

    def write(self, method: Method, records: Sequence[RemovalRecord]) -> pathlib.Path:
        """Writes the choice, and of scores their log, whole or not at all; returns the choice's."""
        self._folder.mkdir(parents=True, exist_ok=True)
        chosen = method.chosen(records)
        # Of a file given, too: an order has each smaller set in front.
        is_sets = isinstance(method, Exhaustive) or any(
            larger[: len(smaller)] != smaller for smaller, larger in itertools.pairwise(chosen)
        )
        lines = [joined(layers) for layers in chosen] if is_sets else chosen[-1] if chosen else ()
        files.write_text(self._choice, "".join(f"{line}\n" for line in lines))
        steps = method.steps(records)
        if steps:
            write: Callable = _set_log if is_sets else _order_log
            files.write_text(self._log, write(steps))
        return self._choice


def _order_log(steps: Sequence[Step]) -> str:
    lines, removed = [], set()
    for number, step in enumerate(steps):
        scores = {
            next(iter(set(candidate.removed) - removed)): round(candidate.mean, DIGITS)
            for candidate in step.candidates
        }
        lines.append(f"{number};{dict(sorted(scores.items()))}\n")
        removed = set(step.winner.removed)
    return "".join(lines)


def _set_log(steps: Sequence[Step]) -> str:
    return "".join(
        f"{joined(candidate.removed)};{round(candidate.mean, DIGITS)}\n"
        for step in steps
        for candidate in step.candidates
    )


def read_choice(path: str | os.PathLike, num_layers: int) -> tuple[Layers, ...]:
    """The layers removed for each size, from a published file or one of `LayerFiles`.

    Args:
        path: `…_greedy.txt`, or `…_perfect.txt`, whose lines are sets.
        num_layers: L, of the whole encoder.

    Raises:
        UsageError: there is no such file, it is empty or something else, or a layer is unknown or
            stands there twice.
    """
    path = pathlib.Path(path)

    def wrong(what: str) -> UsageError:
        return UsageError(
            f"Expected --layers_file with layers from 0 to {num_layers - 1}, one a line, or sets "
            f"such as 3-5. Received: {path}, {what}"
        )

    try:
        lines = files.read_text(path).split()
    except FileNotFoundError:
        raise wrong("which doesn't exist") from None
    except (UnicodeDecodeError, IsADirectoryError):
        raise wrong("which is no text file") from None
    if not lines:
        raise wrong("which is empty")
    for line in lines:
        if not re.fullmatch(r"\d{1,9}(-\d{1,9})*", line):
            raise wrong(f"which has the line {line[:40]!r}")
    sets = [split(line) for line in lines]
    if all(len(layers) == 1 for layers in sets):
        order = tuple(layer for (layer,) in sets)
        sets = [order[: size + 1] for size in range(len(order))]
    for size, layers in enumerate(sets, start=1):
        unknown = [layer for layer in layers if layer >= num_layers]
        if unknown:
            raise wrong(f"which has the layer {unknown[0]}")
        if len(set(layers)) < len(layers):
            twice = next(layer for layer in layers if layers.count(layer) > 1)
            raise wrong(f"which has the layer {twice} twice")
        if len(layers) != size:
            raise wrong(f"whose line {size} has {len(layers)} layers instead of {size}")
        if size == num_layers:
            raise wrong("which leaves no layer")
    return tuple(sets)


def read_order_log(path: str | os.PathLike) -> list[dict[int, float]]:
    """The scores of each step, layer by layer, from a `…_greedy_log.txt`.

    The published program appends: of a log that was written twice the last writing counts.

    Raises:
        UsageError: the file is missing or something else.
    """
    path = pathlib.Path(path)
    steps: list[dict[int, float]] = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            number, scores = line.split(";", 1)
            if int(number) == 0:
                steps = []
            steps.append({int(k): float(v) for k, v in ast.literal_eval(scores).items()})
    except (OSError, *_NO_LITERAL):
        raise UsageError(
            f"Expected a log with lines such as 0;{{0: 0.556, 1: 0.548}}. Received: {path}, which "
            "is missing or something else"
        ) from None
    return steps


def read_set_log(path: str | os.PathLike) -> list[tuple[Layers, float]]:
    """The sets with their scores, in their order, from a `…_perfect_log.txt`.

    Raises:
        UsageError: the file is missing or something else.
    """
    path = pathlib.Path(path)
    try:
        lines = [line.split(";") for line in path.read_text(encoding="utf-8").splitlines() if line]
        return [(split(layers), float(score)) for layers, score in lines]
    except (OSError, ValueError):
        raise UsageError(
            f"Expected a log with lines such as 3-5;0.912. Received: {path}, which is missing or "
            "something else"
        ) from None


def _file_name(name: str) -> str:
    """A name that is part of a file's name: of a path its last part, of a table without ending.

    >>> _file_name("runs/BERT-base/"), _file_name("csv:data/My file.CSV")
    ('bert-base', 'my_file')
    """
    last = re.split(r"[/:]", name.rstrip("/"))[-1].lower()
    return re.sub(r"[^a-z0-9.-]+", "_", re.sub(r"\.[ct]sv$", "", last))
