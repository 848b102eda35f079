"""The rules of a search: from the trials so far to the next ones.

A rule is a pure function of the trials' records, so that a search that was cut off goes on with the
same decisions, on whatever machine; and it carries what else depends on it. To add one is to write
a class here, or in another file of this package, and to register it.
"""

import abc
import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

from nas.architecture import Architecture, grow, prune, widen
from nas.objectives import OBJECTIVES
from nas.records import (
    COMPLETED,
    FAILED,
    PRUNE,
    RUNNING,
    START,
    TRAIN_ON,
    WIDEN,
    Comparison,
    Decision,
    Proposal,
    Record,
    holm,
)
from tfcaps.errors import UsageError
from tfcaps.models.block_names import KINDS, stage_of
from tfcaps.registry import Registry

if TYPE_CHECKING:
    from nas.configuration import SearchConfig

RULES = Registry("a rule", "nas")
# Rules that there were once; `auto` does what they did.
REPLACED = ("grow_and_prune",)


class Rule(abc.ABC):
    """Base class: what comes next in a search, and how its trials are made.

    Args:
        start: the architecture to begin with.
    """

    # Whether a trial starts from another one's weights: then it is kept, and no conflict ends it.
    inherits: ClassVar[bool] = False
    # Whether a trial is checked before its first step, too.
    checks_before: ClassVar[bool] = False
    # The network that a search begins with, where nothing else is asked for, and what it may be.
    start_kind: ClassVar[str] = "vgg"
    start_layers: ClassVar[int] = 120
    kinds: ClassVar[tuple[str, ...]] = KINDS
    # How networks are trained, and the epochs of a trial, where nothing else is asked for.
    recipe: ClassVar[str] = "paper"
    check_epochs: ClassVar[int] = 10
    # Epochs in which the learning rate of the first trial rises to its value.
    warm_up: ClassVar[float] = 0.0
    # Whether a trial ends with a comparison of its network with what changes would make of it.
    compares: ClassVar[bool] = False
    # Whether the time of search and final training is bounded, and divided by the rule.
    is_timed: ClassVar[bool] = False
    # What the report says of the accuracies at the trials' ends.
    on_accuracies: ClassVar[str] = (
        "a conflict at the last block ends a trial, so accuracies here don't compare."
    )

    def __init__(self, start: Architecture):
        self.start = start

    @classmethod
    @abc.abstractmethod
    def from_config(cls, config: "SearchConfig") -> "Rule":
        """The rule as a search is asked to use it."""

    @abc.abstractmethod
    def decide(self, records: Sequence[Record]) -> Decision:
        """The next step after these trials."""

    @property
    def plan(self) -> str:
        """What the search will do, in a sentence for its beginning."""
        return (
            f"The search begins with {self.start.kind} of blocks "
            f"{','.join(map(str, self.start.counts))}."
        )

    def seconds_left(self, records: Sequence[Record]) -> float | None:
        """Until the end of it all, after these trials; None: nobody knows."""
        del records
        return None

    def final_epochs(self, records: Sequence[Record], asked: int) -> int:
        """Epochs of the final training after these trials.

        Args:
            records: of all trials.
            asked: what the configuration says.
        """
        del records
        return asked


class PruneConflicts(Rule):
    """Prunes a network until its last block has no conflict; each trial starts anew.

    Each proposal has fewer blocks than the one before, so the search ends.

    Args:
        start: the architecture to begin with.
        allow_empty_stages: whether a stage may lose all its blocks. Default False.

    A subclass says which blocks aren't wanted.
    """

    def __init__(self, start: Architecture, *, allow_empty_stages: bool = False):
        super().__init__(start)
        self.allow_empty_stages = allow_empty_stages

    @classmethod
    def from_config(cls, config):
        return cls(config.start, allow_empty_stages=config.allow_empty_stages)

    @abc.abstractmethod
    def unwanted(self, record: Record) -> Iterable[Sequence[str]]:
        """Names of the blocks that a trial's successor lacks; if they may not go, the next ones."""

    def decide(self, records: Sequence[Record]) -> Decision:
        """The next step after these trials, oldest first."""
        done = [record.name for record in records if record.status == COMPLETED]
        final = done[-1] if done else None
        if not records:
            return Decision((Proposal(0, START, self.start),))
        last = records[-1]
        if last.status == RUNNING:
            return Decision(final=final)
        if last.status == FAILED:
            reason = f"the trial of round {last.proposal.round} failed: {last.message}"
        elif not last.last_entropy > 0:  # what is lost below can't come back above
            reason = "the last block has no conflict any more"
        else:
            smaller = self._pruned(last)
            if smaller != last.proposal.architecture:
                next_one = Proposal(last.proposal.round + 1, PRUNE, smaller)
                return Decision((next_one,), final=final)
            reason = "the last block conflicts, but none of the conflicting blocks may go"
        return Decision(reason=reason, final=final)

    def _pruned(self, record: Record) -> Architecture:
        architecture = record.proposal.architecture
        smaller = (self._without(architecture, names) for names in self.unwanted(record))
        return next((each for each in smaller if each != architecture), architecture)

    def _without(self, architecture: Architecture, names: Iterable[str]) -> Architecture:
        if self.allow_empty_stages and set(names) == set(architecture.block_names):
            names = list(names)[1:]  # a network has at least one block
        return prune(architecture, names, allow_empty_stages=self.allow_empty_stages)


