"""Self-attention routing."""

import math

import keras
from keras import ops

from tfcaps.errors import UsageError
from tfcaps.ops import safe_norm, unit
from tfcaps.routing.registry import register
from tfcaps.routing.routing import Routing, add_bias, softmax_over_outputs

# Below this length the exact quotient of two tiny numbers gives way to its series.
_SHORT = 1e-3
# Attention vectors are scaled down to this, all of a sample alike: their products with votes then
# stay in float32. A softmax of such logits has saturated long before.
_LARGEST_ATTENTION = 1e12


@register("attention")
class SelfAttentionRouting(Routing):
    """Self-attention routing: a vote counts the more, the better it agrees with all the others.

    In one pass, without iterations, with A_ij = û_i · û_j / √E of each output capsule:

        c = softmax over the output capsules of Σ_j A_ij
        s = Σ_i (c_i + b_i) û_i + bias
        v = (1 − e^{−‖s‖}) s/‖s‖

    Σ_j A_ij is computed as û_i · Σ_j û_j / √E, so nothing of size I² is made. b `(O, I)` is a
    prior that is learnt and starts at 0. It gives each input capsule a meaning of its own, so
    that their order matters once it is learnt, and their number is fixed; routings are made
    without it unless it is asked for. As in the published program b is added behind the softmax.
    The coupling coefficients that come back are c without b, for they sum to 1.

    Args:
        iterations: accepted for the sake of one interface, at least 1; changes nothing. Default 2.
        use_prior: whether there is a prior b. Default False; the paper has one.

    Shapes: see `tfcaps.routing.Routing`.

    Raises:
        ValueError: `iterations` is not a positive integer, or, with a prior, the number of input
            capsules isn't known when the routing is built.

    Example:

    >>> import numpy as np
    >>> votes = np.zeros((1, 2, 3, 4), "float32")   # 2 output capsules, 3 inputs, dimension 4
    >>> votes[:, 0] = 1.0                           # agree on the first output capsule
    >>> _, coupling = SelfAttentionRouting()(votes, np.ones((1, 3), "float32"))
    >>> round(float(coupling[0, 0, 0]), 4)          # the logits are 4 · 3 / √4 = 6, and 0
    0.9975

    Source: Mazzia, Salvetti, Chiaberge: Efficient-CapsNet, arXiv 2101.12491.
    """

    def __init__(self, iterations=2, use_prior=False, **kwargs):
        super().__init__(iterations, **kwargs)
        self.use_prior = use_prior
        self.prior = None

    def build(self, votes_shape, activations_shape=None, bias_shape=None):
        if not self.use_prior:
            return
        *_, capsules, inputs, _ = votes_shape
        if inputs is None:
            raise UsageError(
                "Expected a known number of input capsules, as each has a prior. "
                f"Received: votes of shape {tuple(votes_shape)}"
            )
        self.prior = self.add_weight(
            name="prior",
            shape=(capsules, inputs),
            initializer="zeros",
            autocast=False,  # float32 inside a capsule layer of another precision, too
        )

    def route(self, votes, activations, bias):
        x = votes.open(linear=3)
        total = x.weighted_sum(ops.ones_like(x.uniform_coupling()))
        coupling = softmax_over_outputs(x.agreement(_limited(total / math.sqrt(votes.dim))))
        weights = coupling if self.prior is None else coupling + self.prior
        return exponential_squash(add_bias(x.weighted_sum(weights), bias)), coupling

    def get_config(self):
        return {**super().get_config(), "use_prior": self.use_prior}


def exponential_squash(s):
    """Shrinks vectors to a length in [0, 1), and short ones hardly at all.

    `(1 − e^{−‖s‖}) s/‖s‖` over the last axis; s itself in the limit of short vectors, where
    `tfcaps.ops.squash` has no gradient left. Value and gradient are finite for every finite |s|;
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
    is_half = keras.backend.standardize_dtype(s.dtype) in ("float16", "bfloat16")
    x = ops.cast(s, "float32") if is_half else s
    norm = safe_norm(x, keepdims=True)
    short = ops.minimum(norm, _SHORT)
    near_zero = x * (1.0 - short / 2.0 + ops.square(short) / 6.0)
    # 1 − exp(−n) = 2t / (1 + t) with t = tanh(n/2), as ONNX has no expm1.
    half = ops.tanh(norm / 2.0)
    length = 2.0 * half / (1.0 + half)
    return ops.cast(ops.where(norm < _SHORT, near_zero, length * unit(x)), s.dtype)


def _limited(vectors):
    """Vectors `(..., O, E)`, and where any is huge, all of that sample and place scaled down."""
    largest = ops.stop_gradient(ops.max(ops.abs(vectors), axis=(-2, -1), keepdims=True))
    return vectors * (_LARGEST_ATTENTION / ops.maximum(largest, _LARGEST_ATTENTION))
