"""squash and safe_norm over the whole range of every float type."""

import keras
import ml_dtypes
import numpy as np
import pytest

from tests import backend, reference
from tfcaps import ops

DTYPES = {
    "float32": np.finfo(np.float32),
    "float16": np.finfo(np.float16),
    "bfloat16": ml_dtypes.finfo(ml_dtypes.bfloat16),
}
WEIGHTS = np.array([0.5, -1.0, 2.0, 0.25])  # exact in every type

# As multiples of the largest number of the type, and as plain numbers
HUGE_VECTORS = [(1, 0, 0, 0), (0.5, 0.5, 0.25, 0.25), (-0.5, 0.25, 1e-4, 0), (1e-3, 0, 0, -1e-3)]
VECTORS = [
    (0, 0, 0, 0),
    (1e-20, 0, 0, 0),
    (3e-20, 4e-20, 0, -1e-20),
    (1e-4, 0, -1e-4, 0),
    (0.3, -0.4, 0.5, 0.1),
    (3, 4, 0, -12),
    (200, 300, 400, -500),
]


def vectors(dtype: str) -> np.ndarray:
    """All of the above, in float64, but exactly those that the type can hold."""
    largest = float(DTYPES[dtype].max)
    smallest = float(DTYPES[dtype].smallest_normal)
    every = [*VECTORS, *np.multiply(HUGE_VECTORS, largest), (100 * smallest, 0, 0, 0)]
    return backend.numpy(keras.ops.cast(keras.ops.convert_to_tensor(every, "float32"), dtype))


def value_and_gradient(function, x: np.ndarray, dtype: str, weights: np.ndarray):
    def scalar(x):
        value = function(x)
        return keras.ops.sum(value * keras.ops.cast(weights, dtype)), value

    x = keras.ops.cast(keras.ops.convert_to_tensor(x, "float32"), dtype)
    value, (gradient,) = backend.gradients(scalar)(x)
    assert keras.backend.standardize_dtype(value.dtype) == dtype
    return backend.numpy(value), backend.numpy(gradient)


def squash_gradient(s: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """With f(n) = √n/(1+n): the Jacobian is f·I + 2 f'(n)·s sᵀ, symmetric."""
    n = np.sum(np.square(s), axis=-1, keepdims=True) + reference.EPSILON
    f = np.sqrt(n) / (1 + n)
    derivative = (1 - n) / (2 * np.sqrt(n) * (1 + n) ** 2)
    return f * weights + 2 * derivative * s * np.sum(s * weights, axis=-1, keepdims=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_squash_over_the_whole_range(dtype):
    info = DTYPES[dtype]
    x = vectors(dtype)
    value, gradient = value_and_gradient(ops.squash, x, dtype, WEIGHTS)
    tolerances = {"rtol": 4 * float(info.eps), "atol": float(info.smallest_normal)}
    np.testing.assert_allclose(value, reference.squash(x), **tolerances)
    # The terms of the gradient cancel to a part of their size, at most the weights' sum.
    expected = squash_gradient(x, WEIGHTS)
    scale = np.max(np.abs(expected), axis=-1, keepdims=True)
    allowed = 8 * float(info.eps) * scale + 10 * float(info.smallest_normal)
    assert np.all(np.abs(gradient - expected) <= allowed)


@pytest.mark.parametrize("dtype", DTYPES)
def test_squash_of_the_largest_is_the_unit_vector(dtype):
    """Every entry the largest number: the norm itself isn't representable, its squash is."""
    x = np.full((1, 4), float(DTYPES[dtype].max))
    value, gradient = value_and_gradient(ops.squash, x, dtype, WEIGHTS)
    np.testing.assert_allclose(value, 0.5, rtol=2 * float(DTYPES[dtype].eps))
    assert np.all(np.isfinite(gradient))
    assert np.max(np.abs(gradient)) < 1e-3


def test_squash_by_hand():
    """|s| = 5: 25/26 of the unit vector (0.6, 0.8)."""
    value = backend.numpy(ops.squash(np.array([[3.0, 4.0]], "float32")))
    np.testing.assert_allclose(value, [[0.6 * 25 / 26, 0.8 * 25 / 26]], rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_safe_norm_over_the_whole_range(dtype):
    info = DTYPES[dtype]
    x = vectors(dtype)
    weights = np.resize(WEIGHTS, len(x))
    value, gradient = value_and_gradient(ops.safe_norm, x, dtype, weights)
    expected = reference.lengths(x)
    np.testing.assert_allclose(value, expected, rtol=4 * float(info.eps))
    direction = np.divide(x, expected[:, None], out=np.zeros_like(x), where=expected[:, None] > 0)
    np.testing.assert_allclose(
        gradient, weights[:, None] * direction, rtol=0, atol=8 * float(info.eps)
    )


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_axis(axis, keepdims):
    x = np.random.default_rng(0).normal(size=(3, 4, 2))
    single = x.astype("float32")
    np.testing.assert_allclose(
        backend.numpy(ops.safe_norm(single, axis=axis, keepdims=keepdims)),
        np.linalg.norm(x, axis=axis, keepdims=keepdims),
        rtol=1e-6,
    )
    expected = np.moveaxis(reference.squash(np.moveaxis(x, axis, -1)), -1, axis)
    np.testing.assert_allclose(backend.numpy(ops.squash(single, axis=axis)), expected, rtol=1e-5)


def test_squash_is_odd():
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    np.testing.assert_array_equal(backend.numpy(ops.squash(-x)), -backend.numpy(ops.squash(x)))


@pytest.mark.parametrize("function", [ops.squash, ops.safe_norm], ids=["squash", "safe_norm"])
@pytest.mark.parametrize("compiler", backend.compilers().values(), ids=backend.compilers())
def test_compiled_equals_eager(function, compiler):
    x = vectors("float32").astype("float32")
    weights = np.ones(4) if function is ops.squash else np.ones(len(x))

    derivative = backend.gradients(lambda x: (keras.ops.sum(function(x) * weights), function(x)))
    eager, (eager_gradient,) = derivative(x)
    value, (compiled_gradient,) = compiler(derivative)(x)
    np.testing.assert_allclose(backend.numpy(value), backend.numpy(eager), rtol=1e-6, atol=1e-37)
    np.testing.assert_allclose(
        backend.numpy(compiled_gradient), backend.numpy(eager_gradient), rtol=1e-5, atol=1e-37
    )


def test_many_batches():
    """All are as the network has them; the ninth of a shape and those behind it share a graph."""
    calls = []

    class Counted(keras.layers.Layer):
        def call(self, inputs, training=None):
            calls.append(training)
            return {"double": 2.0 * inputs["x"]}

    call = ops.for_many_batches(Counted())
    for number, size in enumerate([*[4] * 11, 3, 4]):
        values = np.full((size, 2), number, "float32")
        found = backend.numpy(call({"x": values})["double"])
        np.testing.assert_array_equal(found, 2.0 * values)
    # Eight directly, the graph's one, and the one of another shape.
    assert calls == [False] * (13 if backend.IS_JAX else 10)
