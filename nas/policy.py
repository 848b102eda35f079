"""The rules of the search: from the attempts so far to the next ones.

All of it is a pure function of the attempts' records, so that a search that was cut off goes on
with the same decisions, on whatever machine.
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence

from nas.architecture import Architecture
from nas.mutations import grow, prune
from tfcaps.errors import UsageError
from tfcaps.models.block_network import block_name

FIRST_STAGE, ALL_STAGES, GROW_AND_PRUNE = "first_stage", "all_stages", "grow_and_prune"
RULES = (FIRST_STAGE, ALL_STAGES, GROW_AND_PRUNE)
START, PRUNE, KEEP = "start", "prune", "keep"
COMPLETED, FAILED, RUNNING = "completed", "failed", "running"
_STAGE = re.compile(r"stage(\d+)_block(\d+)")


@dataclasses.dataclass(frozen=True)
class Proposal:
    """An attempt to be made.

    Args:
        round: from 0 on.
        role: "start", "prune", "keep", or "grow S" for stage S.
        architecture: of the network.
        parent: identity of the attempt whose weights it starts from; "": from random ones.
    """

    round: int
    role: str
    architecture: Architecture
    parent: str = ""


@dataclasses.dataclass(frozen=True)
class Record:
    """An attempt that was begun.

    Args:
        name: its identity.
        proposal: what was attempted.
        status: "completed", "failed" or "running".
        entropies: H of each tap of the network, see `BlockNetwork.inspector`.
        accuracy: on the validation split.
        flops: of the network, for one image.
        parameters: of the network.
        milliseconds: for an image, measured where the attempt was made.
        seconds: of the attempt.
        message: of a failed attempt.
    """

    name: str
    proposal: Proposal
    status: str = COMPLETED
    entropies: Mapping[str, float] = dataclasses.field(default_factory=dict)
    accuracy: float = math.nan
    flops: float = math.nan
    parameters: float = math.nan
    milliseconds: float = math.nan
    seconds: float = math.nan
    message: str = ""

    @property
    def conflicting_blocks(self) -> tuple[str, ...]:
        """Names of the blocks whose output, or of residual blocks the branch, conflicts."""
        names = self.proposal.architecture.block_names
        return tuple(name for name in names if self.block_entropy(name) > 0)

    def block_entropy(self, name: str) -> float:
        """H of a block's output, or of a residual block's branch; 0 where it wasn't measured."""
        return self.entropies.get(name, self.entropies.get(f"{name}/branch", 0.0))

    @property
    def last_entropy(self) -> float:
        """H of the last block, the larger one of branch and output where it has both."""
        last = self.proposal.architecture.block_names[-1]
        found = [entropy for tap, entropy in self.entropies.items() if tap.split("/")[0] == last]
        return max(found, default=math.nan)


@dataclasses.dataclass(frozen=True)
class Decision:
    """What comes next: attempts to be made, or to be waited for, or the end.

    Args:
        proposals: that nobody works on yet; none, and no reason: others are running.
        reason: why the search is over, or None.
        final: identity of the attempt that the search has come to so far; None if there is none.
    """

    proposals: tuple[Proposal, ...] = ()
    reason: str | None = None
    final: str | None = None


class PruneConflicts:
    """Prunes a network until its last block has no conflict; each attempt starts anew.

    Each proposal has fewer blocks than the one before, so the search ends.

    Args:
        start: the architecture to begin with.
        every_stage: whether conflicting blocks of all stages go, or those of the first stage
            that has some (and, where those can't go, of the next one).
        allow_empty_stages: whether a stage may lose all its blocks. Default False.

    Sources: Peer et al., arXiv 2011.02956 (first stage) and 2103.04331 (every stage).
    """

    def __init__(self, start: Architecture, *, every_stage: bool, allow_empty_stages: bool = False):
        self.start = start
        self.every_stage = every_stage
        self.allow_empty_stages = allow_empty_stages

    def decide(self, records: Sequence[Record]) -> Decision:
        """The next step after these attempts, oldest first."""
        done = [record.name for record in records if record.status == COMPLETED]
        final = done[-1] if done else None
        if not records:
            return Decision((Proposal(0, START, self.start),))
        last = records[-1]
        if last.status == RUNNING:
            return Decision(final=final)
        if last.status == FAILED:
            reason = f"the attempt of round {last.proposal.round} failed: {last.message}"
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
        architecture, conflicting = record.proposal.architecture, record.conflicting_blocks
        if self.every_stage:
            return self._without(architecture, conflicting)
        for stage in range(1, len(architecture.blocks) + 1):
            of_stage = [name for name in conflicting if _stage_of(name) == stage]
            smaller = self._without(architecture, of_stage)
            if smaller != architecture:
                return smaller
        return architecture

    def _without(self, architecture: Architecture, names: Iterable[str]) -> Architecture:
        if self.allow_empty_stages and set(names) == set(architecture.block_names):
            names = list(names)[1:]  # a network has at least one block
        return prune(architecture, names, allow_empty_stages=self.allow_empty_stages)


@dataclasses.dataclass(frozen=True)
class _State:
    """Where a search by `GrowAndPrune` stands between two rounds."""

    round: int
    parent: Record
    open_stages: frozenset[int]
    visited: frozenset[tuple[int, ...]]  # blocks per stage
    spared: frozenset[str]  # blocks without which the network was worse
    births: Mapping[str, int]  # the round in which a block came
    used: Mapping[int, int]  # the highest number that a stage's blocks had in any attempt


class GrowAndPrune:
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

    def __init__(
        self,
        start: Architecture,
        *,
        tolerance: float = 0.005,
        gain_threshold: float = 0.002,
        grace: int = 2,
    ):
        if start.kind != "resnet":
            raise UsageError(f"Expected a resnet to grow and prune. Received: {start.kind}")
        self.start = start
        self.tolerance = tolerance
        self.gain_threshold = gain_threshold
        self.grace = grace

    def decide(self, records: Sequence[Record]) -> Decision:
        """The next step after these attempts, in any order."""
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


def lineage(records: Sequence[Record], name: str) -> list[Record]:
    """The attempts that led to one, oldest first, with that one.

    An attempt that starts from random weights has those of the rounds before it as its past, one
    that inherits has its parents.
    """
    by_name = {record.name: record for record in records}
    found = [by_name[name]]
    while found[0].proposal.parent:
        found.insert(0, by_name[found[0].proposal.parent])
    if len(found) > 1:
        return found
    past = [r for r in records if r.proposal.round < found[0].proposal.round and is_done(r)]
    return [*past, *found]


def is_done(record: Record) -> bool:
    """Whether an attempt came to an end, and a good one."""
    return record.status == COMPLETED


def _stage_of(name: str) -> int:
    return int(_STAGE.fullmatch(name)[1])
