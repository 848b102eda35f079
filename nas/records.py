"""What is proposed in a search, what became of it, and what is decided: values."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from nas.architecture import Architecture

START, PRUNE, KEEP = "start", "prune", "keep"
COMPLETED, FAILED, RUNNING = "completed", "failed", "running"


@dataclasses.dataclass(frozen=True)
class Proposal:
    """A trial to be made.

    Args:
        round: from 0 on.
        role: "start", "prune", "keep", or "grow S" for stage S.
        architecture: of the network.
        parent: identity of the trial whose weights it starts from; "": from random ones.
    """

    round: int
    role: str
    architecture: Architecture
    parent: str = ""

    def to_values(self) -> dict[str, str | int]:
        """The proposal as a trial of keras-tuner carries it, from machine to machine if need be.

        Example:

        >>> proposal = Proposal(0, "start", Architecture("fnn", (2,), (8,), "cifar"))
        >>> Proposal.from_values(proposal.to_values()) == proposal
        True
        """
        return {
            "round": self.round,
            "role": self.role,
            "architecture": self.architecture.to_json(),
            "parent": self.parent,
        }

    @classmethod
    def from_values(cls, values: Mapping[str, str | int]) -> "Proposal":
        """The inverse of `to_values`."""
        return cls(
            round=int(values["round"]),
            role=str(values["role"]),
            architecture=Architecture.from_json(str(values["architecture"])),
            parent=str(values["parent"]),
        )


@dataclasses.dataclass(frozen=True)
class Record:
    """A trial that was begun.

    Args:
        name: its identity.
        proposal: what was tried.
        status: "completed", "failed" or "running".
        entropies: H of each tap of the network, see `BlockNetwork.inspector`.
        accuracy: on the validation split.
        flops: of the network, for one image.
        parameters: of the network.
        milliseconds: for an image, measured where the trial was made.
        seconds: of the trial.
        message: of a failed trial.
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
    """What comes next: trials to be made, or to be waited for, or the end.

    Args:
        proposals: that nobody works on yet, each with a method `to_values`; none, and no reason:
            others are running.
        reason: why the search is over, or None.
        final: identity of the trial that the search has come to so far; None if there is none.
    """

    proposals: tuple[Any, ...] = ()
    reason: str | None = None
    final: str | None = None


def lineage(records: Sequence[Record], name: str) -> list[Record]:
    """The trials that led to one, oldest first, with that one.

    A trial that starts from random weights has those of the rounds before it as its past, one
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
    """Whether a trial came to an end, and a good one."""
    return record.status == COMPLETED
