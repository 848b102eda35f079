"""Sums over a whole data set."""

import keras


def sum_dtype() -> str:
    """The dtype of sums over many examples: float64, but float32 on JAX, which has no other.

    In float32 a sum loses an example's share after some ten thousand of them, and the variance of
    a capsule whose length hardly changes drowns in rounding errors of its mean.
    """
    return "float32" if keras.backend.backend() == "jax" else "float64"
