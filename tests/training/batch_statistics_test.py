"""Statistics of batch normalisations, beside means that NumPy takes."""

import keras
import numpy as np
import pytest

from tfcaps.models import BlockNetwork
from tfcaps.training import loop
from tfcaps.training.batch_statistics import Recalibration, training_inputs
from tfcaps.training.block_networks import BlockNetworkConfig


def batches():
    numbers = np.random.default_rng(3)
    return [numbers.normal(k, 1 + k, (6, 5, 2)).astype("float32") for k in range(3)]


@pytest.fixture
def model():
    """Its second normalisation sees what the first one leaves, by the batch's own moments."""
    layers = [keras.layers.BatchNormalization(momentum=0.9, epsilon=0.0, name=n) for n in "ab"]
    made = keras.Sequential([keras.Input((5, 2)), layers[0], keras.layers.ReLU(), layers[1]])
    made.set_weights([np.full_like(w, 7.0) for w in made.get_weights()])
    return made


def moments(x):
    return x.mean(axis=(0, 1)), x.var(axis=(0, 1))


def after_the_first(x):
    mean, variance = moments(x)
    return np.maximum(7 * (x - mean) / np.sqrt(variance) + 7, 0)


def test_means_over_batches(model):
    Recalibration(model)(batches())
    seen = [x.astype("float64") for x in batches()]
    for layer, inputs in zip("ab", (seen, [after_the_first(x) for x in seen]), strict=True):
        found = model.get_layer(layer)
        mean, variance = (np.mean(each, axis=0) for each in zip(*map(moments, inputs), strict=True))
        np.testing.assert_allclose(found.moving_mean.numpy(), mean, rtol=1e-5)
        np.testing.assert_allclose(found.moving_variance.numpy(), variance, rtol=1e-4)


def test_nothing_else_changes(model):
    calibrate = Recalibration(model)
    calibrate(batches()[:2])
    first = model.get_weights()
    assert [weight.numpy().tolist() for weight in model.trainable_weights] == [[7.0, 7.0]] * 4
    assert {layer.momentum for layer in model.layers if "momentum" in vars(layer)} == {0.9}
    calibrate(batches()[2:])
    calibrate(batches()[:2])
    for one, two in zip(first, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_inside_blocks_and_in_low_precision():
    network = BlockNetwork(
        (8, 8, 1), 3, blocks=(1, 1), widths=(2, 3), stem="cifar", dtype="mixed_bfloat16"
    )
    before = {v.path: v.numpy() for v in network.non_trainable_variables}
    images = np.random.default_rng(0).normal(size=(20, 8, 8, 1)).astype("float32")
    Recalibration(network)([images])
    changed = {
        v.path for v in network.non_trainable_variables if (v.numpy() != before[v.path]).any()
    }
    assert changed == {path for path in before if "moving_" in path}
    assert len(changed) == 12  # of the stem, two branches with two each, and a shortcut


def test_training_images():
    """All that there are, of so few, as the first epoch has them."""
    config = BlockNetworkConfig(
        log_dir="unused",
        blocks=(1,),
        widths=(2,),
        batch_size=30,
        train_examples=110,
        validation_fraction=0.1,
        precision="float32",
    )
    with loop.surroundings(config):
        task = config.task()
        session = loop.start(task, task.load())
        found = training_inputs(session)
        assert [len(images) for images in found] == [30, 30, 30, 9]
    images = next(
        iter(task.training_batches(session.model, session.data, epochs=range(1), devices=1))
    )
    np.testing.assert_array_equal(found[0], images[0])
