"""A block network's architecture as a value, and its changes: Architecture → Architecture."""

import dataclasses
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tfcaps import models
from tfcaps.errors import UsageError
from tfcaps.models.block_names import KINDS, STEMS, block_name, block_numbers

if TYPE_CHECKING:
    from tfcaps.models import BlockNetwork

_FIELDS = ("kind", "blocks", "widths", "stem")


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What `BlockNetwork` builds, apart from images and classes.

    A block has a number of its own within its stage, which it keeps when others come or go: that
    is how its weights are found again.

    Args:
        kind: "fnn", "vgg" or "resnet".
        blocks: for each stage the numbers of its blocks, or how many there are.
        widths: filters, or units, of each stage.
        stem: "imagenet", "cifar", "pooled" or "deep".
        hidden: filters between the two convolutions of a block, of each stage. Default: () for
            those of the stage, which is also what the same numbers become.

    Raises:
        UsageError: a value is out of its range, or there is no block.

    Example:

    >>> small = Architecture("resnet", (2, 1), (16, 32), "cifar")
    >>> small.blocks, small.counts
    (((1, 2), (1,)), (2, 1))
    >>> Architecture.from_json(small.to_json()) == small
    True
    """

    kind: str
    blocks: tuple[tuple[int, ...], ...]
    widths: tuple[int, ...]
    stem: str
    hidden: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, value, allowed in (("kind", self.kind, KINDS), ("stem", self.stem, STEMS)):
            if value not in allowed:
                raise UsageError(f"Expected {name} among {', '.join(allowed)}. Received: {value}")
        blocks = tuple(_numbers(entry) for entry in self.blocks)
        widths = tuple(self.widths)
        if not all(_is_positive(width) for width in widths) or len(widths) != len(blocks):
            raise UsageError(
                f"Expected {len(blocks)} widths of at least 1. Received: {list(widths)}"
            )
        if not any(blocks):
            raise UsageError(f"Expected at least one block. Received: {list(self.blocks)}")
        object.__setattr__(self, "blocks", blocks)
        object.__setattr__(self, "widths", widths)
        hidden = tuple(self.hidden)
        expected = 0 if self.kind == "fnn" else len(widths)
        if not all(_is_positive(width) for width in hidden) or len(hidden) not in (0, expected):
            raise UsageError(
                f"Expected no hidden widths, or {expected} of at least 1. Received: {list(hidden)}"
            )
        object.__setattr__(self, "hidden", () if hidden == widths else hidden)

    @property
    def counts(self) -> tuple[int, ...]:
        """Blocks per stage."""
        return tuple(len(stage) for stage in self.blocks)

    @property
    def num_layers(self) -> int:
        """Layers with weights on the longest way through, as the papers count them."""
        # Of a convolutional network the stem, two in each block, and the dense one.
        return sum(self.counts) if self.kind == "fnn" else 2 * sum(self.counts) + 2

    @property
    def block_names(self) -> tuple[str, ...]:
        """Names of all blocks, from the lowest on, as the network's layers have them."""
        return tuple(
            block_name(stage, number)
            for stage, numbers in enumerate(self.blocks, start=1)
            for number in numbers
        )

    @property
    def removable_blocks(self) -> tuple[str, ...]:
        """Names of the blocks that may go one by one.

        Without weights to inherit those are all. In a residual network the first block of each
        stage but the first one stays: its shortcut is no identity.
        """
        if self.kind != "resnet":
            return self.block_names
        return tuple(
            block_name(stage, number)
            for stage, numbers in enumerate(self.blocks, start=1)
            for number in (numbers if stage == 1 else numbers[1:])
        )

    def build(self, image_shape: tuple[int, int, int], num_classes: int) -> "BlockNetwork":
        """The network for images (H, W, C) and K classes."""
        return models.BlockNetwork(
            image_shape,
            num_classes,
            kind=self.kind,
            blocks=self.blocks,
            widths=self.widths,
            stem=self.stem,
            hidden=self.hidden or None,
        )

    def to_json(self) -> str:
        """The architecture as text, always the same for the same architecture."""
        known = {name: getattr(self, name) for name in _FIELDS}
        return json.dumps({**known, **({"hidden": self.hidden} if self.hidden else {})})

    @classmethod
    def from_json(cls, text: str) -> "Architecture":
        """The inverse of `to_json`.

        Raises:
            UsageError: it is no description of an architecture.
        """
        try:
            fields: dict[str, Any] = json.loads(text)
            hidden = fields.get("hidden", ())
            return cls(**{name: fields[name] for name in _FIELDS}, hidden=hidden)
        except UsageError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise UsageError(
                f"Expected an architecture with {', '.join(_FIELDS)} as JSON. Received: {text!r}"
            ) from None


