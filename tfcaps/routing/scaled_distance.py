"""Scaled-distance agreement."""

import functools
import math

from keras import ops

from tfcaps.errors import UsageError
from tfcaps.ops import SMALLEST_NORMAL, compiled, squash
from tfcaps.routing.registry import register
from tfcaps.routing.routing import Routing, add_bias, softmax_over_outputs

# An input capsule couples with probability 0.9 to a capsule at half the mean distance, if all the
# others are at the mean distance.
NEAR_COUPLING = 0.9
NEAR_DISTANCE = 0.5
ROUNDING = 1e-6  # relative error of a difference of float32 sums
# Squares below are multiplied by its inverse, for their derivatives divide by their powers.
_SMALL_SQUARE = 2.0**-60


@register("sda")
class ScaledDistanceRouting(Routing):
    """Scaled-distance agreement: an input capsule couples to the nearest output capsule.

    Votes are first shortened so that ‖û‖ ≤ a_i. From b = 0, each of R iterations computes

        c = softmax of b over the output capsules
        v = squash(Σ_i c û + bias)
        d = ‖v − û‖,  d̄ = mean of d
        b ← t·d  with  t = [log(0.9 (O−1)) − log 0.1] / (0.5·d̄ − d̄)     (not in the last iteration)

    t is negative: the nearest output capsule gets the most. With one output capsule the coupling
    is 1.

    Args:
        iterations: R, at least 1. Default 2; the paper uses 3.
        scale: "sample": d̄ is the mean over input and output capsules of one sample (and place).
            "batch": one mean for the whole batch, as the published program computes it; a
            sample's output then depends on its batch mates. Default "sample".

    Shapes: see `tfcaps.routing.Routing`.

    Raises:
        ValueError: `iterations` is not a positive integer, or `scale` is unknown.

    Example:

    >>> import numpy as np
    >>> votes = np.array([[[[1.0, 0.0]], [[0.0, 0.1]]]], "float32")   # 2 outputs, 1 input
    >>> _, coupling = ScaledDistanceRouting()(votes, np.ones((1, 1), "float32"))
    >>> bool(coupling[0, 1, 0] > coupling[0, 0, 0])                   # its v is nearer to its vote
    True

    Source: Peer, Stabinger, Rodríguez-Sánchez: γ-capsules, arXiv 1812.09707.
    """

    def __init__(self, iterations=2, scale="sample", **kwargs):
        super().__init__(iterations, **kwargs)
        if scale not in ("sample", "batch"):
            raise UsageError(f"Expected scale to be 'sample' or 'batch'. Received: {scale!r}")
        self.scale = scale

    def route(self, votes, activations, bias):
        x = votes.open(linear=2 * self.iterations - 1, quadratic=1)
        squares, shorten = _shortened(x.squared_lengths(), activations)
        coupling = x.uniform_coupling()
        capsules = squash(add_bias(x.weighted_sum(coupling * shorten), bias))
        for _ in range(1, self.iterations):
            agreement = x.agreement(capsules) * shorten
            logits = self._logits(squares, agreement, capsules, votes.mask)
            coupling = softmax_over_outputs(logits)
            capsules = squash(add_bias(x.weighted_sum(coupling * shorten), bias))
        return capsules, coupling

    def _logits(self, squares, agreement, capsules, mask):
        """`t·d` from the squared lengths of votes and their products with the capsules."""
        competitors = capsules.shape[-2] - 1
        if competitors == 0:
            return ops.zeros_like(agreement)
        odds = math.log(NEAR_COUPLING * competitors) - math.log(1.0 - NEAR_COUPLING)
        axes = (-2, -1) if self.scale == "sample" else None
        counted = () if mask is None else (mask[..., None, :],)
        distance = _relative_distance(axes)(squares, agreement, capsules, *counted)
        return odds / (NEAR_DISTANCE - 1.0) * distance

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


@functools.cache
def _relative_distance(axes):
    """The function that gives `d / d̄`, d̄ the mean over `axes`, with `d² = ‖û‖² − 2 û·v + ‖v‖²`.

    Where input capsules are masked, it takes which ones count, `(..., 1, I)`.
    """

    def relative_distance(squares, agreement, capsules, *counted):
        capsule_squares = ops.sum(ops.square(capsules), axis=-1)[..., None]
        largest = ops.max(squares + capsule_squares, axis=axes, keepdims=True, initial=0.0)
        factor = _range_factor(largest)
        squares, agreement = squares * factor, agreement * factor
        capsule_squares = capsule_squares * factor
        distance = _root(
            squares - 2.0 * agreement + capsule_squares,
            smallest=ROUNDING * (squares + capsule_squares),
        )
        mean = _mean(distance, axes, *counted)
        is_zero = mean < SMALLEST_NORMAL  # then every distance is 0
        return distance / ops.where(is_zero, ops.ones_like(mean), mean)

    return compiled(relative_distance)


def _mean(distance, axes, counted=None):
    if counted is None:
        return ops.mean(distance, axis=axes, keepdims=True)
    counted = ops.broadcast_to(counted, ops.shape(distance))
    total = ops.sum(distance * counted, axis=axes, keepdims=True)
    return total / ops.maximum(ops.sum(counted, axis=axes, keepdims=True), 1.0)


def _root(squares, smallest):
    """√x, with value and gradient 0 where x is not above `smallest`, the rounding error in it."""
    is_zero = squares <= ops.maximum(smallest, SMALLEST_NORMAL)
    root = ops.sqrt(ops.where(is_zero, ops.ones_like(squares), squares))
    return ops.where(is_zero, ops.zeros_like(root), root)


@compiled
def _shortened(squares, activations):
    """Squared lengths after shortening, and the factor `min(1, a_i / ‖û‖)` (1 where û = 0)."""
    is_zero = squares < SMALLEST_NORMAL
    scale = _range_factor(squares)
    inverse_length = ops.rsqrt(ops.where(is_zero, ops.ones_like(squares), squares * scale))
    factor = ops.expand_dims(activations, -2) * ops.sqrt(scale) * inverse_length
    factor = ops.minimum(ops.where(is_zero, ops.ones_like(squares), factor), 1.0)
    return squares * ops.square(factor), factor


def _range_factor(squares):
    """A power of two by which small squares can be multiplied, 1 for all others."""
    is_small = ops.stop_gradient(squares) < _SMALL_SQUARE
    one = ops.ones_like(squares)
    return ops.where(is_small, one / _SMALL_SQUARE, one)
