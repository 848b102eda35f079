"""Primary capsules against the float64 reference."""

import numpy as np
import pytest

from tests import backend, reference
from tfcaps import layers


@pytest.mark.parametrize(
    ("shape", "kernel_size", "strides"),
    [((7, 6, 3), 3, 2), ((5, 5, 1), 2, 1)],
    ids=["colour", "gray"],
)
def test_value_is_the_formula(shape, kernel_size, strides):
    images = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    layer = layers.PrimaryCapsule(3, 4, kernel_size, strides)
    layer.build(images.shape)
    for weight in layer.weights:  # the convolution's bias starts at 0
        weight.assign(weight + 0.1)
    actual = backend.forward(layer, layer.variables)(images)
    expected = reference.primary_capsule(images, **backend.weights(layer), dim=4, strides=strides)
    np.testing.assert_allclose(backend.numpy(actual), expected, rtol=0, atol=1e-5)


def test_signals():
    """The convolution written out, for signals of any length."""
    signals = np.random.default_rng(0).normal(size=(2, 9, 3)).astype("float32")
    layer = layers.PrimaryCapsule(2, 4, kernel_size=3, strides=2)
    layer.build((None, None, 3))
    actual = backend.numpy(backend.forward(layer, layer.variables)(signals))
    weights = backend.weights(layer)
    assert weights["kernel"].shape == (3, 3, 8)
    windows = np.stack([signals[:, start : start + 3] for start in (0, 2, 4, 6)], axis=1)
    channels = np.einsum("btkc,kcf->btf", windows, weights["kernel"]) + weights["bias"]
    expected = reference.squash(channels.reshape(2, 4 * 2, 4))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)
    assert layer.compute_output_shape((None, None, 3)) == (None, None, 4)
    assert layer.compute_output_shape((None, 9, 3)) == (None, 8, 4)


def test_defaults():
    layer = layers.PrimaryCapsule(32, 8)
    assert tuple(layer.compute_output_shape((None, 20, 18, 256))) == (None, 6 * 5 * 32, 8)
    assert (layer.kernel_size, layer.strides) == (9, 2)


def test_kernel_starts_he_normal():
    """Deviation sqrt(2 / (fan in)), with a fan in of 5·5·2, and a bias of 0."""
    layer = layers.PrimaryCapsule(32, 8, kernel_size=5)
    layer.build((None, 9, 9, 2))
    weights = backend.weights(layer)
    assert np.std(weights["kernel"]) == pytest.approx(np.sqrt(2 / 50), rel=0.05)
    np.testing.assert_array_equal(weights["bias"], 0.0)
