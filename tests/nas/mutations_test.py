"""Pruning and growing as changes of a value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.architecture import Architecture
from nas.mutations import grow, prune
from tfcaps.errors import UsageError

PLAIN = Architecture("vgg", (2, 3), (8, 16), "cifar")
RESIDUAL = Architecture("resnet", (2, 3), (8, 16), "cifar")


def test_pruned_blocks_are_gone_and_the_others_keep_their_numbers():
    names = ["stage1_block1", "stage2_block2"]
    assert prune(PLAIN, names).blocks == ((2,), (1, 3))
    assert prune(RESIDUAL, names).blocks == ((2,), (1, 3))
    assert prune(PLAIN, []) == PLAIN


def test_a_stage_keeps_its_first_block():
    assert prune(PLAIN, PLAIN.block_names).blocks == ((1,), (1,))
    names = ["stage1_block1", "stage1_block2"]
    assert prune(PLAIN, names, allow_empty_stages=True).blocks == ((), (1, 2, 3))
    with pytest.raises(UsageError, match="at least one block"):
        prune(PLAIN, PLAIN.block_names, allow_empty_stages=True)


def test_a_shortcut_that_changes_the_stride_stays():
    assert prune(RESIDUAL, RESIDUAL.block_names, allow_empty_stages=True).blocks == ((), (1,))


@given(st.sets(st.sampled_from(RESIDUAL.block_names)), st.sampled_from([PLAIN, RESIDUAL]))
def test_no_stage_is_ever_empty(names, architecture):
    smaller = prune(architecture, names)
    assert all(smaller.blocks)
    kept = set(smaller.block_names)
    assert kept <= set(architecture.block_names)
    # Only unwanted blocks are gone.
    assert set(architecture.block_names) - kept <= names


def test_grown_blocks_come_last():
    assert grow(RESIDUAL, 1, 3).blocks == ((1, 2, 3), (1, 2, 3))
    assert grow(prune(RESIDUAL, ["stage2_block2"]), 2, 4).blocks == ((1, 2), (1, 3, 4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: prune(PLAIN, ["stage9_block1"]), "Received: stage9_block1"),
        (lambda: grow(PLAIN, 3, 1), r"of \[2, 3\]. Received: 3"),
        (lambda: grow(PLAIN, 0, 1), "Received: 0"),
        (lambda: grow(PLAIN, 1, 2), "distinct numbers"),
        (lambda: grow(Architecture("vgg", (0, 1), (8, 8), "cifar"), 1, 1), "Received: 1"),
    ],
)
def test_wrong_changes(change, message):
    with pytest.raises(UsageError, match=message):
        change()
