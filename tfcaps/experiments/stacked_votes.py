"""Votes of many networks at once."""

import numpy as np
import tensorflow as tf
from keras import ops

from tfcaps.routing import Votes
from tfcaps.routing.votes import shares_of


class StackedVotes(Votes):
    """Votes `û[m,b,o,i] = W[m,i,o] u[m,b,i]` of the dense capsules of M networks.

    To a routing they are votes whose leading axes are network and example, `(M, B, O, I, E)`. They
    lie as `(M, I, O, E, B)`: M·I matrix products make them as they stay, without a transposition,
    forwards and backwards; and a reading is a loop over examples that vector units like, whatever
    the dimension is. It is for programs that go through XLA as a whole, which fuses the readings
    and the sum of their gradients.

    Args:
        inputs: capsules u, `(M, B, I, D)`.
        kernel: W, `(M, I, O, E, D)`.

    Example:

    >>> import numpy as np
    >>> from tfcaps import routing
    >>> votes = StackedVotes(np.ones((5, 2, 3, 4), "float32"), np.ones((5, 3, 7, 6, 4), "float32"))
    >>> capsules, coupling = routing.get("rba").route(votes, np.ones((5, 2, 3), "float32"), None)
    >>> tuple(capsules.shape), tuple(coupling.shape)
    ((5, 2, 7, 6), (5, 2, 7, 3))
    """

    def __init__(self, inputs, kernel):
        _, count, capsules, dim, _ = kernel.shape
        super().__init__((inputs, kernel), (capsules, count, dim))

    def check_read(self):
        """Each reading is differentiated by itself, so there may be any number."""

    def open(self, *, linear, quadratic=0, centre_weights=None):
        inputs, kernel = self.tensors
        networks, count, capsules, dim, input_dim = kernel.shape
        kernel = ops.reshape(kernel, (networks, count, capsules * dim, input_dim))
        x = ops.matmul(kernel, ops.transpose(inputs, (0, 2, 3, 1)))
        x = ops.reshape(x, (networks, count, capsules, dim, inputs.shape[1]))
        if centre_weights is None:
            return _OpenStackedVotes(x, ops.zeros_like(x[:, 0]))
        shares = _examples_last(shares_of(centre_weights))
        centre = ops.stop_gradient(ops.sum(x * shares[:, :, None, None], axis=1))
        return _OpenStackedVotes(x - centre[:, None], centre)


class _OpenStackedVotes:
    """Materialised stacked votes; they are read as `tfcaps.routing.votes.OpenVotes` are.

    Args:
        array: x, `(M, I, O, E, B)`.
        centre: what was subtracted from the votes, `(M, O, E, B)`.
    """

    def __init__(self, array, centre):
        self._array = array
        self.centre = ops.transpose(centre, (0, 3, 1, 2))

    def uniform_coupling(self):
        """`c = 1/O`, shape `(M, B, O, I)`."""
        networks, inputs, capsules, _, examples = self._array.shape
        return ops.full((networks, examples, capsules, inputs), 1.0 / capsules, "float32")

    def weighted_sum(self, weights):
        """`s[m, b, o, :] = Σ_i w[m, b, o, i] x[m, b, o, i, :]`, shape `(M, B, O, E)`."""
        return _sum_over_inputs(self._array, weights)

    def agreement(self, vectors):
        """`l[m, b, o, i] = x[m, b, o, i, :] · q[m, b, o, :]`, shape `(M, B, O, I)`."""
        return _sum_over_dim(self._array * _examples_last(vectors)[:, None])

    def squared_lengths(self):
        """`l[m, b, o, i] = ‖x[m, b, o, i, :]‖²`, shape `(M, B, O, I)`."""
        return _sum_over_dim(ops.square(self._array))

    def moments(self, weights):
        """`(Σ_i w x, Σ_i w x²)` over the input capsules, shapes `(M, B, O, E)`."""
        squares = ops.square(self._array)
        return _sum_over_inputs(self._array, weights), _sum_over_inputs(squares, weights)

    def energies(self, linear, quadratic):
        """`l[m, b, o, i] = Σ_e (q x + p x²)`, q and p `(M, B, O, E)`."""
        linear, quadratic = (_examples_last(each)[:, None] for each in (linear, quadratic))
        return _sum_over_dim(self._array * (linear + self._array * quadratic))


def _examples_last(x):
    """(M, B, …) → (M, …, B)."""
    return _moved(x, (0, *range(2, len(x.shape)), 1))


def _sum_over_inputs(x, weights):
    """`Σ_i w x`: (M, I, O, E, B) and (M, B, O, I) → (M, B, O, E)."""
    weights = _moved(weights, (0, 3, 2, 1))
    return _moved(ops.sum(x * weights[:, :, :, None], axis=1), (0, 3, 1, 2))


def _sum_over_dim(x):
    """`Σ_e x`: (M, I, O, E, B) → (M, B, O, I)."""
    return _moved(ops.sum(x, axis=3), (0, 3, 2, 1))


def _moved(x, axes):
    """A transposition whose result is in memory, forwards and backwards.

    Otherwise each loop over votes that reads it would compute it anew, for every vote.
    """

    @tf.custom_gradient
    def move(x):
        def gradient(upstream):
            return _written(tf.transpose(_written(upstream), np.argsort(axes)))

        return _written(tf.transpose(_written(x), axes)), gradient

    return move(x)


def _written(x):
    """x, which XLA writes to memory: a reduction is never a part of the loops that read it."""
    first_of_two = np.reshape(np.float32([1.0, 0.0]), (2, *[1] * len(x.shape)))
    return tf.reduce_sum(x * first_of_two, axis=0)
