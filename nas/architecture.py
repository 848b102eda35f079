"""A block network's architecture as a value."""

import dataclasses
import json
from typing import Any

from tfcaps.errors import UsageError
from tfcaps.models.block_network import KINDS, STEMS, BlockNetwork, block_name

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
        stem: "imagenet" or "cifar".

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

    def build(self, image_shape: tuple[int, int, int], num_classes: int) -> BlockNetwork:
        """The network for images (H, W, C) and K classes."""
        return BlockNetwork(
            image_shape,
            num_classes,
            kind=self.kind,
            blocks=self.blocks,
            widths=self.widths,
            stem=self.stem,
        )

    def to_json(self) -> str:
        """The architecture as text, always the same for the same architecture."""
        return json.dumps({name: getattr(self, name) for name in _FIELDS})

    @classmethod
    def from_json(cls, text: str) -> "Architecture":
        """The inverse of `to_json`.

        Raises:
            UsageError: it is no description of an architecture.
        """
        try:
            fields: dict[str, Any] = json.loads(text)
            return cls(**{name: fields[name] for name in _FIELDS})
        except UsageError:
            raise
        except (ValueError, KeyError, TypeError):
            raise UsageError(
                f"Expected an architecture with {', '.join(_FIELDS)} as JSON. Received: {text!r}"
            ) from None


def _is_positive(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 1


def _numbers(entry: Any) -> tuple[int, ...]:
    """The numbers of one stage's blocks; a count n stands for 1 … n."""
    if _is_positive(entry) or (entry == 0 and isinstance(entry, int)):
        return tuple(range(1, entry + 1))
    is_list = isinstance(entry, (list, tuple)) and all(map(_is_positive, entry))
    if is_list and len(set(entry)) == len(entry):
        return tuple(entry)
    raise UsageError(f"Expected a number of blocks, or their distinct numbers. Received: {entry}")
