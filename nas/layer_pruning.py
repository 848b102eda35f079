"""Which layers of an encoder are removed, and in which order, by what finished trials say.

Greedy layer pruning (Peer et al., arXiv 2105.14839) and what it is compared with. As the rules of a
search, these are pure functions of records: a choice that was cut off goes on with the same trials,
on whatever machine, and published score logs can be replayed.
"""

import abc
import ast
import dataclasses
import itertools
import math
import os
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from nas.records import COMPLETED, FAILED, RUNNING, Decision
from tfcaps import files
from tfcaps.errors import UsageError
from tfcaps.registry import Registry

METHODS = Registry("a method", "nas")
TIES = ("published", "lowest")
# What a trial is for.
WHOLE, CANDIDATE, ONE_PASS = "whole", "candidate", "one_pass"
_DIGITS = 3  # to which the published program rounds scores before it compares them
_CONFIDENCE = 0.95
# Standard errors by which the whole model has to be above the majority class.
_GUARD_ERRORS = 2.0
_LARGEST_SET = 2  # of an exhaustive choice

Layers = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Removal:
    """A trial to be made: an encoder without some of its layers, fine-tuned once.

    Args:
        removed: indices of the layers in the whole encoder, ascending.
        seed: of head, dropout and order of the examples.
        part: of the steps of a whole fine-tuning, in (0, 1]. Default 1.
        role: "whole", "candidate", or "one_pass": nothing is trained, layers are measured.
    """

    removed: Layers
    seed: int
    part: float = 1.0
    role: str = CANDIDATE

    def to_values(self) -> dict[str, str | int | float]:
        """The proposal as a trial of keras-tuner carries it.

        Example:

        >>> Removal.from_values(Removal((3, 5), 41).to_values())
        Removal(removed=(3, 5), seed=41, part=1.0, role='candidate')
        """
        return {
            "removed": joined(self.removed),
            "seed": self.seed,
            "part": self.part,
            "role": self.role,
        }

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> "Removal":
        """The inverse of `to_values`."""
        return cls(
            removed=_split(str(values["removed"])),
            seed=int(values["seed"]),
            part=float(values["part"]),
            role=str(values["role"]),
        )


