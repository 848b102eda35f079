"""Vector operations of capsule networks that stay finite over the whole range of their dtype."""

import contextlib
import functools

import keras
from keras import ops

EPSILON = 1e-8  # the constant that keeps squash differentiable at zero
SMALLEST_NORMAL = 1.2e-38  # of float32; processors may flush what is smaller to zero


def _in_float32(x):
    """Casts half precision up: a sum of squares leaves the range of float16 from 256 on."""
    x = ops.convert_to_tensor(x)
    half = keras.backend.standardize_dtype(x.dtype) in ("float16", "bfloat16")
    return ops.cast(x, "float32") if half else x


def _scale_out(x, axis, above):
    """Splits x into (x / m, m) where m, the largest magnitude along axis, exceeds `above`.

    Elsewhere m is 1. The results below don't depend on m, so no gradient has to flow through it.
    """
    largest = ops.stop_gradient(ops.max(ops.abs(x), axis=axis, keepdims=True))
    scale = ops.where(largest > above, largest, ops.ones_like(largest))
    return x / scale, scale


def _unit_and_norm(x, axis):
    """(x / ‖x‖, ‖x‖) in at least float32; (x, 0) below the smallest normal number."""
    x = _in_float32(x)
    scaled, scale = _scale_out(x, axis, above=SMALLEST_NORMAL)
    squares = ops.sum(ops.square(scaled), axis=axis, keepdims=True)
    # The scaled vector holds a 1, so its sum of squares is at least 1, but for zero vectors,
    # for which a root of 0 would have no gradient.
    is_zero = squares < 0.5
    root = ops.sqrt(ops.where(is_zero, ops.ones_like(squares), squares))
    norm = ops.where(is_zero, ops.zeros_like(root), scale * root)
    return scaled / root, norm


def squash(s, axis=-1):
    """Shrinks vectors to a length in [0, 1) and keeps their direction.

    `squash(s) = n / (1 + n) · s / √n` with `n = Σ s² + 1e-8` over `axis`. Value and gradient are
    finite for s = 0 and for every finite |s|; half precision is computed in float32.

    Args:
        s: tensor of capsules, shape `(..., E)`.
        axis: the axis that holds one capsule. Default -1.

    Returns:
        Tensor of the shape and dtype of `s`.

    Example:

    >>> import numpy as np
    >>> float(np.round(squash(np.array([[3.0, 4.0]], "float32"))[0, 1], 4))
    0.7692

    Source: Sabour, Frosst, Hinton: Dynamic routing between capsules, arXiv 1710.09829, eq. 1.
    """
    s = ops.convert_to_tensor(s)
    scaled, scale = _scale_out(_in_float32(s), axis, above=1.0)
    # With s = m·y and r = √(Σy² + ε/m²), so √n = m·r:  √n/(1+n)·s = y / (r + 1/(m²·r)).
    inverse_square = ops.square(1.0 / scale)
    r = ops.sqrt(ops.sum(ops.square(scaled), axis=axis, keepdims=True) + EPSILON * inverse_square)
    return ops.cast(scaled / (r + inverse_square / r), s.dtype)


def safe_norm(x, axis=-1, keepdims=False):
    """Euclidean norm without overflow or underflow, with gradient 0 at x = 0.

    `‖x‖ = √(Σ x²)` over `axis`.

    Args:
        x: tensor, shape `(..., E)`.
        axis: the axis to reduce. Default -1.
        keepdims: whether `axis` stays, with size 1. Default False.

    Returns:
        Tensor of shape `(...)` in the dtype of `x`.

    Example:

    >>> import numpy as np
    >>> float(safe_norm(np.array([3e30, 4e30], "float32")) / 1e30)
    5.0
    """
    x = ops.convert_to_tensor(x)
    _, norm = _unit_and_norm(x, axis)
    return ops.cast(norm if keepdims else ops.squeeze(norm, axis), x.dtype)


def unit(x, axis=-1):
    """Unit vector `x / ‖x‖`; the zero vector stays zero.

    Args:
        x: tensor, shape `(..., E)`.
        axis: the axis that holds one vector. Default -1.

    Returns:
        Tensor of the shape and dtype of `x`.

    Example:

    >>> import numpy as np
    >>> [round(float(v), 6) for v in unit(np.array([3e-30, 4e-30], "float32"))]
    [0.6, 0.8]
    """
    x = ops.convert_to_tensor(x)
    return ops.cast(_unit_and_norm(x, axis)[0], x.dtype)


_compilation = {"enabled": True}


def compiled(function):
    """Decorator: fuses a small tensor function into one kernel, with XLA, where that takes a word.

    TensorFlow otherwise runs operation by operation and writes each intermediate result to
    memory. The other backends are left alone: JAX compiles the whole program anyway.
    """
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    fused = tf.function(function, jit_compile=True)

    @functools.wraps(function)
    def call(*args):
        args = tf.nest.map_structure(tf.convert_to_tensor, args)  # variables are read here
        return fused(*args) if _compilation["enabled"] else function(*args)

    return call


@contextlib.contextmanager
def without_compilation():
    """Inside the block `compiled` functions are traced operation by operation.

    An exported graph then runs where XLA is not linked in.
    """
    before = _compilation["enabled"]
    _compilation["enabled"] = False
    try:
        yield
    finally:
        _compilation["enabled"] = before
