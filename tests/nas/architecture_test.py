"""Architectures as values: checked, and the same after a way through JSON."""

import json

import pytest
from hypothesis import given, strategies as st

from nas.architecture import Architecture
from tfcaps.errors import UsageError
from tfcaps.models.block_names import block_counts

stages = st.lists(
    st.one_of(
        st.integers(0, 4),
        st.lists(st.integers(1, 9), max_size=4, unique=True).map(tuple),
    ),
    min_size=1,
    max_size=4,
).filter(any)
architectures = st.builds(
    lambda kind, blocks, stem: Architecture(kind, tuple(blocks), (8,) * len(blocks), stem),
    st.sampled_from(["fnn", "vgg", "resnet"]),
    stages,
    st.sampled_from(["imagenet", "cifar"]),
)


@given(architectures)
def test_json(architecture):
    text = architecture.to_json()
    again = Architecture.from_json(text)
    assert again == architecture
    assert hash(again) == hash(architecture)
    assert again.to_json() == text


def test_count_stands_for_the_first_numbers():
    assert Architecture("vgg", (2, 0), (4, 8), "cifar") == Architecture(
        "vgg", ((1, 2), ()), [4, 8], "cifar"
    )


@pytest.mark.parametrize("num_layers", [4, 10, 20, 30, 50, 76, 100, 120])
def test_layers_are_counted_as_in_the_papers(num_layers):
    blocks = block_counts(num_layers)
    assert Architecture("vgg", blocks, (8,) * 4, "imagenet").num_layers == num_layers


def test_names_are_those_of_the_network():
    architecture = Architecture("resnet", ((2, 5), (1, 3)), (4, 6), "cifar")
    model = architecture.build((8, 8, 1), 3)
    assert architecture.block_names == model.block_names
    assert architecture.removable_blocks == model.identity_blocks
    assert model.get_config()["blocks"] == architecture.blocks
    assert model.output.shape == (None, 3)


def test_every_block_of_a_plain_network_may_go():
    architecture = Architecture("vgg", (1, 2), (4, 6), "cifar")
    assert architecture.removable_blocks == architecture.block_names


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"kind": "lstm"}, "Expected kind among fnn, vgg, resnet. Received: lstm"),
        ({"stem": "none"}, "Expected stem among imagenet, cifar, pooled, deep. Received: none"),
        ({"blocks": [0, 0]}, r"Expected at least one block. Received: \[0, 0\]"),
        ({"blocks": [[], []]}, "Expected at least one block"),
        ({"blocks": [2, -1]}, "Expected a number of blocks, .*. Received: -1"),
        ({"blocks": [2, [1, 1]]}, r"distinct numbers. Received: \[1, 1\]"),
        ({"blocks": [2, True]}, "Received: True"),
        ({"blocks": [2, 1.0]}, "Received: 1.0"),
        ({"widths": [8]}, r"Expected 2 widths of at least 1. Received: \[8\]"),
        ({"widths": [8, -8]}, r"Received: \[8, -8\]"),
        ({"widths": 8}, "Expected an architecture with kind, blocks, widths, stem as JSON"),
    ],
    ids=str,
)
def test_wrong_value(fields, sentence):
    whole = {"kind": "vgg", "blocks": [1, 2], "widths": [8, 8], "stem": "cifar"}
    with pytest.raises(UsageError, match=sentence):
        Architecture.from_json(json.dumps({**whole, **fields}))


@pytest.mark.parametrize("text", ["", "[]", "7", '{"kind": "vgg"}', '{"kind": "vg'])
def test_text_that_is_no_architecture(text):
    with pytest.raises(UsageError, match="Expected an architecture with kind") as caught:
        Architecture.from_json(text)
    assert str(caught.value).endswith(f"Received: {text!r}")