@dataclasses.dataclass(frozen=True)
class RemovalRecord:
    """A trial that was begun.

    Args:
        name: its identity.
        proposal: what was tried.
        status: "completed", "failed" or "running".
        score: of the validation split.
        above_majority: score minus that of always answering the most frequent class.
        above_error: standard error of that over examples.
        rankings: of a trial "one_pass": each layer's value by measure, the first ones to be
            removed being the lowest.
        seconds: of the trial.
        message: of a failed trial.
    """

    name: str
    proposal: Removal
    status: str = COMPLETED
    score: float = math.nan
    above_majority: float = math.nan
    above_error: float = math.nan
    rankings: Mapping[str, Sequence[float]] = dataclasses.field(default_factory=dict)
    seconds: float = math.nan
    message: str = ""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """What one set of layers came to, over all seeds.

    Args:
        removed: the set.
        scores: one for each seed, NaN where a trial failed.
    """

    removed: Layers
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the seeds; NaN where a trial failed."""
        return float(np.mean(self.scores))

    @property
    def error(self) -> float:
        """Standard error of the mean over the seeds; NaN of one seed."""
        return _standard_error(self.scores)


@dataclasses.dataclass(frozen=True)
class Step:
    """One choice among candidates.

    Args:
        candidates: in the order in which they are compared.
        winner: whose layers are removed.
        runner_up: the best of the others; None where there is none.
    """

    candidates: tuple[Candidate, ...]
    winner: Candidate
    runner_up: Candidate | None

    @property
    def differences(self) -> tuple[float, ...]:
        """Winner minus runner-up, seed by seed."""
        if self.runner_up is None:
            return ()
        pairs = zip(self.winner.scores, self.runner_up.scores, strict=True)
        return tuple(one - two for one, two in pairs)

    @property
    def difference(self) -> float:
        """Mean of the differences; NaN without a runner-up."""
        return float(np.mean(self.differences)) if self.differences else math.nan

    @property
    def error(self) -> float:
        """Standard error of the paired differences; NaN of fewer than two seeds."""
        return _standard_error(self.differences)

    @property
    def is_distinguishable(self) -> bool:
        """Whether winner and runner-up differ by more than noise.

        A paired two-sided t test over the seeds at 5 %. One seed can't tell. As the winner is the
        best of several, the true level is above 5 %.
        """
        if len(self.differences) < 2 or not math.isfinite(self.difference):
            return False
        from scipy import stats

        quantile = stats.t.ppf((1 + _CONFIDENCE) / 2, len(self.differences) - 1)
        return abs(self.difference) > quantile * self.error


def choose(scores: Sequence[tuple[Any, float]], ties: str = "published") -> Any:
    """The key of the highest score, each rounded to three decimals as in the published program.

    Args:
        scores: keys and scores, in the order in which they are compared. NaN never wins.
        ties: of several highest ones "published" takes the last, "lowest" the first.
            Default "published".

    Raises:
        ValueError: there is no number among the scores.

    Example:

    >>> choose([(0, 0.91), (1, 0.95), (2, 0.9501)]), choose([(0, 0.5), (1, 0.5)], ties="lowest")
    (2, 0)
    """
    rounded = [(key, round(score, _DIGITS)) for key, score in scores if not math.isnan(score)]
    if not rounded:
        raise UsageError("Expected a score. Received: none that is a number")
    best = max(score for _, score in rounded)
    keys = [key for key, score in rounded if score == best]
    return keys[-1] if ties == "published" else keys[0]


class Method(abc.ABC):
    """Base class: a way to choose the layers that are removed.

    Args:
        num_layers: L, of the whole encoder.
        count: n, how many layers are removed in the end, 1 <= n < L.
        seeds: of the trials of each candidate. Default (41,).
        ties: see `choose`. Default "published".
        budget: part of the steps after which the worse half of a step's candidates is dropped, in
            (0, 1); None: all are trained to the end. Default None.

    Raises:
        ValueError: an argument is out of its range.
    """

    # Whether the choice rests on scores, for which the whole model has to have learnt something.
    trains: ClassVar[bool] = False

    def __init__(
        self,
        num_layers: int,
        count: int,
        *,
        seeds: Sequence[int] = (41,),
        ties: str = "published",
        budget: float | None = None,
    ):
        if not 1 <= count < num_layers:
            raise UsageError(
                f"Expected --prune_n_layers from 1 to {num_layers - 1}, as there are {num_layers} "
                f"layers. Received: {count}"
            )
        self.num_layers = num_layers
        self.count = count
        self.seeds = tuple(seeds)
        self.ties = ties
        self.budget = budget

    @abc.abstractmethod
    def decide(self, records: Sequence[RemovalRecord]) -> Decision:
        """The trials that come next, or why there are none any more."""

    @abc.abstractmethod
    def chosen(self, records: Sequence[RemovalRecord]) -> tuple[Layers, ...]:
        """The layers removed for each size 1, 2, … that is known; of an order, in that order."""

    def steps(self, records: Sequence[RemovalRecord]) -> list[Step]:
        """The choices that were made by scores, in their order; none where none were."""
        del records
        return []


class _Trained(Method):
    """Base class of methods that compare fine-tuned candidates."""

    trains = True

    def decide(self, records: Sequence[RemovalRecord]) -> Decision:
        whole = tuple(Removal((), seed, role=WHOLE) for seed in self.seeds)
        waiting = _missing(whole, records)
        if waiting is not None:
            return waiting
        reason = self._no_reason_to_rank(records)
        return Decision(reason=reason) if reason else self._compare(records)

    def ranks(self, records: Sequence[RemovalRecord]) -> bool:
        """Whether the whole model has learnt enough for its layers to be ranked."""
        return self._no_reason_to_rank(records) is None

    @abc.abstractmethod
    def _compare(self, records: Sequence[RemovalRecord]) -> Decision:
        """As `decide`, once the whole model is known to have learnt something."""

    def _no_reason_to_rank(self, records: Sequence[RemovalRecord]) -> str | None:
        whole = [r for r in records if r.proposal.role == WHOLE and r.status != RUNNING]
        failed = next((record for record in whole if record.status == FAILED), None)
        if failed is not None:
            return f"the fine-tuning of the whole model failed: {failed.message}"
        if not whole:
            return None
        above = [record.above_majority for record in whole]
        # Over examples, which are the same for all seeds, and over seeds.
        errors = [np.mean([record.above_error for record in whole]), _standard_error(above)]
        error = math.hypot(*(value for value in errors if not math.isnan(value)))
        if float(np.mean(above)) > _GUARD_ERRORS * error:
            return None
        return (
            "layers aren't ranked, as the whole model isn't above the majority class by "
            f"{_GUARD_ERRORS:g} standard errors: {np.mean(above):+.4f} ± {error:.4f}; more "
            "examples, epochs or another learning rate may help"
        )

    def _candidates(
        self, sets: Sequence[Layers], records: Sequence[RemovalRecord]
    ) -> "Decision | list[Candidate]":
        """What the sets came to, or the trials that are missing."""
        if self.budget is not None:
            first = self._trials(sets, self.budget)
            waiting = _missing(first, records)
            if waiting is not None:
                return waiting
            sets = self._better_half(sets, records)
        waiting = _missing(self._trials(sets, 1.0), records)
        return waiting if waiting is not None else self._found(sets, 1.0, records)

    def _trials(self, sets: Sequence[Layers], part: float) -> tuple[Removal, ...]:
        return tuple(Removal(s, seed, part) for s in sets for seed in self.seeds)

    def _better_half(
        self, sets: Sequence[Layers], records: Sequence[RemovalRecord]
    ) -> list[Layers]:
        left = {c.removed: c.mean for c in self._found(sets, self.budget or 1.0, records)}
        kept = []
        while len(kept) < -(-len(sets) // 2) and not all(map(math.isnan, left.values())):
            kept.append(choose(list(left.items()), self.ties))
            del left[kept[-1]]
        return sorted(kept)

    def _found(
        self, sets: Sequence[Layers], part: float, records: Sequence[RemovalRecord]
    ) -> list[Candidate]:
        scores = {
            record.proposal: record.score if record.status == COMPLETED else math.nan
            for record in records
        }
        return [
            Candidate(s, tuple(scores[trial] for trial in self._trials([s], part))) for s in sets
        ]

    def _step(self, candidates: Sequence[Candidate]) -> Step | None:
        """The choice among candidates; None where all of them failed."""
        means = {candidate: candidate.mean for candidate in candidates}
        if all(map(math.isnan, means.values())):
            return None
        winner = choose(list(means.items()), self.ties)
        others = [(c, mean) for c, mean in means.items() if c != winner and not math.isnan(mean)]
        runner_up = choose(others, self.ties) if others else None
        return Step(tuple(candidates), winner, runner_up)


@METHODS.register("greedy")
class Greedy(_Trained):
    """Removes, step by step, the layer without which the fine-tuned score is highest.

    Step k compares the L − k encoders that lack one more layer. See `Method`.

    Source: Peer et al., arXiv 2105.14839.

    Example:

    >>> method = Greedy(num_layers=3, count=1)
    >>> whole = RemovalRecord("0", Removal((), 41, role="whole"), score=0.9, above_majority=0.4,
    ...                       above_error=0.1)
    >>> [proposal.removed for proposal in method.decide([whole]).proposals]
    [(0,), (1,), (2,)]
    """

    def _compare(self, records):
        outcome = self._walk(records)[1]
        return outcome or Decision(reason=f"{self.count} layers have been chosen")

    def steps(self, records):
        return self._walk(records)[0]

    def chosen(self, records):
        order = self.order(records)
        return tuple(order[: size + 1] for size in range(len(order)))

    def order(self, records: Sequence[RemovalRecord]) -> Layers:
        """The layers in the order in which they are removed."""
        order: list[int] = []
        for step in self.steps(records):
            order.extend(set(step.winner.removed) - set(order))
        return tuple(order)

    def _walk(self, records: Sequence[RemovalRecord]) -> tuple[list[Step], Decision | None]:
        """The steps that are done, and what comes next: None after the last one."""
        steps: list[Step] = []
        removed: Layers = ()
        for _ in range(self.count):
            left = [layer for layer in range(self.num_layers) if layer not in removed]
            sets = [tuple(sorted((*removed, layer))) for layer in left]
            found = self._candidates(_in_order_of(left, sets), records)
            if isinstance(found, Decision):
                return steps, found
            step = self._step(found)
            if step is None:
                return steps, Decision(reason=f"all candidates without {joined(removed)} failed")
            steps.append(step)
            removed = step.winner.removed
        return steps, None


@METHODS.register("exhaustive")
class Exhaustive(_Trained):
    """Compares all sets of each size up to n, at most 2: L + L(L−1)/2 fine-tunings.

    See `Method`. The published program calls it perfect.

    Raises:
        ValueError: `count` is above 2, or as `Method`.
    """

    def __init__(self, num_layers, count, **arguments):
        super().__init__(num_layers, count, **arguments)
        if count > _LARGEST_SET:
            raise UsageError(
                f"Expected --prune_n_layers of 1 or {_LARGEST_SET} with "
                f"--prune_method=exhaustive. Received: {count}"
            )

    def _compare(self, records):
        for sets in self._sets():
            found = self._candidates(sets, records)
            if isinstance(found, Decision):
                return found
            if self._step(found) is None:
                return Decision(reason=f"all candidates without {len(sets[0])} layers failed")
        return Decision(reason=f"all sets of up to {self.count} layers have been compared")

    def steps(self, records):
        steps = []
        for sets in self._sets():
            found = self._candidates(sets, records)
            step = None if isinstance(found, Decision) else self._step(found)
            if step is None:
                break
            steps.append(step)
        return steps

    def chosen(self, records):
        return tuple(step.winner.removed for step in self.steps(records))

    def _sets(self) -> list[list[Layers]]:
        sizes = range(1, self.count + 1)
        return [list(itertools.combinations(range(self.num_layers), size)) for size in sizes]


class _Ordered(Method):
    """Base class of methods that know an order without any fine-tuning."""

    def decide(self, records: Sequence[RemovalRecord]) -> Decision:
        del records
        return Decision(reason="the order needs no trial")

    def chosen(self, records: Sequence[RemovalRecord]) -> tuple[Layers, ...]:
        order = self.order(records)
        return tuple(order[: size + 1] for size in range(len(order)))

    @abc.abstractmethod
    def order(self, records: Sequence[RemovalRecord]) -> Layers:
        """The first n layers to be removed, in that order; () where it isn't known yet."""


