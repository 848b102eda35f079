"""Vector operations of capsule networks that stay finite over the whole range of their dtype."""

import collections
import contextlib
import functools

import keras
import wrapt
from keras import ops

EPSILON = 1e-8  # the constant that keeps squash differentiable at zero
TINY, HUGE = 2.0**-50, 2.0**56  # between them, squares are well inside the range of float32
HUGE_FACTOR, TINY_FACTOR = 2.0**-100, 2.0**70
SMALLEST_NORMAL = 1.2e-38  # of float32; processors may flush what is smaller to zero
# Below this length the exact quotient of two tiny numbers gives way to its series.
_SHORT = 1e-3


def _in_float32(x):
    """Casts half precision up: a sum of squares leaves the range of float16 from 256 on."""
    x = ops.convert_to_tensor(x)
    half = keras.backend.standardize_dtype(x.dtype) in ("float16", "bfloat16")
    return ops.cast(x, "float32") if half else x


def _range_factor(x, axis, small=1.0):
    """A power of two for each vector, by which x can be multiplied so that x² stays in range.

    It is 1 for ordinary vectors, HUGE_FACTOR for huge ones and `small` for tiny ones. A constant,
    not the largest element: compilers rearrange divisions by a variable into products that leave
    the range again.
    """
    # From 0 on: of no vectors at all Keras takes no maximum otherwise.
    largest = ops.stop_gradient(ops.max(ops.abs(x), axis=axis, keepdims=True, initial=0.0))
    one = ops.ones_like(largest)
    factor = ops.where(largest > HUGE, HUGE_FACTOR * one, one)
    return ops.where(largest < TINY, small * one, factor)


def _unit_and_norm(x, axis):
    """(x / ‖x‖, ‖x‖) in at least float32; (x, 0) below the smallest normal number."""
    x = _in_float32(x)
    factor = _range_factor(x, axis, small=TINY_FACTOR)
    scaled = x * factor
    squares = ops.sum(ops.square(scaled), axis=axis, keepdims=True)
    # A root of 0 has no gradient.
    is_zero = squares < SMALLEST_NORMAL
    root = ops.sqrt(ops.where(is_zero, ops.ones_like(squares), squares))
    norm = ops.where(is_zero, ops.zeros_like(root), root * (1.0 / factor))
    return scaled / root, norm


@keras.saving.register_keras_serializable(package="tfcaps")
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
    >>> round(float(squash(np.array([[3.0, 4.0]], "float32"))[0, 1]), 4)
    0.7692

    Source: Sabour, Frosst, Hinton: Dynamic routing between capsules, arXiv 1710.09829, eq. 1.
    """
    s = ops.convert_to_tensor(s)
    x = _in_float32(s)
    factor = _range_factor(x, axis)
    scaled = x * factor
    # With y = f·s and r² = Σy² + εf², so that n = r²/f²:  √n/(1+n)·s = y·r / (f² + r²).
    f2 = ops.square(factor)
    r2 = ops.sum(ops.square(scaled), axis=axis, keepdims=True) + EPSILON * f2
    return ops.cast(scaled * (ops.sqrt(r2) / (f2 + r2)), s.dtype)


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


@keras.saving.register_keras_serializable(package="tfcaps")
def exponential_squash(s):
    """Shrinks vectors to a length in [0, 1), and short ones hardly at all.

    `(1 − e^{−‖s‖}) s/‖s‖` over the last axis; s itself in the limit of short vectors, where
    `squash` has no gradient left. Value and gradient are finite for every finite |s|;
    half precision is computed in float32.

    Args:
        s: tensor of capsules, shape `(..., E)`.

    Returns:
        Tensor of the shape and dtype of `s`.

    Example:

    >>> import numpy as np
    >>> round(float(exponential_squash(np.array([[3.0, 4.0]], "float32"))[0, 1]), 4)
    0.7946

    Source: Mazzia, Salvetti, Chiaberge: Efficient-CapsNet, arXiv 2101.12491.
    """
    s = ops.convert_to_tensor(s)
    x = _in_float32(s)
    norm = safe_norm(x, keepdims=True)
    short = ops.minimum(norm, _SHORT)
    near_zero = x * (1.0 - short / 2.0 + ops.square(short) / 6.0)
    # 1 − exp(−n) = 2t / (1 + t) with t = tanh(n/2), as ONNX has no expm1.
    half = ops.tanh(norm / 2.0)
    length = 2.0 * half / (1.0 + half)
    return ops.cast(ops.where(norm < _SHORT, near_zero, length * unit(x)), s.dtype)


def is_empty(inputs):
    """Whether a batch, a tensor or a nest of tensors, is known to have no sample."""
    return any(_has_no_sample(tensor) for tensor in keras.tree.flatten(inputs))


def _has_no_sample(tensor):
    shape = getattr(tensor, "shape", ())
    # TensorFlow may not even know the rank.
    return getattr(shape, "rank", 0) is not None and tuple(shape)[:1] == (0,)


def for_any_batch(function, inputs):
    """`function(inputs)`, also where oneDNN fails: its convolution leaves an empty batch as it is.

    A batch that is known to be empty becomes one sample of zeros, which all results lose again.

    Args:
        function: from a batch to a tensor or a nest of tensors, each of them a batch.
        inputs: a tensor or a nest of tensors.
    """
    if not is_empty(inputs):
        return function(inputs)
    sample = keras.tree.map_structure(
        lambda tensor: ops.zeros((1, *tensor.shape[1:]), tensor.dtype), inputs
    )
    return keras.tree.map_structure(lambda tensor: tensor[:0], function(sample))


def for_batches_of_unknown_size(function, inputs):
    """As `for_any_batch`, in a graph of TensorFlow, too, whose batches may turn out to be empty.

    Such a batch gets one sample more. All others are copied, which maps inside of a network are too
    large for, and its images aren't. Exported graphs do without: their runtimes don't fail.

    Args:
        function: see `for_any_batch`.
        inputs: see `for_any_batch`.
    """
    if not (is_compilation_enabled() and _are_of_unknown_size(inputs)):
        return for_any_batch(function, inputs)
    import tensorflow as tf

    count = tf.shape(keras.tree.flatten(inputs)[0])[0]
    missing = tf.cast(count == 0, count.dtype)

    def filled(tensor):
        shape = tf.concat([[missing], tf.shape(tensor)[1:]], axis=0)
        return tf.concat([tensor, tf.zeros(shape, tensor.dtype)], axis=0)

    outputs = function(keras.tree.map_structure(filled, inputs))
    return keras.tree.map_structure(lambda tensor: tensor[:count], outputs)


def _are_of_unknown_size(inputs):
    """Whether these are tensors in a graph of TensorFlow that is for batches of several sizes."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return all(
        tf.is_tensor(tensor) and tensor.shape.rank and tensor.shape[0] is None
        for tensor in keras.tree.flatten(inputs)
    )


