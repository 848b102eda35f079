"""The reconstruction loss against numbers worked out by hand and the float64 reference."""

import keras
import numpy as np

from tests import backend, reference
from tfcaps import losses

# Two images of 1 by 2 pixels and one channel
IMAGES = np.array([[[[0.0], [1.0]]], [[[0.5], [0.5]]]], "float32")
RECONSTRUCTIONS = np.array([[[[0.5], [0.0]]], [[[0.5], [0.25]]]], "float32")
BY_HAND = [0.25 + 1.0, 0.0625]


def test_by_hand():
    loss = losses.ReconstructionLoss()
    actual = backend.numpy(loss(IMAGES, RECONSTRUCTIONS))
    np.testing.assert_allclose(actual, np.mean(BY_HAND), rtol=1e-6)
    each = losses.ReconstructionLoss(reduction=None)(IMAGES, RECONSTRUCTIONS)
    np.testing.assert_allclose(backend.numpy(each), BY_HAND, rtol=1e-6)


def test_random_values_and_gradient():
    rng = np.random.default_rng(0)
    images, reconstructions = rng.uniform(size=(2, 3, 4, 5, 2))
    loss = losses.ReconstructionLoss()

    def scalar(x):
        result = loss(images.astype("float32"), x)
        return result, result

    actual, (gradient,) = backend.gradients(scalar)(reconstructions.astype("float32"))
    expected = reference.reconstruction_loss(images, reconstructions)
    np.testing.assert_allclose(backend.numpy(actual), expected, rtol=1e-5)
    by_hand = 2 * (reconstructions - images) / len(images)
    np.testing.assert_allclose(backend.numpy(gradient), by_hand, rtol=1e-4, atol=1e-6)


def test_half_precision_does_not_overflow():
    """A float16 sum would end at 65504: 300·300 pixels with an error of 1 each are 90000."""
    images = np.zeros((1, 300, 300, 1), "float16")
    actual = losses.ReconstructionLoss()(images, np.ones_like(images))
    np.testing.assert_allclose(backend.numpy(actual), 90000.0, rtol=1e-6)


def test_config_round_trip():
    loss = losses.ReconstructionLoss()
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(copy) is losses.ReconstructionLoss
    assert copy.get_config() == loss.get_config()
