"""Uniform routing."""

from tfcaps.ops import squash
from tfcaps.routing.registry import register
from tfcaps.routing.routing import Routing, add_bias


@register("mean")
class MeanRouting(Routing):
    """Uniform coupling: the baseline that any routing has to beat.

    `c = 1/O`, `v = squash(Σ_i c û + bias)`, in one pass; more iterations change nothing.

    Args:
        iterations: accepted for the sake of one interface, at least 1. Default 2.

    Shapes: see `tfcaps.routing.Routing`.

    Raises:
        ValueError: `iterations` is not a positive integer.

    Example:

    >>> import numpy as np
    >>> votes = np.ones((1, 4, 3, 2), "float32")    # 4 output capsules, 3 inputs, dimension 2
    >>> _, coupling = MeanRouting()(votes, np.ones((1, 3), "float32"))
    >>> float(coupling[0, 0, 0])
    0.25

    Source: Gugglberger, Peer, Rodríguez-Sánchez, arXiv 2104.07393.
    """

    def route(self, votes, activations, bias):
        x = votes.open(linear=1)
        coupling = x.uniform_coupling()
        return squash(add_bias(x.weighted_sum(coupling), bias)), coupling