@METHODS.register("top")
class Top(_Ordered):
    """Removes the uppermost layers, from L − 1 downwards. See `Method`.

    Example:

    >>> Top(num_layers=6, count=2).chosen([])
    ((5,), (5, 4))
    """

    def order(self, records):
        del records
        return tuple(range(self.num_layers - 1, self.num_layers - 1 - self.count, -1))


@METHODS.register("random")
class Random(_Ordered):
    """Removes layers in an order drawn with the first seed. See `Method`."""

    def order(self, records):
        del records
        drawn = np.random.default_rng(self.seeds[0]).permutation(self.num_layers)
        return tuple(int(layer) for layer in drawn[: self.count])


class _OnePass(_Ordered):
    """Base class of methods that measure each layer once, in the pretrained encoder."""

    measure: ClassVar[str]

    def decide(self, records):
        waiting = _missing((Removal((), self.seeds[0], role=ONE_PASS),), records)
        if waiting is not None:
            return waiting
        if records[0].status == FAILED:
            return Decision(reason=f"the layers couldn't be measured: {records[0].message}")
        return Decision(reason="the layers have been measured")

    def order(self, records):
        done = [record for record in records if record.status == COMPLETED]
        if not done:
            return ()
        # Not rounded: these are no scores.
        values = done[0].rankings[self.measure]
        layers = range(self.num_layers)
        sign = -1 if self.ties == "published" else 1
        return tuple(sorted(layers, key=lambda layer: (values[layer], sign * layer))[: self.count])


