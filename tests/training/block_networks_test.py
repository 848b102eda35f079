"""What a training of a block network may be asked to do."""

import dataclasses
import json
import re

import pytest

from tfcaps.errors import UsageError
from tfcaps.training import BlockNetworkConfig


def config(**changes) -> BlockNetworkConfig:
    return BlockNetworkConfig(log_dir="x", **changes)


@pytest.mark.parametrize(
    ("num_layers", "blocks"),
    [
        (4, (1, 0, 0, 0)),
        (10, (1, 1, 1, 1)),
        (20, (2, 2, 3, 2)),
        (30, (3, 3, 5, 3)),
        (50, (3, 6, 12, 3)),
        (76, (3, 6, 25, 3)),
        (100, (3, 12, 31, 3)),
        (120, (3, 12, 41, 3)),
    ],
)
def test_names_of_depths(num_layers, blocks):
    assert config(num_layers=num_layers).blocks == blocks
    assert config(num_layers=num_layers, model="vgg").widths == (64, 128, 256, 512)


def test_an_fnn_has_any_depth():
    fnn = config(model="fnn", num_layers=17, width_layers=50)
    assert (fnn.blocks, fnn.widths) == ((17,), (50,))


def test_sizes_may_be_text_as_flags_give_it():
    found = config(blocks=["3", "12", "0"], widths=["8", "16", "16"])
    assert (found.blocks, found.widths) == ((3, 12, 0), (8, 16, 16))
    assert config(blocks=["1", "2"], width_layers=10).widths == (10, 20)


def test_json_and_back():
    written = config(model="vgg", blocks=(1, 2), widths=(4, 4), steps_per_epoch=3)
    assert BlockNetworkConfig.from_dict(json.loads(json.dumps(written.to_dict()))) == written
    assert "--blocks=1,2\n" in written.flag_lines()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "mlp"}, "--model to be one of fnn, vgg, resnet. Received: mlp"),
        ({"stem": "big"}, "--stem to be one of imagenet, cifar, pooled, deep. Received: big"),
        ({"blocks": (0, 0, 0, 0)}, "at least one block. Received: 0,0,0,0"),
        ({"blocks": (1, -1)}, "--blocks to be integers >= 0, separated by commas. Received: 1,-1"),
        ({"blocks": ["1", "x"]}, "Received: 1,x"),
        ({"widths": (8, -8, 8, 8)}, "--widths to be integers >= 1"),
        ({"widths": (8, 8)}, "as many entries in --widths as in --blocks=2,2,3,2"),
        ({"width_layers": -4}, "--width_layers >= 0. Received: -4"),
        ({"model": "fnn", "num_layers": 0}, "--num_layers >= 1. Received: 0"),
        ({"conflicting_samples_size": -1}, "--conflicting_samples_size >= 0. Received: -1"),
    ],
)
def test_wrong_value(changes, message):
    with pytest.raises(UsageError) as caught:
        config(**changes)
    assert message in str(caught.value)


def test_an_unknown_depth_names_the_known_ones():
    with pytest.raises(UsageError) as caught:
        config(num_layers=42)
    assert "4, 10, 20, 30, 50, 76, 100, 120" in str(caught.value)
    assert str(caught.value).endswith("Received: 42")


@pytest.mark.parametrize("name", ["blocks", "model", "stem", "steps_per_epoch"])
def test_another_network_is_no_resumed_run(name):
    changes = {"blocks": (1, 1, 1, 1), "model": "vgg", "stem": "cifar", "steps_per_epoch": 3}
    later = dataclasses.replace(config(), **{name: changes[name]})
    assert later.settled()[name] != config().settled()[name]


class TestRecipe:
    def test_published(self):
        found = config()
        assert (found.learning_rate, found.batch_size, found.epochs) == (1e-3, 64, 120)
        assert (found.precision, found.stem, found.label_smoothing) == ("float32", "imagenet", 0.0)
        assert type(found.task()._optimizer()).__name__ == "Lookahead"

    def test_fast(self):
        found = config(recipe="fast")
        assert (found.schedule, found.epochs, found.stem) == ("one_cycle", 20, "pooled")
        assert (found.precision, found.augmentation) == ("auto", "fast")
        optimizer = found.task()._optimizer().get_config()
        assert (optimizer["momentum"], optimizer["nesterov"]) == (0.9, True)
        assert optimizer["weight_decay"] == pytest.approx(5e-3)

    @pytest.mark.parametrize("batch_size, rate", [(128, 0.1), (256, 0.2), ("512", 0.4)])
    def test_rate_grows_with_the_batch(self, batch_size, rate):
        found = config(recipe="fast", batch_size=int(batch_size))
        assert found.learning_rate == pytest.approx(rate)

    def test_what_is_given_stays(self):
        asked = {"learning_rate": 0.05, "stem": "cifar", "label_smoothing": 0.0, "epochs": 3}
        found = config(recipe="fast", **asked)
        assert {name: getattr(found, name) for name in asked} == asked
        again = BlockNetworkConfig.from_dict(json.loads(json.dumps(found.to_dict())))
        assert again == found

    @pytest.mark.parametrize(
        "changes, message",
        [
            ({"recipe": "slow"}, "--recipe to be one of paper, fast. Received: slow"),
            ({"label_smoothing": 1.0}, r"--label_smoothing in [0, 1). Received: 1.0"),
            ({"recipe": "fast", "batch_size": 0}, "--batch_size >= 1. Received: 0"),
        ],
        ids=str,
    )
    def test_wrong(self, changes, message):
        with pytest.raises(UsageError, match=re.escape(message)):
            config(**changes)


def test_an_unknown_depth():
    with pytest.raises(UsageError, match=r"among 4, 10, 20, 30, 50, 76, 100, 120\. Received: 7"):
        config(num_layers=7)
