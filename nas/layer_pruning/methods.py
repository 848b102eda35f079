"""Which layers of an encoder are removed, and in which order, by what finished trials say.

Greedy layer pruning (Peer et al., arXiv 2105.14839) and what it is compared with. As the rules of a
search, these are pure functions of records: a choice that was cut off goes on with the same trials,
on whatever machine, and published score logs can be replayed.
"""

import abc
import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from nas.layer_pruning.removals import (
    ONE_PASS,
    WHOLE,
    Layers,
    Removal,
    RemovalRecord,
)
from nas.records import COMPLETED, FAILED, RUNNING, Decision
from tfcaps.errors import UsageError
from tfcaps.registry import Registry

METHODS = Registry("a method", "nas.layer_pruning")
TIES = ("published", "lowest")
DIGITS = 3  # to which the published program rounds scores before it compares them
_CONFIDENCE = 0.95
# Standard errors by which the whole model has to be above the majority class.
_GUARD_ERRORS = 2.0
_LARGEST_SET = 2  # of an exhaustive choice


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
        return standard_error(self.scores)


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
        return standard_error(self.differences)

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
    rounded = [(key, round(score, DIGITS)) for key, score in scores if not math.isnan(score)]
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

    def expected_trials(self) -> int:
        """How many trials the choice takes."""
        return 0


class _Trained(Method):
    """Base class of methods that compare fine-tuned candidates."""

    trains = True

    def decide(self, records: Sequence[RemovalRecord]) -> Decision:
        whole = tuple(Removal((), seed, role=WHOLE) for seed in self.seeds)
        waiting = missing(whole, records)
        if waiting is not None:
            return waiting
        reason = self._no_reason_to_rank(records)
        return Decision(reason=reason) if reason else self._compare(records)

    def expected_trials(self):
        sizes = self.candidate_counts()
        if self.budget is not None:
            sizes = [size + -(-size // 2) for size in sizes]
        return len(self.seeds) * (1 + sum(sizes))

    @abc.abstractmethod
    def candidate_counts(self) -> list[int]:
        """How many candidates each choice has."""

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
        over_examples = float(np.mean([record.above_error for record in whole]))
        over_seeds = standard_error(above) if len(above) > 1 else 0.0
        error = math.hypot(over_examples, over_seeds)
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
            waiting = missing(first, records)
            if waiting is not None:
                return waiting
            sets = self._better_half(sets, records)
        waiting = missing(self._trials(sets, 1.0), records)
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
        return outcome or Decision(reason=f"all {self.count} layers have been chosen")

    def candidate_counts(self):
        return [self.num_layers - removed for removed in range(self.count)]

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
                return steps, Decision(reason=f"all candidates of choice {len(steps) + 1} failed")
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

    def candidate_counts(self):
        return [len(sets) for sets in self._sets()]

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

    def expected_trials(self):
        return 1

    def decide(self, records):
        waiting = missing((Removal((), self.seeds[0], role=ONE_PASS),), records)
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


class GivenLayers(Method):
    """Layers that were chosen before, as a file has them. See `Method`.

    Args:
        num_layers: L, of the whole encoder.
        sets: the layers removed for each size 1, 2, …
        seeds: of the trainings in the end. Default (41,).
    """

    def __init__(self, num_layers: int, sets: Sequence[Layers], *, seeds: Sequence[int] = (41,)):
        super().__init__(num_layers, len(sets), seeds=seeds)
        self._sets = tuple(sets)

    def decide(self, records):
        del records
        return Decision(reason="the layers were given")

    def chosen(self, records):
        del records
        return self._sets


def _in_order_of(layers: Sequence[int], sets: Sequence[Layers]) -> list[Layers]:
    """The sets, as the layers that they have in addition are ascending: the published order."""
    return [found for _, found in sorted(zip(layers, sets, strict=True))]


def missing(proposals: Sequence[Removal], records: Sequence[RemovalRecord]) -> Decision | None:
    """The trials of these that nobody has begun; None where all are done."""
    known = {record.proposal: record.status for record in records}
    missing = tuple(proposal for proposal in proposals if proposal not in known)
    if missing or any(known[proposal] == RUNNING for proposal in proposals):
        return Decision(missing)
    return None


def standard_error(values: Sequence[float]) -> float:
    """Of the mean of some values; NaN of fewer than two."""
    if len(values) < 2:
        return math.nan
    return float(np.std(values, ddof=1) / math.sqrt(len(values)))
