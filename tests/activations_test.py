"""Activations of this package in layers of Keras: the formula, and a saved network."""

import keras
import numpy as np
import pytest

from tests import reference
from tfcaps import activations

VECTORS = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")


@pytest.mark.parametrize("name", ["squash", "exponential_squash"])
def test_in_a_saved_network(name, tmp_path):
    function = getattr(activations, name)
    layer = keras.layers.Dense(5, activation=function, use_bias=False)
    model = keras.Sequential([keras.Input((3,)), layer])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[0].activation is function
    expected = getattr(reference, name)(VECTORS @ keras.ops.convert_to_numpy(layer.kernel))
    np.testing.assert_allclose(loaded(VECTORS), expected, rtol=1e-4, atol=1e-6)
    assert keras.activations.get(keras.activations.serialize(function)) is function