@METHODS.register("block_influence")
class BlockInfluence(_OnePass):
    """Removes the layers that change their input least: 1 − mean cosine of input and output.

    See `Method`.

    Source: Men et al., ShortGPT, arXiv 2403.03853.
    """

    measure = "block_influence"


@METHODS.register("bundle_entropy")
class MostConflicts(_OnePass):
    """Removes the layers whose outputs have the largest bundle entropy. See `Method`.

    Source: Peer et al., arXiv 2011.02956, for the entropy.
    """

    measure = "bundle_entropy"


def _in_order_of(layers: Sequence[int], sets: Sequence[Layers]) -> list[Layers]:
    """The sets, as the layers that they have in addition are ascending: the published order."""
    return [found for _, found in sorted(zip(layers, sets, strict=True))]


def _missing(proposals: Sequence[Removal], records: Sequence[RemovalRecord]) -> Decision | None:
    """The trials of these that nobody has begun; None where all are done."""
    known = {record.proposal: record.status for record in records}
    missing = tuple(proposal for proposal in proposals if proposal not in known)
    if missing or any(known[proposal] == RUNNING for proposal in proposals):
        return Decision(missing)
    return None


def _standard_error(values: Sequence[float]) -> float:
    if len(values) < 2:
        return math.nan
    return float(np.std(values, ddof=1) / math.sqrt(len(values)))


