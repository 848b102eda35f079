"""Pruning and growing."""

import pytest
from hypothesis import given, strategies as st

from nas.architecture import Architecture, grow, prune, widen
from tests.nas.architecture_test import architectures
from tfcaps.errors import UsageError


def plain(*blocks):
    return Architecture("vgg", blocks, (4,) * len(blocks), "cifar")


def residual(*blocks):
    return Architecture("resnet", blocks, (4,) * len(blocks), "cifar")


class TestPrune:
    def test_of_a_plain_network(self):
        pruned = prune(plain(3, 3), ["stage1_block1", "stage1_block3", "stage2_block2"])
        assert pruned.blocks == ((2,), (1, 3))
        assert pruned == plain((2,), (1, 3))

    def test_of_a_residual_network(self):
        """The first block of the second stage changes the shape, so it stays."""
        network = residual(2, 3)
        assert prune(network, network.block_names).blocks == ((1,), (1,))
        assert prune(network, ["stage2_block1"]) == network
        assert prune(network, ["stage1_block1", "stage2_block3"]).blocks == ((2,), (1, 2))

    def test_last_block_of_a_stage(self):
        assert prune(plain(2, 2), ["stage2_block1", "stage2_block2"]).blocks == ((1, 2), (1,))
        names = ["stage1_block1", "stage1_block2"]
        assert prune(plain(2, 2), names, allow_empty_stages=True).blocks == ((), (1, 2))
        assert prune(residual(2, 2), names, allow_empty_stages=True).blocks == ((), (1, 2))
        # A stage that is empty already stays empty.
        assert prune(plain(2, 0), ["stage1_block1"]).blocks == ((2,), ())

    def test_nothing_to_remove(self):
        assert prune(plain(2, 2), []) == plain(2, 2)

    def test_unknown_block(self):
        with pytest.raises(UsageError, match=r"stage1_block1.* Received: stage1_block9"):
            prune(plain(1), ["stage1_block9"])

    def test_nothing_left(self):
        with pytest.raises(UsageError, match="Expected at least one block"):
            prune(plain(1), ["stage1_block1"], allow_empty_stages=True)

    @given(architectures, st.data())
    def test_keeps_order_and_stages(self, architecture, data):
        names = data.draw(st.sets(st.sampled_from(architecture.block_names)))
        pruned = prune(architecture, names)
        for before, after in zip(architecture.blocks, pruned.blocks, strict=True):
            assert after == tuple(number for number in before if number in after)
            assert bool(after) == bool(before)
        removed = set(architecture.block_names) - set(pruned.block_names)
        assert removed <= names & set(architecture.removable_blocks)


class TestGrow:
    def test_new_block_is_the_stages_last(self):
        assert grow(residual((2, 1), (1,)), 1, 7).blocks == ((2, 1, 7), (1,))

    @pytest.mark.parametrize("stage", [0, 2, 3])
    def test_stage_that_cannot_grow(self, stage):
        with pytest.raises(UsageError, match=rf"of \[1, 0\]. Received: {stage}"):
            grow(residual(1, 0), stage, 9)

    def test_number_that_is_taken(self):
        with pytest.raises(UsageError, match="distinct numbers"):
            grow(residual(2), 1, 2)

    @given(architectures.filter(lambda a: a.kind == "resnet" and all(a.counts)), st.data())
    def test_pruning_undoes_growth(self, architecture, data):
        stage = data.draw(st.integers(1, len(architecture.counts)))
        grown = grow(architecture, stage, 10)
        (new,) = set(grown.block_names) - set(architecture.block_names)
        assert new == f"stage{stage}_block10"
        assert new in grown.removable_blocks
        assert prune(grown, [new]) == architecture


def test_widen():
    start = Architecture("resnet", (2, 1, 0), (8, 16, 3), "cifar")
    wider = widen(start, 1)
    assert wider.hidden == (12, 16, 3)
    assert widen(wider, 1).hidden == (16, 16, 3)
    assert (wider.blocks, wider.widths) == (start.blocks, start.widths)
    assert grow(wider, 1, 7).hidden == wider.hidden
    with pytest.raises(UsageError, match=r"Expected a stage with blocks, of .* Received: 3"):
        widen(start, 3)
    with pytest.raises(UsageError, match="Expected no hidden widths"):
        widen(Architecture("fnn", (2,), (8,), "cifar"), 1)


def test_hidden_widths_as_text():
    plain = Architecture("resnet", (1, 1), (8, 16), "cifar")
    assert "hidden" not in plain.to_json()
    assert Architecture("resnet", (1, 1), (8, 16), "cifar", (8, 16)) == plain
    wider = widen(plain, 2)
    assert Architecture.from_json(wider.to_json()) == wider
    network = wider.build((8, 8, 1), 3)
    assert network.hidden == (8, 24)
    assert network.get_layer("stage2_block1").conv1.kernel.shape == (3, 3, 8, 24)
    for text in ("[1]", "[0, 8]", '"8"', "[1, 2, 3]"):
        with pytest.raises(UsageError):
            Architecture.from_json(wider.to_json().replace("[8, 24]", text))
