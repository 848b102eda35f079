"""Capsules that see every capsule of the layer below."""

import math

import keras
from keras import ops

from tfcaps.errors import UsageError
from tfcaps.layers.routed_capsule import RoutedCapsule
from tfcaps.ops import safe_norm
from tfcaps.routing import ArrayVotes, DenseVotes


@keras.saving.register_keras_serializable(package="tfcaps")
class DenseCapsule(RoutedCapsule):
    """Dense capsule layer: each input capsule votes for each output capsule.

    `û[b,o,i] = W[o,i] u[b,i]`, routed to `v[b,o]`; with a shared kernel `û[b,o,i] = W[o] u[b,i]`,
    and there may be any number of input capsules, another one in each batch.

    Args:
        capsules: number of output capsules O.
        dim: output capsule dimension E.
        routing: name, configuration or instance of a `tfcaps.routing.Routing`. Default "rba".
        use_bias: whether each output capsule has a bias (O, E). Default True.
        kernel_initializer: of W `(O, I, E, D)`, shared `(O, E, D)`. Default
            `tfcaps.initializers.LengthPreserving` with the routing's `vote_gain`; the papers have
            N(0, 0.2).
        bias_initializer: Default the constant 0.1.
        shared_kernel: whether all input capsules have one kernel. Default False.

    Call arguments:
        inputs: capsules `(B, I, D)`, or maps of capsules `(B, …, D)`, whose middle axes are
            flattened to one.
        return_coupling: whether the coupling coefficients are given too. Default False.
        mask: which input capsules are there, booleans `(B, I)` or `(B, …)`. The others change
            nothing. Default None: the mask of a layer below, or else all of them.

    Returns:
        Capsules `(B, O, E)`; with `return_coupling` also coupling coefficients `(B, O, I)`.

    Raises:
        ValueError: a size is not a positive integer, the routing is unknown, the number of input
            capsules isn't known when the layer is built, though each has its kernel or its prior,
            or the mask has another shape.

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
        shared_kernel=False,
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
        self.shared_kernel = shared_kernel

    def build(self, input_shape):
        if len(input_shape) < 3:
            raise UsageError(
                f"Expected capsules of shape (B, I, D). Received: {tuple(input_shape)}"
            )
        _, inputs, input_dim = self._flat_shape(input_shape)
        if input_dim is None:
            raise UsageError(
                f"Expected capsules of a known dimension. Received: {tuple(input_shape)}"
            )
        if inputs is None and not self.shared_kernel:
            raise UsageError(
                "Expected a known number of input capsules, or shared_kernel=True. "
                f"Received: {tuple(input_shape)}"
            )
        each = () if self.shared_kernel else (inputs,)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.capsules, *each, self.dim, input_dim),
            initializer=self._vote_initializer(inputs),
        )
        self._build_routing(self.votes_shape(input_shape))

    def call(self, inputs, return_coupling=False, mask=None):
        inputs, mask = self._unmasked(inputs, mask)
        capsules = _flat(inputs)
        if mask is not None:
            mask = _flat(mask[..., None])[..., 0]
        return self._route(self._votes(capsules), safe_norm(capsules), return_coupling, mask)

    def _votes(self, capsules):
        kernel = ops.convert_to_tensor(self.kernel)
        if not self.shared_kernel:
            return DenseVotes(capsules, kernel)
        capsules, kernel = ops.cast(capsules, "float32"), ops.cast(kernel, "float32")
        return ArrayVotes(ops.einsum("bid,oed->boie", capsules, kernel))

    def votes_shape(self, input_shape):
        return (input_shape[0], self.capsules, self._flat_shape(input_shape)[1], self.dim)

    @staticmethod
    def _flat_shape(input_shape):
        batch, *places, dim = input_shape
        return batch, None if None in places else math.prod(places), dim

    def get_config(self):
        return {**super().get_config(), "shared_kernel": self.shared_kernel}


def _flat(inputs):
    """Capsules `(B, …, D)` as `(B, I, D)`."""
    batch, *places, _ = ops.shape(inputs)
    return ops.reshape(inputs, (batch, math.prod(places), inputs.shape[-1]))