def prune(
    architecture: Architecture, names: Iterable[str], *, allow_empty_stages: bool = False
) -> Architecture:
    """Removes blocks, as far as they may go.

    Blocks that hold a stage together stay, see `Architecture.removable_blocks`; and the first block
    of a stage of which nothing would be left.

    Args:
        architecture: the one to change.
        names: of the blocks that are not wanted.
        allow_empty_stages: whether a stage may lose its last block. Default False.

    Raises:
        UsageError: there is no such block, or no block at all would be left.

    Example:

    >>> plain = Architecture("vgg", (2, 2), (8, 8), "cifar")
    >>> prune(plain, ["stage1_block1", "stage2_block1", "stage2_block2"]).blocks
    ((2,), (1,))
    """
    unwanted = set(names)
    unknown = sorted(unwanted - set(architecture.block_names))
    if unknown:
        raise UsageError(
            f"Expected blocks among {', '.join(architecture.block_names)}. Received: {unknown[0]}"
        )
    unwanted &= set(architecture.removable_blocks)
    stages = []
    for stage, numbers in enumerate(architecture.blocks, start=1):
        kept = tuple(number for number in numbers if block_name(stage, number) not in unwanted)
        stages.append(kept if kept or allow_empty_stages else numbers[:1])
    return dataclasses.replace(architecture, blocks=tuple(stages))


def grow(architecture: Architecture, stage: int, number: int) -> Architecture:
    """Appends a block to a stage.

    Args:
        architecture: the one to change.
        stage: which one, from 1 on.
        number: of the new block: one that no block of the stage has, or ever had.

    Raises:
        UsageError: there is no such stage, or it is empty, or has that block.

    Example:

    >>> grow(Architecture("resnet", (2, 1), (8, 8), "cifar"), 2, 5).blocks
    ((1, 2), (1, 5))
    """
    if not 1 <= stage <= len(architecture.blocks) or not architecture.blocks[stage - 1]:
        raise UsageError(
            f"Expected a stage with blocks, of {list(architecture.counts)}. Received: {stage}"
        )
    stages = list(architecture.blocks)
    stages[stage - 1] = (*stages[stage - 1], number)
    return dataclasses.replace(architecture, blocks=tuple(stages))


def widen(architecture: Architecture, stage: int) -> Architecture:
    """Gives a stage's blocks half as many filters more as the stage has, between convolutions.

    Args:
        architecture: the one to change, of a convolutional kind.
        stage: which one, from 1 on.

    Raises:
        UsageError: there is no such stage, or it is empty; or the network has no convolutions.

    Example:

    >>> widen(Architecture("resnet", (2, 1), (8, 16), "cifar"), 2).hidden
    (8, 24)
    """
    if not 1 <= stage <= len(architecture.blocks) or not architecture.blocks[stage - 1]:
        raise UsageError(
            f"Expected a stage with blocks, of {list(architecture.counts)}. Received: {stage}"
        )
    hidden = list(architecture.hidden or architecture.widths)
    hidden[stage - 1] += max(1, architecture.widths[stage - 1] // 2)
    return dataclasses.replace(architecture, hidden=tuple(hidden))


def _is_positive(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 1


def _numbers(entry: Any) -> tuple[int, ...]:
    """The numbers of one stage's blocks; a count n stands for 1 … n."""
    if _is_positive(entry) or (entry == 0 and isinstance(entry, int)):
        return block_numbers(entry)
    is_list = isinstance(entry, (list, tuple)) and all(map(_is_positive, entry))
    if is_list and len(set(entry)) == len(entry):
        return tuple(entry)
    raise UsageError(f"Expected a number of blocks, or their distinct numbers. Received: {entry}")
