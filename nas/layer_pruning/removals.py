"""What is tried when layers are removed, and what became of it: values."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from nas.records import COMPLETED

# What a trial is for.
WHOLE, CANDIDATE, ONE_PASS, FINAL = "whole", "candidate", "one_pass", "final"

Layers = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Removal:
    """A trial to be made: an encoder without some of its layers, fine-tuned once.

    Args:
        removed: indices of the layers in the whole encoder, ascending.
        seed: of head, dropout and order of the examples.
        part: of the steps of a whole fine-tuning, in (0, 1]. Default 1.
        role: "whole", "candidate", "final": trained on all examples and scored on the test part; or
            "one_pass": nothing is trained, layers are measured.
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
            removed=split(str(values["removed"])),
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
        score: of the validation split; of a final one, of the test part.
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


def joined(layers: Layers) -> str:
    """A set of layers as published files have it.

    >>> joined((3, 11))
    '3-11'
    """
    return "-".join(map(str, layers))


def split(text: str) -> Layers:
    """The inverse of `joined`."""
    return tuple(int(part) for part in text.split("-")) if text else ()
