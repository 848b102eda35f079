"""Routing by agreement."""

from tfcaps.ops import squash
from tfcaps.routing.registry import register
from tfcaps.routing.routing import Routing, add_bias, softmax_over_outputs


@register("rba")
class AgreementRouting(Routing):
    """Routing by agreement: votes that point along an output capsule count more the next time.

    From logits b = 0, each of R iterations computes

        c = softmax of b over the output capsules
        v = squash(Σ_i c û + bias)
        b ← b + û · v        (not in the last iteration)

    Gradients flow through all iterations.

    Args:
        iterations: R, at least 1. Default 2.

    Shapes: see `tfcaps.routing.Routing`.

    Raises:
        ValueError: `iterations` is not a positive integer.

    Example:

    >>> import numpy as np
    >>> votes = np.ones((1, 2, 3, 4), "float32")    # 2 output capsules, 3 inputs, dimension 4
    >>> capsules, coupling = AgreementRouting(iterations=3)(votes, np.ones((1, 3), "float32"))
    >>> capsules.shape == (1, 2, 4), float(coupling[0, 0, 0])
    (True, 0.5)

    Source: Sabour, Frosst, Hinton: Dynamic routing between capsules, arXiv 1710.09829.
    """

    def route(self, votes, activations, bias):
        x = votes.open(linear=2 * self.iterations - 1)
        coupling = x.uniform_coupling()
        capsules = squash(add_bias(x.weighted_sum(coupling), bias))
        logits = 0.0
        for _ in range(1, self.iterations):
            logits = logits + x.agreement(capsules)
            coupling = softmax_over_outputs(logits)
            capsules = squash(add_bias(x.weighted_sum(coupling), bias))
        return capsules, coupling
