"""How block networks and their parts are called; nothing here imports Keras."""

import re

from tfcaps.errors import UsageError

KINDS = ("fnn", "vgg", "resnet")
STEMS = ("imagenet", "cifar", "pooled", "deep")
# Of one stage: far more than anybody trains, and few enough to be counted.
MOST_BLOCKS = 10_000
_BLOCK_NAME = re.compile(r"stage(\d+)_block(\d+)")
# The papers' names of depths: blocks of the four stages.
_BLOCK_COUNTS = {
    4: (1, 0, 0, 0),
    10: (1, 1, 1, 1),
    20: (2, 2, 3, 2),
    30: (3, 3, 5, 3),
    50: (3, 6, 12, 3),
    76: (3, 6, 25, 3),
    100: (3, 12, 31, 3),
    120: (3, 12, 41, 3),
}


def block_name(stage: int, number: int) -> str:
    """The layer name of a block.

    Example:

    >>> block_name(2, 1)
    'stage2_block1'
    """
    return f"stage{stage}_block{number}"


def block_numbers(count: int) -> tuple[int, ...]:
    """The numbers of a stage's blocks, if there are so many: 1 … count.

    Raises:
        UsageError: there are more than 10,000.
    """
    if count > MOST_BLOCKS:
        raise UsageError(f"Expected at most {MOST_BLOCKS:,} blocks of a stage. Received: {count}")
    return tuple(range(1, count + 1))


def stage_of(name: str) -> int:
    """The stage of a block, by its name.

    >>> stage_of(block_name(2, 1))
    2
    """
    return int(_BLOCK_NAME.sub(r"\1", name))


def block_counts(num_layers: int) -> tuple[int, ...]:
    """Blocks per stage of the papers' networks of 4, 10, 20, 30, 50, 76, 100 or 120 layers.

    Raises:
        UsageError: the papers have no network of that depth.

    Example:

    >>> block_counts(120)
    (3, 12, 41, 3)

    Source: Peer et al., arXiv 2011.02956.
    """
    if num_layers not in _BLOCK_COUNTS:
        known = ", ".join(map(str, _BLOCK_COUNTS))
        raise UsageError(f"Expected num_layers among {known}. Received: {num_layers}")
    return _BLOCK_COUNTS[num_layers]
