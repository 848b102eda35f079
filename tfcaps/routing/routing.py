"""The vote contract: what every routing is given, and what it gives."""

import abc

import keras
from keras import ops

from tfcaps.errors import UsageError
from tfcaps.ops import compiled
from tfcaps.routing.votes import ArrayVotes


class Routing(keras.layers.Layer):
    """Base class of the ways in which input capsules agree on output capsules.

    A routing is a layer that a capsule layer is given. It sees votes and knows nothing of where
    they come from, so that one class serves dense and convolutional capsules: leading dimensions
    absorb the batch and the place. With O output capsules of dimension E and I input capsules:

        votes        û (..., O, I, E), an array; `route` takes them as `Votes`
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

    # g of `tfcaps.initializers.LengthPreserving`, which draws a layer's votes unless it is given
    # another initializer: what deep networks with this routing begin to learn from.
    vote_gain = 4.0

    def __init__(self, iterations=2, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(autocast=False, **kwargs)
        if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1:
            raise UsageError(f"Expected routing iterations >= 1. Received: {iterations!r}")
        self.iterations = iterations

    def build(self, votes_shape, activations_shape=None, bias_shape=None):
        """Most routings own no weights; one that does makes them here."""

    def of_hidden_capsules(self) -> "Routing":
        """The routing as networks give it to capsules that are no classes. Most have but one."""
        return self

    @abc.abstractmethod
    def route(self, votes, activations, bias):
        """Routes `Votes` in float32.

        Args:
            votes: `tfcaps.routing.Votes`.
            activations: `(..., I)`, float32.
            bias: `(O, E)`, float32, or None.

        Returns:
            Capsules `(..., O, E)` and coupling coefficients `(..., O, I)`, float32.
        """

    def call(self, votes, activations, bias=None):
        if len(votes.shape) < 3:
            raise UsageError(
                f"Expected votes of shape (..., O, I, E). Received: {tuple(votes.shape)}"
            )
        bias = None if bias is None else ops.cast(bias, "float32")
        array_votes = ArrayVotes(votes)
        capsules, coupling = self.route(array_votes, ops.cast(activations, "float32"), bias)
        array_votes.check_read()
        return ops.cast(capsules, votes.dtype), ops.cast(coupling, votes.dtype)

    def compute_output_shape(self, votes_shape, activations_shape=None, bias_shape=None):
        *leading, capsules, inputs, dim = votes_shape
        return (*leading, capsules, dim), (*leading, capsules, inputs)

    def get_config(self):
        config = super().get_config()
        del config["dtype"]  # fixed, see __init__
        return {**config, "iterations": self.iterations}


def softmax_over_outputs(logits: keras.KerasTensor) -> keras.KerasTensor:
    """Coupling coefficients of logits `(..., O, I)`: a softmax over the output capsules."""
    return _softmax(logits)


@ops.custom_gradient
def _softmax(logits):
    coupling = _softmax_forward(logits)

    def gradient(upstream):
        return _softmax_backward(coupling, upstream)

    return coupling, gradient


# Written out: the built-in softmax transposes its axis to the end and back.
@compiled
def _softmax_forward(logits):
    shifted = ops.exp(logits - ops.max(logits, axis=-2, keepdims=True))
    return shifted / ops.sum(shifted, axis=-2, keepdims=True)


@compiled
def _softmax_backward(coupling, upstream):
    product = coupling * upstream
    return product - coupling * ops.sum(product, axis=-2, keepdims=True)


def add_bias(s, bias):
    """`s + bias`, or `s` where a layer has none."""
    return s if bias is None else s + bias
