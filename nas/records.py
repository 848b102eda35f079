"""What is proposed in a search, what became of it, and what is decided: values."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from nas.architecture import Architecture

START, PRUNE, TRAIN_ON = "start", "prune", "train on"
GROW, WIDEN = "grow ", "widen "
COMPLETED, FAILED, RUNNING = "completed", "failed", "running"
_MOST_EPOCHS = 10**9


@dataclasses.dataclass(frozen=True)
class Proposal:
    """A trial to be made.

    Args:
        round: from 0 on.
        role: "start", "prune", "grow S" or "widen S" for stage S, "prune NAME" for a block, "train
            on".
        architecture: of the network.
        parent: identity of the trial whose weights it starts from; "": from random ones.
        epochs: how long it trains; 0: as long as all trials of the search do.
        first_epoch: number of its first epoch, on which the order of the examples depends; None: 0.
        lineage: of several that a search has, from 0 on.
    """

    round: int
    role: str
    architecture: Architecture
    parent: str = ""
    epochs: int = 0
    first_epoch: int | None = None
    lineage: int = 0

    def to_values(self) -> dict[str, str | int]:
        """The proposal as a trial of keras-tuner carries it, from machine to machine if need be.

        Example:

        >>> proposal = Proposal(0, "start", Architecture("fnn", (2,), (8,), "cifar"))
        >>> Proposal.from_values(proposal.to_values()) == proposal
        True
        """
        own = {} if self.first_epoch is None else {"first_epoch": self.first_epoch}
        return {
            "round": self.round,
            "role": self.role,
            "architecture": self.architecture.to_json(),
            "parent": self.parent,
            **({"epochs": self.epochs} if self.epochs else {}),
            **own,
            **({"lineage": self.lineage} if self.lineage else {}),
        }

    @classmethod
    def from_values(cls, values: Mapping[str, str | int]) -> "Proposal":
        """The inverse of `to_values`."""
        return cls(
            round=int(values["round"]),
            role=str(values["role"]),
            architecture=Architecture.from_json(str(values["architecture"])),
            parent=str(values["parent"]),
            epochs=int(values.get("epochs", 0)),
            first_epoch=int(values["first_epoch"]) if "first_epoch" in values else None,
            lineage=int(values.get("lineage", 0)),
        )


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What a change does to a network, by the examples of the validation split, one by one.

    Args:
        change: "grow S" for a block more in stage S, "widen S" for wider blocks there, or "prune
            NAME" for a block less.
        gain: what the examples gain by it, as the search's objective has it, in nats mostly: see
            `nas.objectives`; below 0 it makes it worse.
        error: standard error of the gain.
        won: how many examples only the changed network classifies rightly.
        lost: how many only the network as it is does.
        examples: how many there are.
        flops: of the changed network, for one image.
        parameters: of it.
        milliseconds: for an image, measured where the trial was made.
        degrees: of freedom of `error`, where the examples have weights. Default: unknown.
        score: what the objective becomes larger. Default: unknown, of accuracy, which `won` and
            `lost` tell.
        score_error: standard error of `score`.
        weight: the most that one example changes the objective by.
    """

    change: str
    gain: float
    error: float
    won: float
    lost: float
    examples: float
    flops: float
    parameters: float
    milliseconds: float
    degrees: float = math.nan
    score: float = math.nan
    score_error: float = math.nan
    weight: float = math.nan

    def __str__(self) -> str:
        return (
            f"{self.change}: gain {self.gain:+.4f} ± {self.error:.4f}, "
            f"{self.won:.0f} of {self.examples:.0f} images won, {self.lost:.0f} lost"
        )

    def to_numbers(self, prefix: str) -> dict[str, float]:
        """The comparison as a trial's numbers carry it: PREFIX, CHANGE/, and the name of each."""
        names = [
            field.name
            for field in dataclasses.fields(self)[1:]
            if field.default is dataclasses.MISSING or not math.isnan(getattr(self, field.name))
        ]
        return {f"{prefix}{self.change}/{name}": getattr(self, name) for name in names}

    @property
    def is_growth(self) -> bool:
        """Whether something comes; else a block goes."""
        return self.change.startswith((GROW, WIDEN))

    @property
    def stage(self) -> int:
        """Where something comes."""
        return int(self.change.split(" ")[1])


