"""What a training of a block network is asked to do."""

import dataclasses
from collections.abc import Iterable
from typing import ClassVar

from tfcaps.errors import UsageError
from tfcaps.models.block_network import KINDS, STEMS, block_counts
from tfcaps.training.configuration import RunConfig, joined

_WIDTH = 64  # filters of the first stage; of each further one twice as many
_STAGES = 4
_DENSE_WIDTH = 128


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockNetworkConfig(RunConfig):
    """All choices of one training of a block network; a field is the flag of the same name.

    Args:
        model: "fnn", "vgg" or "resnet".
        num_layers: the papers' name of a depth: 4, 10, 20, 30, 50, 76, 100 or 120; for an fnn any
            number of layers. Default 20.
        blocks: blocks per stage, instead of `num_layers`. Default (): as `num_layers` says.
        width_layers: units of a layer of an fnn, or filters of the first stage, which are doubled
            from stage to stage; 0: 128 or 64.
        widths: filters of each stage, instead of `width_layers`. Default ().
        stem: "imagenet" (7×7, stride 2, as published) or "cifar" (3×3, stride 1).
        **common: see `RunConfig`. Learning rate 1e-3 of rectified Adam inside Lookahead, batches of
            64 and 120 epochs are the defaults of arXiv 2011.02956.

    Raises:
        UsageError: a value is out of its range.
    """

    kind: ClassVar[str] = "block_network"
    choices: ClassVar = {
        **RunConfig.choices,
        "precision": (*RunConfig.choices["precision"], "float64"),
        "model": KINDS,
        "stem": STEMS,
    }
    not_negative: ClassVar = (*RunConfig.not_negative, "width_layers")

    model: str = "resnet"
    num_layers: int = 20
    blocks: tuple[int, ...] = ()
    width_layers: int = 0
    widths: tuple[int, ...] = ()
    stem: str = "imagenet"
    learning_rate: float = 1e-3
    batch_size: int = 64
    epochs: int = 120
    conflicting_samples_size: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        blocks = _integers("blocks", self.blocks, smallest=0) or self._named_blocks()
        widths = _integers("widths", self.widths, smallest=1) or self._doubled_widths(len(blocks))
        if len(widths) != len(blocks):
            raise UsageError(
                f"Expected as many entries in --widths as in --blocks={joined(blocks)}. "
                f"Received: --widths={joined(widths)}"
            )
        if not any(blocks):
            raise UsageError(
                f"Expected --blocks with at least one block. Received: {joined(blocks)}"
            )
        object.__setattr__(self, "blocks", blocks)
        object.__setattr__(self, "widths", widths)

    def _named_blocks(self) -> tuple[int, ...]:
        if self.model == "fnn":
            self._expect("num_layers", self.num_layers >= 1, ">= 1")
            return (self.num_layers,)
        return block_counts(self.num_layers)

    def _doubled_widths(self, stages: int) -> tuple[int, ...]:
        if self.model == "fnn":
            return (self.width_layers or _DENSE_WIDTH,) * stages
        return tuple((self.width_layers or _WIDTH) * 2**stage for stage in range(stages))


def _integers(name: str, values: Iterable[int | str], *, smallest: int) -> tuple[int, ...]:
    try:
        integers = tuple(int(value) for value in values)
    except ValueError:
        integers = (smallest - 1,)
    if integers and min(integers) < smallest:
        raise UsageError(
            f"Expected --{name} to be integers >= {smallest}, separated by commas. "
            f"Received: {joined(values)}"
        )
    return integers
