"""Trainings of ordinary image classifiers, the third kind."""

import json

import keras
import numpy as np
import pytest

from tests import runs
from tfcaps import datasets, training
from tfcaps.datasets import ImageDataset, Split
from tfcaps.errors import UsageError
from tfcaps.models import ConvNetwork
from tfcaps.training import ImageClassifierConfig
from tfcaps.training.image_classifiers import _applications

TINY = {
    "filters": (4,),
    "train_examples": 100,
    "validation_fraction": 0.2,
    "batch_size": 32,
    "epochs": 2,
    "learning_rate": 0.01,
}


def config(log_dir, **changes) -> ImageClassifierConfig:
    return ImageClassifierConfig(log_dir=str(log_dir), **{**TINY, **changes})


def test_names_are_those_of_keras():
    """Each is a function that builds a network; without reading Keras' file."""
    found = {
        name
        for name, value in vars(keras.applications).items()
        if callable(value) and name != name.lower()
    }
    assert set(_applications()) == found


def test_what_a_run_leaves(plain_run):
    results = json.loads((plain_run / "results.json").read_text())
    assert 0 <= results["test_accuracy"] <= 1
    assert {path.name for path in (plain_run / "figures").iterdir()} == {
        "confusion_matrix.png",
        "learning_curves.png",
    }
    loaded = training.load_run(plain_run)
    assert loaded.config == runs.plain(plain_run)
    # The network normalises by itself: pixels in [0, 1].
    assert not loaded.preprocessing.standardize
    images = datasets.load("mnist5k").test.images[:4]
    inputs, _ = loaded.preprocessing.evaluate(images)
    np.testing.assert_allclose(inputs, images / 255.0, atol=1e-6)


def test_weights_of_a_file(tmp_path, capsys):
    """A large network's: tests/models/image_networks_test.py."""
    keras.utils.set_random_seed(5)
    source = ConvNetwork((28, 28, 1), 10, filters=(4,))
    source.save_weights(tmp_path / "some.weights.h5")
    changes = {"weights": tmp_path / "some.weights.h5"}
    asked = config(tmp_path / "run", **changes, learning_rate=1e-12, epochs=1, test=False)
    training.train(asked)
    assert f"From {tmp_path / 'some.weights.h5'}: all weights.\n" in capsys.readouterr().out
    found = training.load_run(tmp_path / "run").model
    for one, two in zip(found.trainable_weights, source.trainable_weights, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)
    # The file isn't needed any more.
    (tmp_path / "some.weights.h5").unlink()
    training.train(config(tmp_path / "run", **changes, learning_rate=1e-12, epochs=2, resume=True))


def test_no_such_file_leaves_nothing(tmp_path):
    with pytest.raises(UsageError, match="Expected --weights to be a file"):
        training.train(config(tmp_path / "run", weights=tmp_path / "none.h5"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "mobilenetv2"}, "Expected --model to be one of convnet, lenet, ConvNeXtBase"),
        ({"filters": ()}, "Expected --filters with at least one convolution"),
        ({"filters": (0,)}, "Expected --filters to be integers >= 1"),
    ],
)
def test_wrong_value(changes, message):
    with pytest.raises(UsageError, match=message):
        config("x", **changes)


class TestGivenData:
    """`train(config, data=…)`: what the caller has, of whatever name."""

    @pytest.fixture
    def data(self):
        rng = np.random.default_rng(0)

        def split(size):
            labels = np.arange(size) % 3
            # The class is how bright the image is.
            images = rng.integers(0, 60, (size, 8, 8, 1)) + 90 * labels[:, None, None, None]
            return Split(images.astype(np.uint8), labels.astype(np.int64))

        return ImageDataset("lamps", ("dark", "dim", "bright"), split(90), split(30), split(30))

    def test_it_is_learnt(self, data, tmp_path):
        asked = config(tmp_path / "run", epochs=6, augmentation="none", learning_rate=0.1)
        results = training.train(asked, data)
        assert results["train_examples"] == 90
        assert results["test_accuracy"] > 0.6  # a third by chance
        run = training.load_run(tmp_path / "run")
        assert run.class_names == ("dark", "dim", "bright")
        assert run.config.dataset == "given:lamps"
        # It isn't there to be loaded, and no other set is taken for it.
        with pytest.raises(UsageError, match="given:lamps, which a program gave"):
            run.load_data()
        with pytest.raises(UsageError, match="Expected --dataset=given:lamps, as the run"):
            training.train(config(tmp_path / "run", resume=True, augmentation="none",
                                  learning_rate=0.1))  # fmt: skip
        training.train(
            config(tmp_path / "run", resume=True, epochs=7, augmentation="none",
                   learning_rate=0.1),
            data,
        )  # fmt: skip

    def test_a_known_name_has_its_augmentation(self, data):
        """And is not loaded in place of what was given."""
        task = config("x", dataset="given:cifar10").task()
        assert task.preprocessing.flip
        with pytest.raises(UsageError, match="given:cifar10"):
            task.load()
