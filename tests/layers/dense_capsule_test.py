"""Dense capsules against the float64 reference."""

import keras
import numpy as np
import pytest

from tests import backend, reference
from tfcaps import layers, routing

INPUTS = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")


def run(layer: layers.DenseCapsule, inputs: np.ndarray) -> list[np.ndarray]:
    layer.build(inputs.shape)
    outputs = backend.forward(lambda x: layer(x, return_coupling=True), layer.variables)(inputs)
    return [backend.numpy(o) for o in outputs]


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("name", routing.names())
def test_value_is_the_formula(name, use_bias):
    layer = layers.DenseCapsule(5, 6, routing=name, use_bias=use_bias)
    actual = run(layer, INPUTS)
    weights = backend.weights(layer)
    assert ("bias" in weights) == use_bias
    expected = reference.dense_capsule(INPUTS.astype("float64"), name, **weights)
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=0, atol=1e-5)


def test_maps_of_capsules_are_flattened():
    layer = layers.DenseCapsule(3, 5)
    flat = run(layer, INPUTS)
    maps = backend.forward(layer, layer.variables)(INPUTS.reshape((2, 2, 1, 2, 3)))
    np.testing.assert_allclose(backend.numpy(maps), flat[0], rtol=0, atol=1e-7)


def test_initial_weights():
    """Kernel N(0, σ²), σ = 10 √(4 / (20·16)); bias 0.1."""
    layer = layers.DenseCapsule(10, 16)
    layer.build((None, 20, 8))
    weights = backend.weights(layer)
    assert weights["kernel"].shape == (10, 20, 16, 8)
    assert abs(np.mean(weights["kernel"])) < 0.03
    assert np.std(weights["kernel"]) == pytest.approx(10 * np.sqrt(4 / 320), rel=0.03)
    np.testing.assert_array_equal(weights["bias"], np.full((10, 16), np.float32(0.1)))


def test_initialisers():
    layer = layers.DenseCapsule(2, 3, kernel_initializer="ones", bias_initializer="zeros")
    layer.build((None, 4, 3))
    np.testing.assert_array_equal(backend.weights(layer)["kernel"], 1.0)
    np.testing.assert_array_equal(backend.weights(layer)["bias"], 0.0)
    config = layer.get_config()
    copy = layers.DenseCapsule.from_config(config)
    assert isinstance(copy.kernel_initializer, keras.initializers.Ones)


@pytest.mark.parametrize(
    "identifier",
    [{"name": "em", "iterations": 4}, routing.EMRouting(iterations=4)],
    ids=["dict", "instance"],
)
def test_routing_as_dict_or_instance(identifier):
    layer = layers.DenseCapsule(2, 3, routing=identifier)
    copy = layers.DenseCapsule.from_config(layer.get_config())
    for each in (layer, copy):
        assert isinstance(each.routing, routing.EMRouting)
        assert each.routing.iterations == 4
