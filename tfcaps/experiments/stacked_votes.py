"""Votes of many networks at once."""

from keras import ops

from tfcaps.routing import Votes
from tfcaps.routing.votes import _factors, _sum_of_products


class StackedVotes(Votes):
    """Votes `û[m,b,o,i] = W[m,i,o] u[m,b,i]` of the dense capsules of M networks.

    To a routing they are votes whose leading axes are network and example, `(M, B, O, I, E)`.

    Args:
        inputs: capsules u, `(M, B, I, D)`.
        kernel: W, `(M, I, D, O, E)`: in these axes the votes, and both gradients, are M·I matrix
            products of what lies in memory.

    Example:

    >>> import numpy as np
    >>> from tfcaps import routing
    >>> votes = StackedVotes(np.ones((5, 2, 3, 4), "float32"), np.ones((5, 3, 4, 7, 6), "float32"))
    >>> capsules, coupling = routing.get("rba").route(votes, np.ones((5, 2, 3), "float32"), None)
    >>> tuple(capsules.shape), tuple(coupling.shape)
    ((5, 2, 7, 6), (5, 2, 7, 3))
    """

    def __init__(self, inputs, kernel):
        _, count, _, capsules, dim = kernel.shape
        super().__init__((inputs, kernel), (capsules, count, dim))

    def _materialize(self, inputs, kernel):
        votes = ops.matmul(ops.transpose(inputs, (0, 2, 1, 3)), _flat(kernel))
        votes = ops.reshape(votes, (*votes.shape[:3], self.output_capsules, self.dim))
        return ops.transpose(votes, (0, 2, 3, 1, 4))  # (M, I, B, O, E) → (M, B, O, I, E)

    def _pull_back(self, tensors, x, linear, quadratic):
        inputs, kernel = tensors
        gradient = _sum_of_products(x, *_factors(linear), *_factors(quadratic))
        gradient = _flat(ops.transpose(gradient, (0, 3, 1, 2, 4)))  # (M, I, B, O·E)
        inputs_gradient = ops.matmul(gradient, ops.transpose(_flat(kernel), (0, 1, 3, 2)))
        kernel_gradient = ops.matmul(ops.transpose(inputs, (0, 2, 3, 1)), gradient)
        return (
            ops.transpose(inputs_gradient, (0, 2, 1, 3)),
            ops.reshape(kernel_gradient, kernel.shape),
        )


def _flat(x):
    """(…, O, E) → (…, O·E)."""
    return ops.reshape(x, (*x.shape[:-2], x.shape[-2] * x.shape[-1]))