@RULES.register("first_stage")
class PruneFirstStage(PruneConflicts):
    """`PruneConflicts` of the first stage that has conflicting blocks which may go.

    Source: Peer et al., arXiv 2011.02956.
    """

    def unwanted(self, record):
        conflicting = record.conflicting_blocks
        for stage in range(1, len(record.proposal.architecture.blocks) + 1):
            yield [name for name in conflicting if stage_of(name) == stage]


@RULES.register("all_stages")
class PruneAllStages(PruneConflicts):
    """`PruneConflicts` of all stages, which looks for conflicts before the first step already.

    Source: Peer et al., arXiv 2103.04331.
    """

    checks_before = True

    def unwanted(self, record):
        return [record.conflicting_blocks]


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What a network may have at most; None: any number.

    Args:
        flops: for one image.
        parameters: weights.
        milliseconds: for one image, on this machine.
    """

    flops: float | None = None
    parameters: float | None = None
    milliseconds: float | None = None

    def beyond(self, found: Record | Comparison) -> str:
        """What a network has more of than it may, for a message; "": nothing."""
        limits = dataclasses.asdict(self).items()
        return ", ".join(
            f"{getattr(found, name):,.10g} {name}, beyond {limit:,.10g}"
            for name, limit in limits
            if limit is not None and not getattr(found, name) <= limit
        )


@RULES.register("auto")
class GrowWhileTraining(Rule):
    """One network that is trained all the time, and grows and loses blocks meanwhile.

    A trial trains the network of the one before for a while, and ends with comparisons: what a
    block more at the end of each stage would gain, or more filters in its blocks, and what each
    block is worth (`candidates`).
    No other network is trained, so that a search takes as long as one training. Then

    1. after the first trial, which shows how long an epoch takes, it is trained on;
    2. a block goes whose absence costs less of the objective than tolerated, by a paired test,
       unless it is new: of those the one that costs least. Its stage doesn't grow any more;
    3. else a block comes, or a stage's blocks get wider, whose gain is above 0, by a paired test:
       of those the one with the best gain per additional cost, within the bounds, and not so large
       that the final training would have fewer than `least_epochs` epochs;
    4. else the network is trained on as it is.

    All tests of a trial are a family (`holm`). The n-th trial after a change has the level
    α / (n (n + 1)), which is α for all of them together, so that α is also the probability that a
    search ever grows where no block helps.

    After half of the time the search is over. The rest is for the final training, in which the
    learning rate falls to 0.

    Args:
        start: a residual architecture.
        hours: of search and final training together. Default 3.
        share: of the search's time, that it may take. Default 1.
        objective: what is tested, see `nas.objectives`. Default "accuracy".
        tolerance: of the objective, that a pruning may cost. Default 0.005.
        significance: α. Default 0.05.
        grace: trials in which a new block is not pruned. Default 2.
        cost: what a gain is divided by: "milliseconds", "flops" or "parameters". Default
            "milliseconds".
        bounds: of the network. Default: none.
        least_epochs: of the final training, for a network to grow. Default 10.
        check_epochs: of the first trial; later ones have more where these are short. Default 1.

    Raises:
        UsageError: the architecture is not residual.
    """

    inherits = True
    start_kind = "resnet"
    start_layers = 10
    kinds = ("resnet",)
    recipe = "fast"
    check_epochs = 1
    warm_up = 0.5
    compares = True
    is_timed = True
    on_accuracies = "a trial goes on with the network of the one before, at the full learning rate."

    # Of the time, and trials in it if each takes as long as is aimed at.
    _SEARCHING = 0.5
    _TRIALS = 8
    # Of the time that is left, for evaluations, figures and the export.
    _TRAINING = 0.9

    def __init__(
        self,
        start: Architecture,
        *,
        hours: float = 3.0,
        share: float = 1.0,
        objective: str = "accuracy",
        tolerance: float = 0.005,
        significance: float = 0.05,
        grace: int = 2,
        cost: str = "milliseconds",
        bounds: Bounds = Bounds(),
        least_epochs: int = 10,
        check_epochs: int = 1,
    ):
        if start.kind not in self.kinds:
            raise UsageError(f"Expected a resnet to grow and prune. Received: {start.kind}")
        super().__init__(start)
        self.seconds = 3600.0 * hours
        self.share = share
        self.objective = OBJECTIVES[objective]
        self.tolerance = tolerance
        self.significance = significance
        self.grace = grace
        self.cost = cost
        self.bounds = bounds
        self.least_epochs = least_epochs
        self.first_epochs = check_epochs  # of the first trial

    @classmethod
    def from_config(cls, config):
        count = config.lineages
        rule = cls(
            config.start,
            hours=config.max_hours,
            # Each has a worker of its own, or its turn.
            share=1.0 if config.distributed else 1.0 / count,
            objective=config.objective,
            tolerance=config.tolerance,
            significance=config.significance / count,
            grace=config.grace,
            cost=config.cost,
            bounds=Bounds(config.max_flops, config.max_parameters, config.max_milliseconds),
            check_epochs=config.check_epochs,
        )
        if count == 1:
            return rule
        return Lineages(rule, count, max_trials=config.max_trials, at_once=config.distributed)

    @property
    def plan(self) -> str:
        return (
            f"{super().plan} It grows and loses blocks while it is trained, for about "
            f"{self.search_seconds / 60:.0f} minutes, and is trained to the end in the "
            f"{self.training_seconds / 60:.0f} minutes that follow."
        )

    @property
    def search_seconds(self) -> float:
        """After so many no trial begins any more."""
        return self._SEARCHING * self.share * self.seconds

    @property
    def training_seconds(self) -> float:
        """For the final training, if the search takes as long as it may."""
        return (1.0 - self._SEARCHING) * self.seconds

    def decide(self, records: Sequence[Record]) -> Decision:
        """The next step after these trials, oldest first."""
        if not records:
            begin = Proposal(0, START, self.start, epochs=self.first_epochs, first_epoch=0)
            return Decision((begin,))
        done = [record for record in records if record.status == COMPLETED]
        final = done[-1].name if done else None
        last = records[-1]
        if last.status == RUNNING:
            return Decision(final=final)
        if last.status == FAILED:
            reason = f"the trial of round {last.proposal.round} failed: {last.message}"
            return Decision(reason=reason, final=final)
        beyond = self.bounds.beyond(records[0])
        if beyond:
            return Decision(reason=f"the start network has {beyond}")
        role, architecture, flops = self._chosen(done)
        epoch_seconds = last.epoch_seconds * flops / last.flops
        epochs = self._epochs(last, epoch_seconds)
        # One that would end too late by more than the search would otherwise end too early.
        half = 0.5 * (last.overhead_seconds + epochs * epoch_seconds)
        if self.spent(done) + half > self.search_seconds:
            reason = "the rest of the time is for the training of what it came to"
            return Decision(reason=reason, final=final)
        proposal = Proposal(
            last.proposal.round + 1,
            role,
            architecture,
            last.name,
            epochs=epochs,
            first_epoch=(last.proposal.first_epoch or 0) + last.proposal.epochs,
        )
        return Decision((proposal,), final=final)

    def seconds_left(self, records: Sequence[Record]) -> float:
        return max(self.seconds - self.spent(records), 0.0)

    def final_epochs(self, records: Sequence[Record], asked: int) -> int:
        done = [record for record in records if record.status == COMPLETED]
        return asked or self.epochs_within(self.seconds_left(records), done[-1])

    def epochs_within(self, seconds: float, last: Record) -> int:
        """Epochs of the final training that fit into a time, at least one.

        Args:
            seconds: the time.
            last: the trial whose network is trained.
        """
        epoch = last.epoch_seconds + last.pause_seconds
        return max(1, math.floor(self._TRAINING * seconds / epoch))

    def level(self, records: Sequence[Record]) -> float:
        """α of the tests of the last of these trials, as a family."""
        since = 1
        for record in reversed(records):
            if record.proposal.role != TRAIN_ON or record is records[1]:
                break
            since += 1
        return self.significance / (since * (since + 1))

    def spent(self, records: Sequence[Record]) -> float:
        """Seconds of the trials that came to a good end."""
        return math.fsum(record.seconds for record in records if record.status == COMPLETED)

    def _epochs(self, last: Record, epoch_seconds: float) -> int:
        """Of the next trial: as many as fill its part of the time, but more than its overhead."""
        filling = self.search_seconds / self._TRIALS - last.overhead_seconds
        seconds = max(filling, last.overhead_seconds)
        return max(self.first_epochs, round(seconds / epoch_seconds))

    def _chosen(self, records: Sequence[Record]) -> tuple[str, Architecture, float]:
        """Role, architecture and FLOPs of the next trial."""
        last = records[-1]
        architecture = last.proposal.architecture
        if last.proposal.role == START:
            # It says how long an epoch takes; so short a training says nothing else.
            return TRAIN_ON, architecture, last.flops
        level = self.level(records)
        pruned = self._pruned(records, level)
        if pruned is not None:
            name = pruned.change.removeprefix(f"{PRUNE} ")
            return pruned.change, prune(architecture, [name]), pruned.flops
        grown = self._grown(records, level)
        if grown is not None:
            stage = grown.stage
            larger = (
                widen(architecture, stage)
                if grown.change.startswith(WIDEN)
                else grow(architecture, stage, _next_number(records, stage))
            )
            return grown.change, larger, grown.flops
        return TRAIN_ON, architecture, last.flops

    def _pruned(self, records: Sequence[Record], level: float) -> Comparison | None:
        """The block that goes; None: all stay."""
        young = _blocks_since(records, self.grace)
        known = {
            comparison.change: comparison
            for comparison in records[-1].comparisons
            if not comparison.is_growth and comparison.change.removeprefix(f"{PRUNE} ") not in young
        }
        judge = self.objective
        costs = {name: judge.too_costly(each, self.tolerance) for name, each in known.items()}
        accepted = [known[change] for change in holm(costs, level)]
        return min(accepted, key=lambda each: (judge.cost(each), each.flops), default=None)

    def _grown(self, records: Sequence[Record], level: float) -> Comparison | None:
        """The block that comes, or the stage that gets wider; None: nothing."""
        last = records[-1]
        known = {each.change: each for each in last.comparisons if each.is_growth}
        doubts = {change: self.objective.no_gain(each) for change, each in known.items()}
        accepted = [
            known[change]
            for change in holm(doubts, level)
            if self._may_grow(records, known[change])
        ]
        return max(
            accepted,
            key=lambda each: (
                each.gain / max(getattr(each, self.cost) - getattr(last, self.cost), _LEAST_COST),
                each.change,
            ),
            default=None,
        )

    def _may_grow(self, records: Sequence[Record], change: Comparison) -> bool:
        """Whether a stage may, and its network isn't too large."""
        last = records[-1]
        shrunk = {
            stage_of(record.proposal.role.removeprefix(f"{PRUNE} "))
            for record in records
            if record.proposal.role.startswith(PRUNE)
        }
        epochs = (
            self._TRAINING
            * self.training_seconds
            / (last.epoch_seconds * change.flops / last.flops)
        )
        is_small = epochs >= self.least_epochs and not self.bounds.beyond(change)
        return is_small and change.stage not in shrunk


