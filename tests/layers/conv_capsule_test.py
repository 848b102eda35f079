"""Convolutional capsules against the float64 reference."""

import numpy as np
import pytest

from tests import backend, reference
from tfcaps import layers, routing

INPUTS = np.random.default_rng(0).normal(size=(2, 5, 4, 2, 3)).astype("float32")


def run(layer: layers.ConvCapsule, inputs: np.ndarray) -> list[np.ndarray]:
    layer.build(inputs.shape)
    outputs = backend.forward(lambda x: layer(x, return_coupling=True), layer.variables)(inputs)
    return [backend.numpy(o) for o in outputs]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        *((name, {}) for name in routing.names()),
        ("em", {"kernel_size": 2, "strides": 2}),
        ("sda", {"padding": "valid"}),
        ("em", {"kernel_size": 2, "padding": "valid", "strides": 2}),
        ("sda", {"kernel_size": 1}),
        ("em", {"kernel_size": 1, "strides": 2}),
        ("sda", {"use_bias": False, "strides": 3}),
    ],
    ids=str,
)
def test_value_is_the_formula(name, place):
    """em and sda depend on the activations of a place, the others on its votes alone."""
    layer = layers.ConvCapsule(3, 4, routing=name, **place)
    actual = run(layer, INPUTS)
    arguments = {k: v for k, v in place.items() if k in ("strides", "padding")}
    expected = reference.conv_capsule(
        INPUTS.astype("float64"), name, out_capsules=3, **backend.weights(layer), **arguments
    )
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=0, atol=1e-5)


def test_one_place_and_a_kernel_of_one_is_a_dense_layer_of_shared_weights():
    layer = layers.ConvCapsule(3, 4, kernel_size=1)
    inputs = INPUTS[:, :1, :1]
    capsules, coupling = run(layer, inputs)
    weights = backend.weights(layer)
    matrix = weights["kernel"][0, 0].reshape((3, 3, 4))  # D, O, E
    kernel = np.stack([np.moveaxis(matrix, 0, -1)] * 2, axis=1)  # O, I, E, D
    expected = reference.dense_capsule(
        inputs[:, 0, 0].astype("float64"), "rba", kernel=kernel, bias=weights["bias"]
    )
    np.testing.assert_allclose(capsules[:, 0, 0], expected[0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(coupling[:, 0, 0], expected[1], rtol=0, atol=1e-5)


def test_initial_weights():
    """Kernel N(0, σ²), σ = 8 √(4 / (9·7·16)), shared by all input types; bias 0.1."""
    layer = layers.ConvCapsule(8, 16)
    layer.build((None, 6, 6, 7, 8))
    weights = backend.weights(layer)
    assert weights["kernel"].shape == (3, 3, 8, 8 * 16)
    assert abs(np.mean(weights["kernel"])) < 0.025
    assert np.std(weights["kernel"]) == pytest.approx(8 * np.sqrt(4 / 1008), rel=0.05)
    np.testing.assert_array_equal(weights["bias"], np.full((8, 16), np.float32(0.1)))
