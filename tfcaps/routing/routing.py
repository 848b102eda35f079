"""The vote contract: what every routing is given, and what it gives."""

import keras
from keras import ops

from tfcaps.errors import UsageError


class Routing(keras.layers.Layer):
    """Base class of the ways in which input capsules agree on output capsules.

    A routing is a layer that a capsule layer is given. It sees votes and knows nothing of where
    they come from, so that one class serves dense and convolutional capsules: leading dimensions
    absorb the batch and the place. With O output capsules of dimension E and I input capsules:

        votes        û (..., O, I, E)
        activations  a (..., I), the lengths of the input capsules
        bias           (O, E) or None
        → capsules     (..., O, E)
        → coupling   c (..., O, I), the coupling coefficients that it ended with; Σ_o c = 1

    A new routing is one file: a subclass with `route`, decorated with `tfcaps.routing.register`.
    It always runs in float32, whatever the dtype policy is; capsules and coupling coefficients
    come back in the dtype of the votes.

    Args:
        iterations: number of routing iterations, at least 1. Default 2 (arXiv 2104.07393).

    Raises:
        ValueError: `iterations` is not a positive integer, or the votes lack the three axes.
    """

    def __init__(self, iterations=2, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(autocast=False, **kwargs)
        if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1:
            raise UsageError(f"Expected routing iterations >= 1. Received: {iterations!r}")
        self.iterations = iterations

    def build(self, votes_shape, activations_shape=None, bias_shape=None):
        """Most routings own no weights; one that does makes them here."""

    def route(self, votes, activations, bias):
        """Routes float32 votes; `bias` is an `(O, E)` tensor or None."""
        raise NotImplementedError(f"{type(self).__name__} has to define `route`.")

    def call(self, votes, activations, bias=None):
        dtype = votes.dtype
        if len(votes.shape) < 3:
            raise UsageError(
                f"Expected votes of shape (..., O, I, E). Received: {tuple(votes.shape)}"
            )
        bias = None if bias is None else ops.cast(bias, "float32")
        capsules, coupling = self.route(
            ops.cast(votes, "float32"), ops.cast(activations, "float32"), bias
        )
        return ops.cast(capsules, dtype), ops.cast(coupling, dtype)

    def compute_output_shape(self, votes_shape, activations_shape=None, bias_shape=None):
        *leading, capsules, inputs, dim = votes_shape
        return (*leading, capsules, dim), (*leading, capsules, inputs)

    def get_config(self):
        config = super().get_config()
        del config["dtype"]  # fixed, see __init__
        return {**config, "iterations": self.iterations}


def softmax_over_outputs(logits):
    """Coupling coefficients of logits `(..., O, I)`: a softmax over the output capsules."""
    # Written out: the built-in softmax transposes its axis to the end and back.
    shifted = ops.exp(logits - ops.stop_gradient(ops.max(logits, axis=-2, keepdims=True)))
    return shifted / ops.sum(shifted, axis=-2, keepdims=True)


def weighted_sum(weights, votes):
    """`s[..., o, e] = Σ_i w[..., o, i] û[..., o, i, e]` as a matrix product."""
    return ops.squeeze(ops.matmul(ops.expand_dims(weights, -2), votes), -2)


def agreement(votes, vectors):
    """`b[..., o, i] = Σ_e û[..., o, i, e] v[..., o, e]` as a matrix product."""
    return ops.squeeze(ops.matmul(votes, ops.expand_dims(vectors, -1)), -1)


def uniform_coupling(votes):
    """`c = 1/O` for votes `(..., O, I, E)`."""
    return ops.full_like(votes[..., 0], 1.0 / votes.shape[-3])


def add_bias(s, bias):
    """`s + bias`, or `s` where a layer has none."""
    return s if bias is None else s + bias