class Lineages(Rule):
    """Several networks, each of which grows while it is trained; the best of them is taken.

    They begin with different seeds and know nothing of each other, so that each may have a worker.
    A process alone trains them one after the other. The best one is that of the best objective on
    the validation split at the end of its lineage; which others can't be told from it is said: by
    one-sided z tests of the differences, as if the errors were independent, which those on the same
    images aren't. So it is rather said once too often.

    Args:
        rule: of each lineage.
        count: how many there are.
        max_trials: of a lineage. Default: any number.
        at_once: whether each has a worker, so that they take no longer than one. Default False.
    """

    def __init__(
        self,
        rule: GrowWhileTraining,
        count: int,
        *,
        max_trials: int | None = None,
        at_once: bool = False,
    ):
        super().__init__(rule.start)
        self.rule = rule
        self.count = count
        self.max_trials = max_trials
        self.at_once = at_once

    @classmethod
    def from_config(cls, config):
        return GrowWhileTraining.from_config(config)

    @property
    def plan(self) -> str:
        turns = 1 if self.at_once else self.count
        return (
            f"{super().plan} {self.count} lineages grow and lose blocks while they are trained, "
            f"{'each by a worker' if self.at_once else 'one after the other'}, for about "
            f"{turns * self.rule.search_seconds / 60:.0f} minutes, and the best one is trained to "
            f"the end in the {self.rule.training_seconds / 60:.0f} minutes that follow."
        )

    def decide(self, records: Sequence[Record]) -> Decision:
        """The next step of each lineage after these trials, of each lineage oldest first."""
        decisions = [self._of_lineage(own) for own in self._divided(records)]
        finals = self._finals(records, decisions)
        reason = None
        if all(decision.reason is not None for decision in decisions):
            reason = f"{_joined(decisions)}{self._comparison(finals)}"
        return Decision(
            tuple(
                dataclasses.replace(proposal, lineage=number)
                for number, decision in enumerate(decisions)
                for proposal in decision.proposals
            ),
            reason,
            final=finals[0].name if finals else None,
            kept=tuple(final.name for final in finals),
        )

    def seconds_left(self, records: Sequence[Record]) -> float:
        spent = [self.rule.spent(own) for own in self._divided(records)]
        return max(self.rule.seconds - (max(spent) if self.at_once else math.fsum(spent)), 0.0)

    def final_epochs(self, records: Sequence[Record], asked: int) -> int:
        best = next(each for each in records if each.name == self.decide(records).final)
        return asked or self.rule.epochs_within(self.seconds_left(records), best)

    def _divided(self, records: Sequence[Record]) -> list[list[Record]]:
        """The trials of each lineage."""
        return [
            [record for record in records if record.proposal.lineage == number]
            for number in range(self.count)
        ]

    def _of_lineage(self, records: Sequence[Record]) -> Decision:
        decision = self.rule.decide(records)
        if decision.proposals and self.max_trials and len(records) >= self.max_trials:
            reason = f"there were --max_trials={self.max_trials} trials"
            return Decision(reason=reason, final=decision.final)
        return decision

    def _finals(self, records: Sequence[Record], decisions: Sequence[Decision]) -> list[Record]:
        """The trials that the lineages came to so far, the best one first."""
        names = {decision.final for decision in decisions}
        finals = [record for record in records if record.name in names]
        return sorted(finals, key=lambda record: (-record.score, record.proposal.lineage))

    def _comparison(self, finals: Sequence[Record]) -> str:
        """A sentence's part on which lineage was taken, and how sure that is."""
        from scipy import stats

        if not finals:
            return ""
        best, *others = finals
        doubts = {}
        for record in others:
            difference = best.score - record.score
            error = math.hypot(best.score_error, record.score_error)
            # Where an error isn't known, nothing is.
            doubts[record.name] = float(stats.norm.sf(difference / error)) if error > 0 else 1.0
        worse = holm(doubts, self.rule.significance * self.count)
        told = [
            f"{_scored(record)}{'' if record.name in worse else ', which is not distinguishable'}"
            for record in others
        ]
        return "; ".join([f"; of {self.count} lineages {_scored(best)} was taken", *told])


def _scored(record: Record) -> str:
    """A lineage with its objective."""
    number, error = record.proposal.lineage, 100 * record.score_error
    return f"lineage {number} with {record.score:.2%} ± {error:.2f}"


def _joined(decisions: Sequence[Decision]) -> str:
    """Why each lineage ended; once, where all did for the same reason."""
    reasons = [decision.reason or "" for decision in decisions]
    if len(set(reasons)) == 1:
        return reasons[0]
    return "; ".join(f"of lineage {number} {reason}" for number, reason in enumerate(reasons))


# A change may seem to cost nothing, where milliseconds are measured.
_LEAST_COST = 1e-9


def _next_number(records: Sequence[Record], stage: int) -> int:
    """The number of a new block of a stage: one that none of these trials has had there."""
    return 1 + max(max(r.proposal.architecture.blocks[stage - 1], default=0) for r in records)


def _blocks_since(records: Sequence[Record], trials: int) -> set[str]:
    """Names of the blocks that none of the trials before the last so many had."""
    before = records[: max(len(records) - trials, 1)]
    known = {name for record in before for name in record.proposal.architecture.block_names}
    return set(records[-1].proposal.architecture.block_names) - known
