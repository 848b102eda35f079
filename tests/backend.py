"""What the backend-neutral suites need from TensorFlow or JAX: gradients and compilers."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import ml_dtypes
import numpy as np

IS_JAX = keras.backend.backend() == "jax"
HALF_PRECISION = {
    # policy: (compute dtype, largest relative error of one rounding)
    "mixed_float16": ("float16", float(np.finfo(np.float16).eps)),
    "mixed_bfloat16": ("bfloat16", float(ml_dtypes.finfo(ml_dtypes.bfloat16).eps)),
}


def _tensorflow_gradients(function, variables):
    import tensorflow as tf

    def evaluate(*arguments):
        arguments = [tf.convert_to_tensor(a) for a in arguments]
        with tf.GradientTape() as tape:
            for argument in arguments:
                tape.watch(argument)
            value, outputs = function(*arguments)
        sources = [*arguments, *(v.value for v in variables)]
        return outputs, tape.gradient(value, sources, unconnected_gradients="zero")

    return evaluate


def _jax_gradients(function, variables):
    import jax

    def scalar(arguments, values):
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(*arguments)

    derivative = jax.jit(jax.grad(scalar, argnums=(0, 1), has_aux=True))

    def evaluate(*arguments):
        (first, second), outputs = derivative(arguments, [v.value for v in variables])
        return outputs, [*first, *second]

    return evaluate


def gradients(
    function: Callable[..., tuple[Any, Any]], variables: Sequence[keras.Variable] = ()
) -> Callable[..., tuple[Any, list[Any]]]:
    """Differentiates `function(*arguments) -> (scalar, outputs)`.

    Returns a function of the same arguments that gives the outputs and one gradient of the scalar
    per argument and variable, zeros where it doesn't depend on one. JAX compiles it: without, the
    first call of each single operation is a compilation of its own.
    """
    return (_jax_gradients if IS_JAX else _tensorflow_gradients)(function, variables)


def second_derivatives(
    function: Callable[..., tuple[Any, Any]], variables: Sequence[keras.Variable] = ()
) -> Callable[..., list[Any]]:
    """Products of a scalar's Hessian with a vector, by differentiating its gradient.

    Args:
        function: as of `gradients`.
        variables: as of `gradients`.

    Returns:
        A function of the arguments, and then of one direction per argument and variable. It gives
        the derivative of the gradient in that direction, one part per argument and variable.
    """
    first = gradients(function, variables)

    def slope(*values):
        count = (len(values) - len(variables)) // 2
        _, derivatives = first(*values[:count])
        products = zip(derivatives, values[count:], strict=True)
        return sum(keras.ops.sum(d * v) for d, v in products), ()

    second = gradients(slope, variables)

    def evaluate(*values):
        count = (len(values) - len(variables)) // 2
        _, derivatives = second(*values)
        return [*derivatives[:count], *derivatives[len(values) :]]

    return evaluate


def forward(function: Callable, variables: Sequence[keras.Variable] = ()) -> Callable:
    """The function as it is on TensorFlow; compiled on JAX, for the same reason as above."""
    if not IS_JAX:
        return function
    import jax

    def stateless(values, arguments):
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(*arguments)

    compiled = jax.jit(stateless)
    return lambda *arguments: compiled([v.value for v in variables], arguments)


def jitted(function: Callable, variables: Sequence[keras.Variable] = ()) -> Callable:
    """The function as the backend compiles it; it is traced once for each shape of its inputs."""
    if IS_JAX:
        return forward(function, variables)
    import tensorflow as tf

    return tf.function(function)


def compilers() -> dict[str, Callable[[Callable], Callable]]:
    """Ways of running a function that must give what it gives in the other tests.

    TensorFlow runs eagerly there; what JAX compiles there is run operation by operation here.
    """
    if IS_JAX:
        import jax

        return {"eager": jax.disable_jit()}
    import tensorflow as tf

    return {"graph": tf.function, "xla": functools.partial(tf.function, jit_compile=True)}


def numpy(tensor: Any) -> np.ndarray:
    """A tensor of any float dtype as a float64 array."""
    if isinstance(tensor, np.ndarray):
        return tensor.astype(np.float64)
    single = keras.ops.cast(tensor, "float32")  # holds every half-precision number
    return np.asarray(keras.ops.convert_to_numpy(single)).astype(np.float64)


def weights(layer: keras.layers.Layer) -> dict[str, np.ndarray]:
    """The weights of one layer by their names, in float64."""
    return {w.name: numpy(w.value) for w in layer.weights}
