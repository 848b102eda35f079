"""The rules of the search: from the attempts so far to the next ones.

All of it is a pure function of the attempts' records, so that a search that was cut off goes on
with the same decisions, on whatever machine.
"""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence

from nas.architecture import Architecture
from nas.mutations import grow, prune
from tfcaps.errors import UsageError
from tfcaps.models.block_network import block_name

RULES = ("first_stage", "all_stages", "grow_and_prune")
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
        message: of a failed attempt.
    """

    name: str
    proposal: Proposal
    status: str = COMPLETED
    entropies: Mapping[str, float] = dataclasses.field(default_factory=dict)
    accuracy: float = math.nan
    flops: float = math.nan
    message: str = ""

    @property
    def conflicting_blocks(self) -> tuple[str, ...]:
        """Names of the blocks whose output, or of residual blocks the branch, conflicts."""
        return tuple(
            name
            for name in self.proposal.architecture.block_names
            if self.entropies.get(name, self.entropies.get(f"{name}/branch", 0.0)) > 0
        )

    @property
    def has_conflict(self) -> bool:
        """Whether the last block conflicts: what is lost below can't come back above."""
        last = self.proposal.architecture.block_names[-1]
        return any(
            entropy > 0 for tap, entropy in self.entropies.items() if tap.split("/")[0] == last
        )


@dataclasses.dataclass(frozen=True)
class Decision:
    """What comes next: attempts to be made, or to be waited for, or the end.

    Args:
        proposals: that nobody works on yet; none, and no reason: others are running.
        reason: why the search is over, or None.
        final: identity of the attempt that it came to; None if there is none.
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
            that has some.

    Sources: Peer et al., arXiv 2011.02956 (first stage) and 2103.04331 (every stage).
    """

    def __init__(self, start: Architecture, *, every_stage: bool):
        self.start = start
        self.every_stage = every_stage

    def decide(self, records: Sequence[Record]) -> Decision:
        """The next step after these attempts, oldest first."""
        if not records:
            return Decision((Proposal(0, START, self.start),))
        last = records[-1]
        if last.status == RUNNING:
            return Decision()
        if last.status == FAILED:
            done = [record.name for record in records if record.status == COMPLETED]
            return Decision(
                reason=f"the attempt of round {last.proposal.round} failed: {last.message}",
                final=done[-1] if done else None,
            )
        if not last.has_conflict:
            return Decision(reason="the last block has no conflict", final=last.name)
        smaller = self._pruned(last)
        if smaller == last.proposal.architecture:
            return Decision(
                reason="the last block conflicts, but no conflicting block may go: "
                "each stage keeps one",
                final=last.name,
            )
        return Decision((Proposal(last.proposal.round + 1, PRUNE, smaller),))

    def _pruned(self, record: Record) -> Architecture:
        architecture, conflicting = record.proposal.architecture, record.conflicting_blocks
        if self.every_stage:
            return prune(architecture, conflicting)
        for stage in range(1, len(architecture.blocks) + 1):
            of_stage = [name for name in conflicting if _stage_of(name) == stage]
            smaller = prune(architecture, of_stage)
            if smaller != architecture:
                return smaller
        return architecture


@dataclasses.dataclass(frozen=True)
class _State:
    """Where a search by `GrowAndPrune` stands between two rounds."""

    round: int
    parent: Record
    open_stages: frozenset[int]
    visited: frozenset[tuple[int, ...]]  # blocks per stage
    spared: frozenset[str]  # blocks without which the network was worse
    births: Mapping[str, int]  # the round in which a block came
    used: Mapping[int, int]  # the highest number that a stage's blocks ever had


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
        first = [record for record in records if record.proposal.role == START]
        if not first:
            return Decision((Proposal(0, START, self.start),))
        if first[0].status == RUNNING:
            return Decision()
        if first[0].status == FAILED:
            return Decision(reason=f"the start network failed: {first[0].message}")
        state = _State(
            round=1,
            parent=first[0],
            open_stages=frozenset(
                stage for stage, count in enumerate(self.start.counts, start=1) if count
            ),
            visited=frozenset([self.start.counts]),
            spared=frozenset(),
            births={},
            used={
                stage: max(numbers, default=0) for stage, numbers in enumerate(self.start.blocks, 1)
            },
        )
        while True:
            children = self._children(state)
            if children == [
                Proposal(state.round, KEEP, state.parent.proposal.architecture, state.parent.name)
            ]:
                return Decision(
                    reason="no stage gains from another block, and nothing is left to prune",
                    final=state.parent.name,
                )
            done = {record.proposal: record for record in records}
            missing = tuple(child for child in children if child not in done)
            if missing:
                return Decision(missing)
            found = {child.role: done[child] for child in children}
            if any(record.status == RUNNING for record in found.values()):
                return Decision()
            following = self._after(state, found)
            if isinstance(following, Decision):
                return following
            state = following

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
                reason=f"training the network on failed: {keep.message}", final=state.parent.name
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
        number = state.used[best] + 1
        return dataclasses.replace(
            state,
            round=state.round + 1,
            parent=grown[best],
            open_stages=frozenset(gains),
            visited=state.visited | {grown[best].proposal.architecture.counts},
            births={**state.births, block_name(best, number): state.round},
            used={**state.used, best: number},
        )


def make_rule(
    name: str, start: Architecture, *, tolerance: float, gain_threshold: float, grace: int
) -> PruneConflicts | GrowAndPrune:
    """The rule of a name, one of `RULES`.

    Raises:
        UsageError: the name is unknown.
    """
    if name not in RULES:
        raise UsageError(f"Expected a rule among {', '.join(RULES)}. Received: {name}")
    if name == "grow_and_prune":
        return GrowAndPrune(start, tolerance=tolerance, gain_threshold=gain_threshold, grace=grace)
    return PruneConflicts(start, every_stage=name == "all_stages")


def _stage_of(name: str) -> int:
    return int(_STAGE.fullmatch(name)[1])
