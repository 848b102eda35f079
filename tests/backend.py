"""What the backend-neutral suites need from TensorFlow or JAX: gradients and compilers."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import ml_dtypes
import numpy as np

HALF_PRECISION = {
    # policy: (compute dtype, largest relative error of one rounding)
    "mixed_float16": ("float16", float(np.finfo(np.float16).eps)),
    "mixed_bfloat16": ("bfloat16", float(ml_dtypes.finfo(ml_dtypes.bfloat16).eps)),
}


def _tensorflow_gradients(function, arguments, variables):
    import tensorflow as tf

    arguments = [tf.convert_to_tensor(a) for a in arguments]
    with tf.GradientTape() as tape:
        for argument in arguments:
            tape.watch(argument)
        value, outputs = function(*arguments)
    sources = [*arguments, *(v.value for v in variables)]
    return value, outputs, tape.gradient(value, sources, unconnected_gradients="zero")


def _jax_gradients(function, arguments, variables):
    import jax
    import jax.numpy as jnp

    def scalar(arguments, values):
        mapping = list(zip(variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return function(*arguments)

    arguments = [jnp.asarray(a) for a in arguments]
    values = [v.value for v in variables]
    (value, outputs), gradients = jax.value_and_grad(scalar, argnums=(0, 1), has_aux=True)(
        arguments, values
    )
    return value, outputs, [*gradients[0], *gradients[1]]


def gradients(
    function: Callable[..., tuple[Any, Any]],
    arguments: Sequence[Any],
    variables: Sequence[keras.Variable] = (),
) -> tuple[Any, Any, list[Any]]:
    """Differentiates `function(*arguments) -> (scalar, outputs)`.

    Returns the scalar, the outputs and one gradient per argument and variable, zeros where the
    scalar doesn't depend on it.
    """
    by_backend = {"tensorflow": _tensorflow_gradients, "jax": _jax_gradients}
    return by_backend[keras.backend.backend()](function, arguments, variables)


def compilers() -> dict[str, Callable[[Callable], Callable]]:
    """The ways in which the backend compiles a function."""
    if keras.backend.backend() == "jax":
        import jax

        return {"jit": jax.jit}
    import tensorflow as tf

    return {"graph": tf.function, "xla": functools.partial(tf.function, jit_compile=True)}


def numpy(tensor: Any) -> np.ndarray:
    """A tensor of any float dtype as a float64 array."""
    single = keras.ops.cast(tensor, "float32")  # holds every half-precision number
    return np.asarray(keras.ops.convert_to_numpy(single)).astype(np.float64)