def joined(layers: Layers) -> str:
    """A set of layers as published files have it.

    >>> joined((3, 11))
    '3-11'
    """
    return "-".join(map(str, layers))


def _split(text: str) -> Layers:
    return tuple(int(part) for part in text.split("-")) if text else ()


class LayerFiles:
    """The published program's text files of one choice.

        {model}_{task}_greedy.txt       one layer a line, in order of removal: any prefix is a size
        {model}_{task}_greedy_log.txt   k;{layer: score, …} a line, k layers removed before
        {model}_{task}_perfect.txt      line n: the best set of n layers, i-j
        {model}_{task}_perfect_log.txt  i-j;score a line

    Args:
        folder: where they lie.
        model: its name; of a path the last part, in lower case.
        task: its name, in lower case.
    """

    def __init__(self, folder: str | os.PathLike, model: str, task: str):
        stem = f"{_file_name(model)}_{_file_name(task)}"
        folder = pathlib.Path(folder)
        self._paths = {
            kind: (folder / f"{stem}_{kind}.txt", folder / f"{stem}_{kind}_log.txt")
            for kind in ("greedy", "perfect")
        }

    def write(self, method: Method, records: Sequence[RemovalRecord]) -> pathlib.Path:
        """Writes the choice, and of scores their log, whole or not at all; returns the choice's."""
        is_sets = isinstance(method, Exhaustive)
        choice, log = self._paths["perfect" if is_sets else "greedy"]
        chosen = method.chosen(records)
        lines = [joined(layers) for layers in chosen] if is_sets else chosen[-1] if chosen else ()
        files.write_text(choice, "".join(f"{line}\n" for line in lines))
        steps = method.steps(records)
        if steps:
            write: Callable = _set_log if is_sets else _order_log
            files.write_text(log, write(steps))
        return choice


def _order_log(steps: Sequence[Step]) -> str:
    lines, removed = [], set()
    for number, step in enumerate(steps):
        scores = {
            next(iter(set(candidate.removed) - removed)): round(candidate.mean, _DIGITS)
            for candidate in step.candidates
        }
        lines.append(f"{number};{dict(sorted(scores.items()))}\n")
        removed = set(step.winner.removed)
    return "".join(lines)


def _set_log(steps: Sequence[Step]) -> str:
    return "".join(
        f"{joined(candidate.removed)};{round(candidate.mean, _DIGITS)}\n"
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
        lines = path.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        raise wrong("which doesn't exist") from None
    except (UnicodeDecodeError, IsADirectoryError):
        raise wrong("which is no text file") from None
    if not lines:
        raise wrong("which is empty")
    for line in lines:
        if not re.fullmatch(r"\d+(-\d+)*", line):
            raise wrong(f"which has the line {line[:40]!r}")
    sets = [_split(line) for line in lines]
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
    except (OSError, ValueError, SyntaxError, AttributeError):
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
        return [(_split(layers), float(score)) for layers, score in lines]
    except (OSError, ValueError):
        raise UsageError(
            f"Expected a log with lines such as 3-5;0.912. Received: {path}, which is missing or "
            "something else"
        ) from None


def _file_name(name: str) -> str:
    """A name that is part of a file's name: of a path its last part.

    >>> _file_name("runs/BERT-base/"), _file_name("csv:data/My file.csv")
    ('bert-base', 'my_file.csv')
    """
    last = re.split(r"[/:]", name.rstrip("/"))[-1]
    return re.sub(r"[^a-z0-9.-]+", "_", last.lower())
