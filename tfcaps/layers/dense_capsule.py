"""Capsules that see every capsule of the layer below."""

import math

import keras
from keras import ops

from tfcaps.errors import UsageError
from tfcaps.layers.routed_capsule import RoutedCapsule
from tfcaps.ops import safe_norm
from tfcaps.routing import DenseVotes


@keras.saving.register_keras_serializable(package="tfcaps")
class DenseCapsule(RoutedCapsule):
    """Dense capsule layer: each input capsule votes for each output capsule.

    `û[b,o,i] = W[o,i] u[b,i]`, routed to `v[b,o]`.

    Args:
        capsules: number of output capsules O.
        dim: output capsule dimension E.
        routing: name, configuration or instance of a `tfcaps.routing.Routing`. Default "rba".
        use_bias: whether each output capsule has a bias (O, E). Default True.
        kernel_initializer: of W `(O, I, E, D)`. Default N(0, 0.2).
        bias_initializer: Default the constant 0.1.

    Call arguments:
        inputs: capsules `(B, I, D)`, or maps of capsules `(B, …, D)`, whose middle axes are
            flattened to one.
        return_coupling: whether the coupling coefficients are given too. Default False.

    Returns:
        Capsules `(B, O, E)`; with `return_coupling` also coupling coefficients `(B, O, I)`.

    Raises:
        ValueError: a size is not a positive integer, the routing is unknown, or the number of
            input capsules isn't known when the layer is built.

    Example:

    >>> import numpy as np
    >>> layer = DenseCapsule(10, 16, routing="em")
    >>> capsules, coupling = layer(np.ones((2, 6, 8), "float32"), return_coupling=True)
    >>> tuple(capsules.shape), tuple(coupling.shape)
    ((2, 10, 16), (2, 10, 6))

    Source: Sabour, Frosst, Hinton: Dynamic routing between capsules, arXiv 1710.09829.
    """

    def __init__(
        self,
        capsules,
        dim,
        routing="rba",
        use_bias=True,
        kernel_initializer=None,
        bias_initializer=keras.initializers.Constant(0.1),
        **kwargs,
    ):
        super().__init__(
            capsules,
            dim,
            routing=routing,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            **kwargs,
        )

    def build(self, input_shape):
        if len(input_shape) < 3:
            raise UsageError(
                f"Expected capsules of shape (B, I, D). Received: {tuple(input_shape)}"
            )
        _, inputs, input_dim = self._flat_shape(input_shape)
        if inputs is None or input_dim is None:
            raise UsageError(
                "Expected a known number of input capsules and a known dimension. "
                f"Received: {tuple(input_shape)}"
            )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.capsules, inputs, self.dim, input_dim),
            initializer=self.kernel_initializer,
        )
        self._build_routing(self.votes_shape(input_shape))

    def call(self, inputs, return_coupling=False):
        _, count, dim = self._flat_shape(inputs.shape)
        capsules = ops.reshape(inputs, (-1, count, dim))
        votes = DenseVotes(capsules, ops.convert_to_tensor(self.kernel))
        return self._route(votes, safe_norm(capsules), return_coupling)

    def votes_shape(self, input_shape):
        return (input_shape[0], self.capsules, self._flat_shape(input_shape)[1], self.dim)

    @staticmethod
    def _flat_shape(input_shape):
        batch, *places, dim = input_shape
        return batch, None if None in places else math.prod(places), dim
