"""Depthwise primary capsules against the float64 reference."""

import numpy as np
import pytest

from tests import backend, reference
from tfcaps import layers


@pytest.mark.parametrize("size", [(9, 9), (3, 5), (1, 1), (7,)], ids=str)
def test_value_is_the_formula(size):
    maps = np.random.default_rng(0).normal(size=(2, *size, 6)).astype("float32")
    layer = layers.DepthwisePrimaryCapsule(capsules=2, dim=3)
    layer.build(maps.shape)
    for weight in layer.weights:  # the bias starts at 0
        weight.assign(weight + 0.1)
    assert backend.weights(layer)["kernel"].shape == (*size, 1, 6)
    actual = backend.forward(layer, layer.variables)(maps)
    weights = backend.weights(layer)
    if len(size) == 1:  # a signal is an image of one row
        maps, weights["kernel"] = maps[:, None], weights["kernel"][None]
    expected = reference.depthwise_primary_capsule(maps, **weights, dim=3)
    np.testing.assert_allclose(backend.numpy(actual), expected, rtol=0, atol=1e-5)


def test_kernel_starts_glorot_uniform():
    """Limit √(6/(81 + 81·128)), as of a convolution of 128 groups, and a bias of 0."""
    layer = layers.DepthwisePrimaryCapsule(16, 8)
    layer.build((None, 9, 9, 128))
    weights = backend.weights(layer)
    limit = np.sqrt(6 / (81 + 81 * 128))
    assert 0.99 * limit < np.max(np.abs(weights["kernel"])) <= limit
    np.testing.assert_array_equal(weights["bias"], 0.0)


@pytest.mark.parametrize("shape", [(9, 9, 100), (9, None, 128), (9, 100), (128,)], ids=str)
def test_bad_input_shape(shape):
    with pytest.raises(ValueError, match=f"Received.*{shape[-1]}"):
        layers.DepthwisePrimaryCapsule(16, 8).build((None, *shape))


@pytest.mark.parametrize(("capsules", "dim", "repeated"), [(0, 8, "0"), (16, 2.5, "2.5")])
def test_bad_size(capsules, dim, repeated):
    with pytest.raises(ValueError, match=f"Received.*{repeated}"):
        layers.DepthwisePrimaryCapsule(capsules, dim)
