"""Residual blocks against float64 convolutions and normalisations."""

import keras
import numpy as np
import pytest

from tests import backend, reference
from tests.layers.plain_block_test import MAPS, branch, normalized, shaken
from tfcaps.layers.residual_block import ResidualBlock

KEEP = np.array([1.0, 0.0, 0.5], "float32")
# (filters, strides) of blocks on two channels; the first has an identity shortcut
BLOCKS = [(2, 1), (2, 2), (3, 1), (3, 2)]


def shortcut(block, x):
    if block.shortcut_conv is None:
        return x
    kernel = backend.weights(block.shortcut_conv)["kernel"]
    assert kernel.shape[:2] == (1, 1)
    x = reference.convolution(x, kernel, strides=block.strides, padding="same")
    return normalized(x, block.shortcut_bn)


def call(block, x, **arguments):
    function = backend.forward(lambda x: block(x, **arguments), block.variables)
    return keras.tree.map_structure(backend.numpy, function(x))


def assert_close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize(("filters", "strides"), BLOCKS)
def test_value_is_the_formula(filters, strides):
    block = shaken(ResidualBlock(filters, strides))
    assert block.has_identity_shortcut == ((filters, strides) == BLOCKS[0])
    x = MAPS.astype("float64")
    inner, outer = branch(block, x), shortcut(block, x)
    assert_close(call(block, MAPS), np.maximum(outer + inner, 0.0))
    factors = KEEP.astype("float64")[:, None, None, None]
    assert_close(call(block, MAPS, keep=KEEP), np.maximum(outer + factors * inner, 0.0))
    taps = call(block, MAPS, return_taps=True)
    assert list(taps) == ["branch", "output"]
    assert_close(taps["output"], np.maximum(outer + inner, 0.0))
    variances = [backend.weights(bn)["moving_variance"] for bn in (block.bn1, block.bn2)]
    for variance in variances:
        inner = inner / np.sqrt(variance + 1e-6)
    np.testing.assert_allclose(taps["branch"], inner, rtol=1e-4, atol=5e-4)


def test_tap_of_a_removed_branch():
    """The branch is measured as if it were there."""
    block = shaken(ResidualBlock(2))
    removed = call(block, MAPS, keep=np.zeros(3, "float32"), return_taps=True)
    np.testing.assert_array_equal(removed["branch"], call(block, MAPS, return_taps=True)["branch"])
    np.testing.assert_array_equal(removed["output"], np.maximum(MAPS, 0.0))


def test_smallest_variance():
    """Variances of 0 scale the branch by 10³ each: more than float16 can hold."""
    block = shaken(ResidualBlock(2, dtype="mixed_float16"))
    for bn in (block.bn1, block.bn2):
        bn.moving_variance.assign(np.zeros(2))
    taps = block(MAPS, return_taps=True)
    assert keras.backend.standardize_dtype(taps["branch"].dtype) == "float32"
    assert keras.backend.standardize_dtype(taps["output"].dtype) == "float16"
    values = backend.numpy(taps["branch"])
    assert np.all(np.isfinite(values))
    assert np.max(np.abs(values)) > 1e5


@pytest.mark.parametrize(("filters", "strides"), BLOCKS)
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_symbolic_outputs(filters, strides, dtype):
    block = ResidualBlock(filters, strides, dtype=dtype)
    symbolic = block(keras.Input((5, 4, 2)), return_taps=True)
    actual = block(MAPS, return_taps=True)
    for name, tensor in actual.items():
        assert tuple(symbolic[name].shape) == (None, *tensor.shape[1:])
        assert symbolic[name].dtype == keras.backend.standardize_dtype(tensor.dtype)


def test_multiply_accumulates():
    """A 3×2 map: the two convolutions, and 3·2·(1·1·2·4) of the shortcut."""
    block = shaken(ResidualBlock(4, strides=2))
    assert block.multiply_accumulates(MAPS.shape[1:]) == 3 * 2 * (72 + 144 + 8)


def test_gradient_reaches_everything():
    block = shaken(ResidualBlock(3))
    derivative = backend.gradients(
        lambda x: (keras.ops.sum(keras.ops.square(block(x))), x), block.trainable_variables
    )
    _, gradients = derivative(MAPS)
    assert len(gradients) == 1 + 9
    for gradient in gradients:
        assert np.all(np.isfinite(backend.numpy(gradient)))
        assert np.any(backend.numpy(gradient) != 0.0)


def test_config_round_trip():
    block = ResidualBlock(3, 2, name="some_name")
    assert ResidualBlock.from_config(block.get_config()).get_config() == block.get_config()
