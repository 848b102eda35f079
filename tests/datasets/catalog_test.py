import math

import numpy as np
import pytest

from tfcaps import datasets
from tfcaps.datasets import Preprocessing
from tfcaps.errors import UsageError

NAMES = (
    "mnist5k",
    "mnist",
    "fashion_mnist",
    "cifar10",
    "svhn_cropped",
    "smallnorb",
    "imagenette",
)


def _images(split: datasets.Split) -> set[bytes]:
    return {image.tobytes() for image in split.images}


def test_names():
    assert datasets.names() == NAMES
    for name in NAMES:
        assert datasets.preprocessing(name, "none") == Preprocessing()


class TestLoad:
    def test_all_of_it(self):
        dataset = datasets.load("mnist5k")
        assert dataset.name == "mnist5k"
        assert dataset.image_shape == (28, 28, 1)
        assert (len(dataset.train), dataset.validation, len(dataset.test)) == (4000, None, 1000)

    def test_the_validation_part_is_held_out(self):
        everything = datasets.load("mnist5k")
        dataset = datasets.load("mnist5k", validation_fraction=0.1)
        assert np.bincount(dataset.train.labels).tolist() == [360] * 10
        assert np.bincount(dataset.validation.labels).tolist() == [40] * 10
        assert _images(dataset.train) | _images(dataset.validation) == _images(everything.train)
        np.testing.assert_array_equal(dataset.test.images, everything.test.images)

    def test_fewer_training_examples(self):
        small = datasets.load("mnist5k", train_examples=50, seed=3)
        large = datasets.load("mnist5k", train_examples=200, seed=3)
        assert (len(small.train), len(small.test)) == (50, 1000)
        np.testing.assert_array_equal(small.train.images, large.train.images[:50])
        np.testing.assert_array_equal(small.train.labels, large.train.labels[:50])

    def test_the_validation_part_is_taken_out_of_them(self):
        chosen = datasets.load("mnist5k", train_examples=50)
        dataset = datasets.load("mnist5k", train_examples=50, validation_fraction=0.2)
        assert (len(dataset.train), len(dataset.validation)) == (40, 10)
        assert _images(dataset.train) | _images(dataset.validation) == _images(chosen.train)

    def test_the_seed_changes_the_choices_but_not_the_test_set(self):
        first, again, other = (
            datasets.load("mnist5k", train_examples=100, validation_fraction=0.5, seed=seed)
            for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(first.validation.images, again.validation.images)
        assert _images(first.train) != _images(other.train)
        np.testing.assert_array_equal(first.test.images, other.test.images)

    def test_another_size(self):
        dataset = datasets.load("mnist5k", image_size=14, train_examples=10)
        assert dataset.train.images.shape == (10, 14, 14, 1)
        assert dataset.test.images.shape == (1000, 14, 14, 1)

    def test_a_folder_that_is_not_needed_is_not_looked_for(self):
        assert len(datasets.load("mnist5k", data_dir="/no/such/folder").test) == 1000

    @pytest.mark.parametrize("name", ["imagenet", "MNIST", "images", ""])
    def test_an_unknown_name_lists_the_known_ones(self, name):
        known = ", ".join(NAMES)
        with pytest.raises(
            UsageError, match=f"among {known}, images:FOLDER, abstract:TASK. Received: {name}$"
        ):
            datasets.load(name)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"train_examples": 0}, "Expected train_examples >= 1. Received: 0"),
            ({"train_examples": -5}, "Received: -5"),
            ({"train_examples": 4001}, "between 1 and 4000, .* Received: 4001"),
            ({"validation_fraction": 1.0}, r"validation_fraction in \[0, 1\). Received: 1.0"),
            ({"validation_fraction": -0.1}, "Received: -0.1"),
            ({"validation_fraction": math.nan}, "Received: nan"),
            ({"validation_fraction": 1e-5}, "one for validation. Received: 1e-05 of 4000"),
            ({"validation_fraction": 0.99999}, "for training .* Received: 0.99999 of 4000"),
            ({"validation_fraction": 0.5, "train_examples": 1}, "Received: 0.5 of 1"),
            ({"image_size": 0}, "Expected image_size >= 1. Received: 0"),
            ({"image_size": (9, 0)}, r"Expected image_size >= 1. Received: \(9, 0\)"),
            ({"seed": -1}, "Expected a seed between 0 and .* Received: -1"),
            ({"seed": 2**63}, "Received: 9223372036854775808"),
        ],
    )
    def test_arguments_out_of_range(self, arguments, message):
        with pytest.raises(UsageError, match=message):
            datasets.load("mnist5k", **arguments)


class TestPreprocessing:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("mnist5k", {"crop": 24, "standardize": True}),
            ("mnist", {"crop": 24, "standardize": True}),
            ("fashion_mnist", {"crop": 24, "standardize": True, "flip": True}),
            ("svhn_cropped", {"brightness": 0.25}),
            ("smallnorb", {"resize": 28, "crop": 24, "brightness": 0.1}),
            ("cifar10", {"flip": True, "brightness": 0.25}),
            ("imagenette", {"flip": True, "brightness": 0.25}),
            ("images:anywhere", {"standardize": True}),
        ],
    )
    def test_paper(self, name, expected):
        assert datasets.preprocessing(name, "paper") == Preprocessing(**expected)

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("mnist5k", {"shift": 4, "brightness": 0.25}),
            ("mnist", {"shift": 4, "brightness": 0.25}),
            (
                "fashion_mnist",
                {"shift": 4, "flip": True, "brightness": 0.25, "standardize": True},
            ),
            ("svhn_cropped", {"shift": 4, "brightness": 0.25, "standardize": True}),
            ("cifar10", {"shift": 6, "flip": True, "brightness": 0.25, "standardize": True}),
            ("imagenette", {"shift": 10, "flip": True, "brightness": 0.25, "standardize": True}),
            ("images:anywhere", {"shift": 4, "standardize": True}),
        ],
    )
    def test_blocks(self, name, expected):
        assert datasets.preprocessing(name, "blocks") == Preprocessing(**expected)

    @pytest.mark.parametrize(
        ("published", "name"), [("svhn", "svhn_cropped"), ("norb", "smallnorb")]
    )
    def test_published_names(self, published, name):
        expected = datasets.preprocessing(name, "paper")
        assert datasets.preprocessing(published, "paper") == expected

    @pytest.mark.parametrize("name", [*NAMES, "images:anywhere"])
    def test_none_is_the_scale_only(self, name):
        assert datasets.preprocessing(name, "none") == Preprocessing()

    @pytest.mark.parametrize("name", ["mnist5k", "mnist"])
    def test_efficient(self, name):
        expected = Preprocessing(shift=4, rotation=30, squish=0.25, erase=4)
        assert datasets.preprocessing(name, "efficient") == expected

    def test_a_set_that_has_none_of_this_kind(self):
        with pytest.raises(UsageError) as caught:
            datasets.preprocessing("cifar10", "efficient")
        assert str(caught.value) == (
            "Expected --dataset=mnist5k or mnist with --augmentation=efficient. Received: cifar10"
        )

    def test_an_unknown_kind(self):
        with pytest.raises(
            UsageError, match=r"among paper, blocks, fast, efficient, none\. Received: best$"
        ):
            datasets.preprocessing("mnist", "best")

    def test_an_unknown_data_set(self):
        with pytest.raises(UsageError, match=r"Received: emnist$"):
            datasets.preprocessing("emnist", "paper")
