import numpy as np
import pytest
import tensorflow as tf

from tfcaps.datasets import Preprocessing, Split, evaluation_batches, training_batches
from tfcaps.errors import UsageError

AUGMENTED = Preprocessing(crop=6, flip=True, brightness=0.2, standardize=True)


def _split(size: int = 10) -> Split:
    """Random images; a label is the image's index."""
    images = np.random.default_rng(0).integers(0, 256, (size, 8, 9, 3), dtype=np.uint8)
    return Split(images, np.arange(size))


def _train(
    epochs: range, *, seed: int = 0, batch_size: int = 4, split: Split | None = None, **arguments
):
    batches = training_batches(
        split or _split(), AUGMENTED, batch_size=batch_size, seed=seed, epochs=epochs, **arguments
    )
    return list(batches.as_numpy_iterator())


def _labels(batches: list[dict]) -> list[int]:
    return [int(label) for batch in batches for label in batch["label"]]


def _assert_equal(first: list[dict], second: list[dict]) -> None:
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        for key in ("image", "original", "label"):
            np.testing.assert_array_equal(one[key], other[key])


class TestTraining:
    def test_an_epoch_has_every_example_once(self):
        batches = _train(range(3))
        assert [len(batch["label"]) for batch in batches] == [4, 4, 2] * 3
        for epoch in range(3):
            assert sorted(_labels(batches[3 * epoch : 3 * epoch + 3])) == list(range(10))

    def test_epochs_have_their_own_order(self):
        batches = _train(range(3), batch_size=10)
        orders = [tuple(batch["label"]) for batch in batches]
        assert len({*orders, tuple(range(10))}) == 4

    def test_epochs_have_their_own_augmentation(self):
        first, second = (
            batch["original"][np.argsort(batch["label"])]
            for batch in _train(range(2), batch_size=10)
        )
        differs = (first != second).any(axis=(1, 2, 3))
        assert differs.all()

    def test_examples_of_an_epoch_have_their_own_augmentation(self):
        same = Split(np.full((20, 8, 9, 3), 128, np.uint8), np.arange(20))
        (batch,) = _train(range(1), batch_size=20, split=same)
        assert len(np.unique(batch["original"][:, 0, 0, 0])) == 20

    def test_the_seed_repeats_a_run(self):
        _assert_equal(_train(range(2), seed=5), _train(range(2), seed=5))

    def test_another_seed_gives_another_run(self):
        first, second = (_train(range(1), seed=seed, batch_size=10)[0] for seed in (5, 6))
        assert not np.array_equal(first["label"], second["label"])
        by_label = [b["original"][np.argsort(b["label"])] for b in (first, second)]
        assert (by_label[0] != by_label[1]).any(axis=(1, 2, 3)).all()

    def test_a_later_start_sees_what_the_whole_run_sees(self):
        _assert_equal(_train(range(3, 5)), _train(range(5))[9:])

    def test_the_batch_size_changes_only_the_batches(self):
        small, large = _train(range(2), batch_size=3), _train(range(2), batch_size=7)
        assert _labels(small) == _labels(large)
        for key in ("image", "original"):
            np.testing.assert_array_equal(
                np.concatenate([batch[key] for batch in small]),
                np.concatenate([batch[key] for batch in large]),
            )

    def test_images_are_augmented_as_their_labels_say(self):
        split = _split()
        crops = Preprocessing(crop=6)
        (batch,) = training_batches(split, crops, batch_size=10, seed=0, epochs=range(1))
        for original, label in zip(batch["original"].numpy(), batch["label"].numpy(), strict=True):
            image = split.images[label] / 255
            windows = [image[y : y + 6, x : x + 6] for y in range(3) for x in range(4)]
            assert any(np.allclose(original, window) for window in windows)

    def test_the_elements_shapes_are_known(self):
        batches = training_batches(_split(), AUGMENTED, batch_size=4, seed=0, epochs=range(2))
        assert batches.element_spec == {
            "image": tf.TensorSpec((None, 6, 6, 3), tf.float32),
            "original": tf.TensorSpec((None, 6, 6, 3), tf.float32),
            "label": tf.TensorSpec((None,), tf.int64),
        }
        assert len(batches) == 6

    def test_short_epochs_are_the_beginnings_of_whole_ones(self):
        # Three batches of 4, 4 and 2 are an epoch.
        whole = _train(range(3))
        _assert_equal(_train(range(3), steps_per_epoch=1), whole[::3])
        _assert_equal(_train(range(1, 3), steps_per_epoch=2), [*whole[3:5], *whole[6:8]])
        _assert_equal(_train(range(3), steps_per_epoch=4), whole)

    def test_an_epoch_without_steps(self):
        with pytest.raises(UsageError, match=r"steps_per_epoch >= 1\. Received: 0"):
            _train(range(1), steps_per_epoch=0)

    def test_no_epochs_are_no_batches(self):
        assert _train(range(4, 4)) == []

    def test_the_largest_seed(self):
        _assert_equal(_train(range(1), seed=2**63 - 1), _train(range(1), seed=2**63 - 1))


class TestEvaluation:
    def test_every_example_in_order(self):
        split = _split()
        batches = list(evaluation_batches(split, AUGMENTED, batch_size=4).as_numpy_iterator())
        assert [len(batch["label"]) for batch in batches] == [4, 4, 2]
        assert _labels(batches) == list(range(10))
        expected = split.images[:, 1:7, 1:7] / 255
        originals = np.concatenate([batch["original"] for batch in batches])
        np.testing.assert_allclose(originals, expected, rtol=1e-6)

    def test_the_network_sees_what_a_served_model_computes(self):
        split = _split()
        (batch,) = evaluation_batches(split, AUGMENTED, batch_size=10).as_numpy_iterator()
        x, _ = AUGMENTED.evaluate(split.images)
        np.testing.assert_allclose(batch["image"], x, atol=1e-5)

    def test_the_elements_are_those_of_the_training(self):
        split = _split()
        training = training_batches(split, AUGMENTED, batch_size=4, seed=0, epochs=range(1))
        evaluation = evaluation_batches(split, AUGMENTED, batch_size=4)
        assert evaluation.element_spec == training.element_spec
        assert len(evaluation) == 3


@pytest.mark.parametrize("start", ["training", "evaluation"])
class TestBadInput:
    def _start(self, start: str, split: Split, preprocessing: Preprocessing, batch_size: int):
        if start == "evaluation":
            return evaluation_batches(split, preprocessing, batch_size=batch_size)
        return training_batches(
            split, preprocessing, batch_size=batch_size, seed=0, epochs=range(1)
        )

    @pytest.mark.parametrize("batch_size", [0, -4])
    def test_batch_size(self, start, batch_size):
        with pytest.raises(UsageError, match=f"Expected batch_size >= 1. Received: {batch_size}"):
            self._start(start, _split(), AUGMENTED, batch_size)

    def test_images_smaller_than_the_crop(self, start):
        with pytest.raises(UsageError, match=r"at least 9x9 pixels, .* Received: 8x9$"):
            self._start(start, _split(), Preprocessing(crop=9), 4)

    def test_data_is_not_sharded_by_files(self, start):
        options = self._start(start, _split(), AUGMENTED, 4).options()
        policy = options.experimental_distribute.auto_shard_policy
        assert policy == tf.data.experimental.AutoShardPolicy.OFF
