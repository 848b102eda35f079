"""Plain blocks against float64 convolutions and normalisations."""

import keras
import numpy as np
import pytest

from tests import backend, reference
from tfcaps.layers.plain_block import PlainBlock

MAPS = np.random.default_rng(0).normal(size=(3, 5, 4, 2)).astype("float32")


def shaken(layer):
    """Builds a layer and gives its weights numbers that no two of them have in common."""
    layer.build((None, *MAPS.shape[1:]))
    rng = np.random.default_rng(1)
    layer.set_weights([rng.uniform(0.2, 1.5, size=w.shape) * _sign(w, rng) for w in layer.weights])
    return layer


def _sign(weight, rng):
    return 1.0 if "variance" in weight.name else rng.choice([-1.0, 1.0], size=weight.shape)


def normalized(x, bn, *, training=False):
    """(x − mean) / √(variance + 0.001) · γ + β per channel."""
    w = backend.weights(bn)
    mean, variance = w["moving_mean"], w["moving_variance"]
    if training:
        mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    return (x - mean) / np.sqrt(variance + 1e-3) * w["gamma"] + w["beta"]


def branch(block, x, *, training=False):
    """Two convolutions with normalisation, and a ReLU between them."""
    kernels = [backend.weights(conv)["kernel"] for conv in (block.conv1, block.conv2)]
    x = reference.convolution(x, kernels[0], strides=block.strides, padding="same")
    x = np.maximum(normalized(x, block.bn1, training=training), 0.0)
    x = reference.convolution(x, kernels[1], padding="same")
    return normalized(x, block.bn2, training=training)


@pytest.mark.parametrize("strides", [1, 2, 3])
def test_value_is_the_formula(strides):
    block = shaken(PlainBlock(3, strides))
    actual = backend.numpy(backend.forward(block, block.variables)(MAPS))
    expected = np.maximum(branch(block, MAPS.astype("float64")), 0.0)
    assert actual.shape == (3, *block.compute_output_shape(MAPS.shape)[1:])
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-4)
    assert 0.2 < np.mean(expected > 0.0) < 0.8


def test_training_uses_the_batch_and_remembers_a_tenth_of_it():
    block = shaken(PlainBlock(3))
    before = backend.weights(block.bn1)
    expected = np.maximum(branch(block, MAPS.astype("float64"), training=True), 0.0)
    actual = backend.numpy(block(MAPS, training=True))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-4)
    kernel = backend.weights(block.conv1)["kernel"]
    maps = reference.convolution(MAPS.astype("float64"), kernel, padding="same")
    after = backend.weights(block.bn1)
    np.testing.assert_allclose(
        after["moving_mean"], 0.9 * before["moving_mean"] + 0.1 * maps.mean((0, 1, 2)), atol=1e-5
    )


def test_weights():
    """No bias; every kernel has numbers of its own, of deviation sqrt(2 / (9·64))."""
    block = PlainBlock(64)
    block.build((None, 5, 5, 64))
    assert sorted(w.path for w in block.trainable_weights) == sorted(
        f"{block.name}/{part}"
        for part in (
            *("conv1/kernel", "bn1/gamma", "bn1/beta"),
            *("conv2/kernel", "bn2/gamma", "bn2/beta"),
        )
    )
    kernels = [backend.weights(conv)["kernel"] for conv in (block.conv1, block.conv2)]
    for kernel in kernels:
        assert np.std(kernel) == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.03)
    assert not np.any(kernels[0] == kernels[1])


def test_multiply_accumulates():
    """A 3×2 map: 3·2·(3·3·2·4 + 3·3·4·4)."""
    block = shaken(PlainBlock(4, strides=2))
    assert block.multiply_accumulates(MAPS.shape[1:]) == 3 * 2 * (72 + 144)


def test_config_round_trip():
    block = PlainBlock(3, 2, keras.initializers.HeUniform(seed=3), name="some_name")
    copy = PlainBlock.from_config(block.get_config())
    assert copy.get_config() == block.get_config()
    assert (copy.filters, copy.strides, copy.name) == (3, 2, "some_name")
    assert isinstance(copy.kernel_initializer, keras.initializers.HeUniform)


@pytest.mark.parametrize("argument", ["filters", "strides"])
@pytest.mark.parametrize("value", [0, -1, 2.5, "many", None], ids=str)
def test_bad_size(argument, value):
    with pytest.raises(ValueError, match=f"{argument}.*Received: .*{value}"):
        PlainBlock(**{"filters": 3, argument: value})


def test_bad_input_shape():
    with pytest.raises(ValueError, match=r"\(B, H, W, C\).*7, 7"):
        PlainBlock(3).build((None, 7, 7))