def outside_of_graphs():
    """A block in which TensorFlow runs at once, though a graph is being traced around it."""
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    import tensorflow as tf

    return tf.init_scope()


_compilation = {"enabled": True}


def compiled(function):
    """Decorator: fuses a small tensor function into one kernel, with XLA, where that takes a word.

    TensorFlow otherwise runs operation by operation and writes each intermediate result to
    memory. The other backends are left alone: JAX compiles the whole program anyway.
    """
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    _leave_out_of_exports()
    # Nothing here branches on a tensor, and a look for that takes a tenth of a second a function.
    fused = tf.function(function, jit_compile=True, autograph=False)

    @functools.wraps(function)
    def call(*args):
        args = tf.nest.map_structure(tf.convert_to_tensor, args)  # variables are read here
        return fused(*args) if is_compilation_enabled() else function(*args)

    return call


# Tracing a graph takes as long as a few calls to a dozen do: what is called less often is better
# off without one.
_CALLS_WITHOUT_GRAPH = 8


def for_many_batches(network):
    """The network at inference, for batches most of which are shaped alike.

    With TensorFlow a graph computes the ninth batch of a shape, and those behind it: faster than
    operation by operation, once it is there. It ends with the function, so that a network may be
    changed between two of them.

    Args:
        network: a Keras model.

    Returns:
        A function of the network's inputs that gives its outputs.
    """

    def directly(inputs):
        return network(inputs, training=False)

    if keras.backend.backend() != "tensorflow":
        return directly
    import tensorflow as tf

    graph = tf.function(directly, autograph=False)
    counts: collections.Counter = collections.Counter()

    def call(inputs):
        shapes = tuple(tuple(tensor.shape) for tensor in keras.tree.flatten(inputs))
        counts[shapes] += 1
        return (graph if counts[shapes] > _CALLS_WITHOUT_GRAPH else directly)(inputs)

    return call


def is_compilation_enabled():
    """Whether we are not inside `without_compilation`, as where a graph is exported."""
    return _compilation["enabled"]


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


@functools.cache
def _leave_out_of_exports():
    """Has Keras trace what it exports without compilation, once there is something compiled.

    All of Keras' exports (SavedModel, ONNX, LiteRT) put a network into an `ExportArchive`. That is
    the one place that holds for networks that a user builds from our layers, too.
    """
    archive = type(keras.export.ExportArchive())
    wrapt.wrap_function_wrapper(archive, "add_endpoint", _add_endpoint)
    # Gradients of custom operations are traced when the archive is written.
    wrapt.wrap_function_wrapper(archive, "write_out", _write_out)


def _add_endpoint(add, _archive, arguments, named):
    def add_traced(name, fn, *arguments, **named):
        # Keras knows a tf.function, which is traced already, by its type.
        is_traced = hasattr(fn, "get_concrete_function")
        return add(name, fn if is_traced else _uncompiled(fn), *arguments, **named)

    return add_traced(*arguments, **named)


def _write_out(write, _archive, arguments, named):
    return _uncompiled(write)(*arguments, **named)


def _uncompiled(function):
    def call(*arguments, **named):
        with without_compilation():
            return function(*arguments, **named)

    return call
