"""Self-attention routing."""

import math

from keras import ops

from tfcaps.errors import UsageError
from tfcaps.ops import exponential_squash
from tfcaps.routing.registry import register
from tfcaps.routing.routing import Routing, add_bias, softmax_over_outputs

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

    # Couplings are far from uniform, so that votes add up to more: with 4 the gradients of 12
    # layers grow downwards by a factor of 1e5.
    vote_gain = 0.5

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


def _limited(vectors):
    """Vectors `(..., O, E)`, and where any is huge, all of that sample and place scaled down."""
    sizes = ops.abs(vectors)
    largest = ops.stop_gradient(ops.max(sizes, axis=(-2, -1), keepdims=True, initial=0.0))
    return vectors * (_LARGEST_ATTENTION / ops.maximum(largest, _LARGEST_ATTENTION))
