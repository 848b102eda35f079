"""Batches as `fit` and `evaluate` take them."""

import numpy as np
import pytest
import tensorflow as tf

from tests import runs

SHAPE = (17, 17, 1)


@pytest.fixture
def batches():
    rng = np.random.default_rng(0)
    examples = {
        "image": rng.normal(size=(3, *SHAPE)).astype("float32"),
        "original": rng.uniform(size=(3, *SHAPE)).astype("float32"),
        "label": np.array([2, 0, 9], dtype="int64"),
    }
    return examples, tf.data.Dataset.from_tensor_slices(examples).batch(2)


def converted(batches, *, training, **changes):
    task = runs.config("x", **changes).task()
    model = task.network(SHAPE, 10)
    return list(task.as_inputs_and_targets(batches, model, 10, training=training))


@pytest.mark.parametrize("training", [True, False])
def test_images_and_one_hot_labels(batches, training):
    examples, batches = batches
    (images, targets), (last_images, last_targets) = converted(batches, training=training)
    np.testing.assert_array_equal(images, examples["image"][:2])
    np.testing.assert_array_equal(last_images, examples["image"][2:])
    assert list(targets) == ["lengths"]
    np.testing.assert_array_equal(targets["lengths"], np.eye(10)[[2, 0]])
    np.testing.assert_array_equal(last_targets["lengths"], np.eye(10)[[9]])


def test_the_decoder_is_to_draw_the_original(batches):
    examples, batches = batches
    _, targets = converted(batches, training=True, use_reconstruction=True)[0]
    np.testing.assert_array_equal(targets["reconstruction"], examples["original"][:2])


@pytest.mark.parametrize("training", [True, False])
def test_labels_are_an_input_in_training_only(batches, training):
    examples, batches = batches
    inputs, targets = converted(batches, training=training, use_reconstruction=True, mask="label")[
        0
    ]
    np.testing.assert_array_equal(inputs["image"], examples["image"][:2])
    expected = np.eye(10)[[2, 0]] if training else np.zeros((2, 10))
    np.testing.assert_array_equal(inputs["label"], expected)
    np.testing.assert_array_equal(targets["lengths"], np.eye(10)[[2, 0]])