def holm(values: Mapping[str, float], level: float) -> list[str]:
    """The names of the hypotheses that are refuted, when all of them are tested together.

    The smallest of m values of p is compared with level / m, the next one with level / (m − 1), and
    so on until one is above: at most with the probability `level` is any of them refuted wrongly.

    Args:
        values: p of each hypothesis, by name.
        level: of the family.

    Example:

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03}, 0.05)      # 0.03 > 0.05 / 2
    ['a']

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    refuted: list[str] = []
    for name in sorted(values, key=lambda name: values[name]):
        if values[name] > level / (len(values) - len(refuted)):
            break
        refuted.append(name)
    return refuted


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a trial came to.

    Args:
        checks: numbers of the epochs after which there was a check; 0: before the first step.
        entropies: H of each tap at each check.
        bundles: number of bundles of each tap at each check.
        losses: mean training loss of each epoch that there was.
        accuracy: on the validation split, at the end.
        score: of the search's objective there. Default: unknown, as searches had none before.
        score_error: its standard error.
        seconds: of it all.
        epoch_seconds: of one of the epochs, without the first step of all, which compiles; NaN:
            there were none.
        pause_seconds: for a check and an evaluation, as there are after each epoch.
    """

    checks: tuple[int, ...]
    entropies: dict[str, tuple[float, ...]]
    bundles: dict[str, tuple[int, ...]]
    losses: tuple[float, ...]
    accuracy: float
    seconds: float
    epoch_seconds: float = math.nan
    pause_seconds: float = math.nan
    score: float = math.nan
    score_error: float = math.nan

    @classmethod
    def from_json(cls, content: Any) -> "Outcome | None":
        """What a file says that a trial came to; None: it says something else.

        Example:

        >>> outcome = Outcome((1,), {"a": (0.5,)}, {"a": (2,)}, (2.0,), 0.5, 1.0)
        >>> Outcome.from_json(vars(outcome)).entropies, Outcome.from_json({"checks": [1]})
        ({'a': (0.5,)}, None)
        """
        try:
            values: dict[str, Any] = {
                "checks": tuple(map(int, content["checks"])),
                "losses": tuple(map(float, content["losses"])),
                **{
                    name: {str(tap): tuple(map(kind, row)) for tap, row in content[name].items()}
                    for name, kind in (("entropies", float), ("bundles", int))
                },
            }
            for field in dataclasses.fields(cls):
                if field.name not in values and field.name in content:
                    values[field.name] = float(content[field.name])
            found = cls(**values)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            return None
        is_whole = all(0 <= check <= _MOST_EPOCHS for check in found.checks) and all(
            len(row) == len(found.checks) and all(0.0 <= entropy < math.inf for entropy in row)
            for row in found.entropies.values()
        )
        return found if is_whole else None


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
        epoch_seconds: of one of its epochs, once the graph is there.
        pause_seconds: between two epochs of a training, for what is measured there.
        comparisons: what changes of the network would do.
        message: of a failed trial.
        score: what the search makes as good as it can, on the validation split. Default: the
            accuracy.
        score_error: standard error of `score`. Default: that of an accuracy of as many examples as
            the comparisons have.
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
    epoch_seconds: float = math.nan
    pause_seconds: float = math.nan
    comparisons: tuple[Comparison, ...] = ()
    message: str = ""
    score: float = math.nan
    score_error: float = math.nan

    def __post_init__(self) -> None:
        if not math.isnan(self.score) or math.isnan(self.accuracy):
            return
        object.__setattr__(self, "score", self.accuracy)
        if self.comparisons:
            variance = self.accuracy * (1.0 - self.accuracy) / self.comparisons[0].examples
            object.__setattr__(self, "score_error", math.sqrt(variance))

    @property
    def overhead_seconds(self) -> float:
        """Of the trial, for all but its epochs: a process, graphs, measurements."""
        return self.seconds - self.proposal.epochs * self.epoch_seconds

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
        kept: identities of others whose networks are needed yet.
    """

    proposals: tuple[Any, ...] = ()
    reason: str | None = None
    final: str | None = None
    kept: tuple[str, ...] = ()


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
