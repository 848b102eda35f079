"""Changes of architectures: Architecture → Architecture."""

import dataclasses
from collections.abc import Iterable

from nas.architecture import Architecture
from tfcaps.errors import UsageError
from tfcaps.models.block_network import block_name


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
