"""Architectures as values."""

import json

import pytest

from nas.architecture import Architecture
from tfcaps.errors import UsageError

PLAIN = Architecture("vgg", (2, (1, 4, 3)), (8, 16), "cifar")


def test_counts_names_and_numbers():
    assert PLAIN.blocks == ((1, 2), (1, 4, 3))
    assert PLAIN.counts == (2, 3)
    assert PLAIN.block_names == (
        *("stage1_block1", "stage1_block2"),
        *("stage2_block1", "stage2_block4", "stage2_block3"),
    )
    assert PLAIN.removable_blocks == PLAIN.block_names


def test_what_a_residual_network_can_lose():
    """As the network itself says: blocks whose shortcut is the identity."""
    architecture = Architecture("resnet", (2, 0, (3, 1), 1), (4, 8, 8, 8), "cifar")
    assert architecture.removable_blocks == ("stage1_block1", "stage1_block2", "stage3_block1")
    assert architecture.build((8, 8, 1), 3).removable_blocks == architecture.removable_blocks


@pytest.mark.parametrize("architecture", [PLAIN, Architecture("fnn", (7,), (5,), "imagenet")])
def test_json(architecture):
    text = architecture.to_json()
    assert Architecture.from_json(text) == architecture
    assert Architecture.from_json(json.dumps(json.loads(text), indent=2)).to_json() == text
    assert hash(Architecture.from_json(text)) == hash(architecture)


def test_the_network_is_what_it_says():
    model = PLAIN.build((6, 5, 3), 4)
    assert model.block_names == PLAIN.block_names
    assert model.output.shape == (None, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "mlp"}, "kind among fnn, vgg, resnet. Received: mlp"),
        ({"stem": "none"}, "stem among imagenet, cifar. Received: none"),
        ({"blocks": (0, 0)}, r"at least one block. Received: \[0, 0\]"),
        ({"blocks": (1, -1)}, "Received: -1"),
        ({"blocks": (1, True)}, "Received: True"),
        ({"blocks": ((1, 1), 1)}, r"distinct numbers. Received: \(1, 1\)"),
        ({"blocks": ((0,), 1)}, r"Received: \(0,\)"),
        ({"widths": (8,)}, r"2 widths of at least 1. Received: \[8\]"),
        ({"widths": (8, -8)}, r"Received: \[8, -8\]"),
    ],
)
def test_out_of_range(changes, message):
    fields = {"kind": "vgg", "blocks": (1, 1), "widths": (8, 8), "stem": "cifar"}
    with pytest.raises(UsageError, match=message):
        Architecture(**{**fields, **changes})


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"kind": "vgg"}', '{"kind": 3, "b'])
def test_text_that_is_no_architecture(text):
    with pytest.raises(UsageError, match="Expected an architecture with kind, blocks"):
        Architecture.from_json(text)
