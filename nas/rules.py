"""The rules of a search: from the trials so far to the next ones.

A rule is a pure function of the trials' records, so that a search that was cut off goes on with the
same decisions, on whatever machine; and it carries what else depends on it. To add one is to write
a class here, or in another file of this package, and to register it.
"""

import abc
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from nas.architecture import Architecture, grow, prune
from nas.records import COMPLETED, FAILED, KEEP, PRUNE, RUNNING, START, Decision, Proposal, Record
from tfcaps.errors import UsageError
from tfcaps.models.block_names import KINDS, block_name, stage_of
from tfcaps.registry import Registry

if TYPE_CHECKING:
    from nas.configuration import SearchConfig

RULES = Registry("a rule", "nas")


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
class _State:
    """Where a search by `GrowAndPrune` stands between two rounds."""

    round: int
    parent: Record
    open_stages: frozenset[int]
    visited: frozenset[tuple[int, ...]]  # blocks per stage
    spared: frozenset[str]  # blocks without which the network was worse
    births: Mapping[str, int]  # the round in which a block came
    used: Mapping[int, int]  # the highest number that a stage's blocks had in any trial


@RULES.register("grow_and_prune")
class GrowAndPrune(Rule):
    """Prunes what conflicts, and grows where a block is worth its operations.

    In each round all children start from the weights of the round's parent and learn equally long
    from the same batches: `keep` is the parent as it is; `prune` lacks the removable blocks whose
    branch conflicts, unless they are in their grace period; `grow s` has one more block, an exact
    identity, in stage s. Then

    1. the pruned child is the next parent if its validation accuracy is at least that of `keep`
       less the tolerance; else its blocks are spared from then on;
    2. else stages whose gain (accuracy less that of `keep`) is below the threshold are closed, and
       of the others the one with the best gain per additional operation is the next parent;
    3. else the search is over, with `keep`.

    It ends: a round that doesn't end the search changes the architecture; a pruning closes the
    stages that it touched if it leads back to numbers of blocks that were there before; and a
    stage that doesn't gain is closed for good. `max_trials` is the bound however accuracies fall.

    Args:
        start: a residual architecture.
        tolerance: accuracy that a pruning may cost. Default 0.005.
        gain_threshold: accuracy that a block has to bring. Default 0.002.
        grace: rounds in which a new block is not pruned: its branch begins as a constant, which is
            one bundle. Default 2.

    Raises:
        UsageError: the architecture is not residual.
    """

    inherits = True
    start_kind = "resnet"
    start_layers = 10
    kinds = ("resnet",)
    on_accuracies = "a trial goes on with its parent's weights."

    def __init__(
        self,
        start: Architecture,
        *,
        tolerance: float = 0.005,
        gain_threshold: float = 0.002,
        grace: int = 2,
    ):
        if start.kind not in self.kinds:
            raise UsageError(f"Expected a resnet to grow and prune. Received: {start.kind}")
        super().__init__(start)
        self.tolerance = tolerance
        self.gain_threshold = gain_threshold
        self.grace = grace

    @classmethod
    def from_config(cls, config):
        return cls(
            config.start,
            tolerance=config.tolerance,
            gain_threshold=config.gain_threshold,
            grace=config.grace,
        )

    def decide(self, records: Sequence[Record]) -> Decision:
        """The next step after these trials, in any order."""
        known = {record.proposal: record for record in records}
        begin = Proposal(0, START, self.start)
        if begin not in known:
            return Decision((begin,))
        first = known[begin]
        if first.status == RUNNING:
            return Decision()
        if first.status == FAILED:
            return Decision(reason=f"training the start network failed: {first.message}")
        state = self._first_state(first)
        while True:
            final = state.parent.name
            children = self._children(state)
            if len(children) == 1:
                reason = "no stage gains from another block, and nothing is left to prune"
                return Decision(reason=reason, final=final)
            missing = tuple(child for child in children if child not in known)
            found = {child.role: known[child] for child in children if child in known}
            if missing or any(record.status == RUNNING for record in found.values()):
                return Decision(missing, final=final)
            following = self._after(state, found)
            if isinstance(following, Decision):
                return following
            # Blocks that were tried in vain don't give their numbers to others.
            used = {s: n + (s in state.open_stages) for s, n in state.used.items()}
            state = dataclasses.replace(following, used=used)

    def _first_state(self, first: Record) -> _State:
        stages = list(enumerate(self.start.blocks, start=1))
        return _State(
            round=1,
            parent=first,
            open_stages=frozenset(stage for stage, numbers in stages if numbers),
            visited=frozenset([self.start.counts]),
            spared=frozenset(),
            births={},
            used={stage: max(numbers, default=0) for stage, numbers in stages},
        )

    def _children(self, state: _State) -> list[Proposal]:
        architecture = state.parent.proposal.architecture
        parent = state.parent.name
        children = [Proposal(state.round, KEEP, architecture, parent)]
        smaller = prune(architecture, self._unwanted(state))
        if smaller != architecture:
            children.append(Proposal(state.round, PRUNE, smaller, parent))
        for stage in sorted(state.open_stages):
            grown = grow(architecture, stage, state.used[stage] + 1)
            children.append(Proposal(state.round, f"grow {stage}", grown, parent))
        return children

    def _unwanted(self, state: _State) -> list[str]:
        return [
            name
            for name in state.parent.conflicting_blocks
            if name not in state.spared
            and state.round - state.births.get(name, -self.grace) > self.grace
        ]

    def _after(self, state: _State, found: Mapping[str, Record]) -> "_State | Decision":
        """The state after a round whose children are done, or the end of the search."""
        keep, pruned = found[KEEP], found.get(PRUNE)
        if keep.status == FAILED:
            return Decision(
                reason=f"training the network further failed: {keep.message}",
                final=state.parent.name,
            )
        if pruned is not None:
            if pruned.status == COMPLETED and pruned.accuracy >= keep.accuracy - self.tolerance:
                return self._after_pruning(state, pruned)
            gone = set(state.parent.proposal.architecture.block_names)
            gone -= set(pruned.proposal.architecture.block_names)
            state = dataclasses.replace(state, spared=state.spared | gone)
        return self._after_growing(state, keep, found)

    def _after_pruning(self, state: _State, pruned: Record) -> _State:
        before, after = state.parent.proposal.architecture, pruned.proposal.architecture
        closed = frozenset()
        if after.counts in state.visited:
            pairs = zip(before.counts, after.counts, strict=True)
            closed = frozenset(stage for stage, (b, a) in enumerate(pairs, start=1) if a < b)
        return dataclasses.replace(
            state,
            round=state.round + 1,
            parent=pruned,
            open_stages=state.open_stages - closed,
            visited=state.visited | {after.counts},
        )

    def _after_growing(
        self, state: _State, keep: Record, found: Mapping[str, Record]
    ) -> "_State | Decision":
        grown = {stage: found[f"grow {stage}"] for stage in sorted(state.open_stages)}
        gains = {
            stage: record.accuracy - keep.accuracy
            for stage, record in grown.items()
            if record.status == COMPLETED and record.accuracy - keep.accuracy >= self.gain_threshold
        }
        if not gains:
            return Decision(
                reason="neither pruning nor another block made the network better", final=keep.name
            )
        best = max(gains, key=lambda s: (gains[s] / max(grown[s].flops - keep.flops, 1.0), -s))
        newest = block_name(best, state.used[best] + 1)
        return dataclasses.replace(
            state,
            round=state.round + 1,
            parent=grown[best],
            open_stages=frozenset(gains),
            visited=state.visited | {grown[best].proposal.architecture.counts},
            births={**state.births, newest: state.round},
        )
