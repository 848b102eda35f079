"""Capsules that see a neighbourhood of the capsule maps below."""

import keras
from keras import ops

from tfcaps.errors import UsageError, positive_int
from tfcaps.layers import checks
from tfcaps.layers.routed_capsule import RoutedCapsule
from tfcaps.ops import for_any_batch, safe_norm
from tfcaps.routing import ArrayVotes

# How layers that were saved by version 0.1.0 call their arguments.
_FORMER_NAMES = {"out_capsules": "capsules", "out_dimension": "dim"}


@keras.saving.register_keras_serializable(package="tfcaps")
class ConvCapsule(RoutedCapsule):
    """Convolutional capsule layer: one kernel, shared by all input types, makes the votes.

    The map of each input capsule type is convolved, D → O·E channels; at each place the I types'
    results are routed. The activation of an input type at an output place is the mean length of
    its capsules below the kernel, which is the length itself for a 1×1 kernel.

    Args:
        capsules: number of output capsule types O.
        dim: output capsule dimension E.
        kernel_size: side of the kernel in places. Default 3.
        strides: Default 1.
        padding: "same" or "valid". Default "same".
        routing: name, configuration or instance of a `tfcaps.routing.Routing`. Default "rba".
        use_bias: whether each output type has a bias (O, E). Default True.
        kernel_initializer: of the kernel `(k, k, D, O·E)`. Default
            `tfcaps.initializers.LengthPreserving` with the routing's `vote_gain`; the papers have
            N(0, 0.2).
        bias_initializer: Default the constant 0.1.

    Call arguments:
        inputs: capsule maps `(B, H, W, I, D)`.
        return_coupling: whether the coupling coefficients are given too. Default False.
        mask: which input capsules are there, booleans `(B, H, W, I)`. The others are as what is
            beyond the maps' edges, and a type that has none below the kernel has no vote there.
            Default None: the mask of a layer below, or else all of them.

    Returns:
        Capsule maps `(B, H', W', O, E)`; with `return_coupling` also coupling coefficients
        `(B, H', W', O, I)`.

    Raises:
        ValueError: a size is not a positive integer, the padding or the routing is unknown, or
            the maps are smaller than a valid kernel, or the mask has another shape.

    Example:

    >>> import numpy as np
    >>> layer = ConvCapsule(4, 8, strides=2)
    >>> tuple(layer(np.ones((2, 6, 6, 3, 5), "float32")).shape)
    (2, 3, 3, 4, 8)

    Source: Gugglberger, Peer, Rodríguez-Sánchez: Training deep capsule networks with residual
    connections, arXiv 2104.07393.
    """

    def __init__(
        self,
        capsules,
        dim,
        kernel_size=3,
        strides=1,
        padding="same",
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
        self.kernel_size = positive_int("kernel_size", kernel_size)
        self.strides = positive_int("strides", strides)
        if padding not in ("same", "valid"):
            raise UsageError(f"Expected padding to be 'same' or 'valid'. Received: {padding!r}")
        self.padding = padding

    def build(self, input_shape):
        checks.rank("capsule maps", input_shape, expected="(B, H, W, I, D)")
        _, height, width, types, dim = input_shape
        if self.padding == "valid" and any(
            size is not None and size < self.kernel_size for size in (height, width)
        ):
            raise UsageError(
                f"Expected capsule maps of at least {self.kernel_size}×{self.kernel_size}. "
                f"Received: {height}×{width}"
            )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(
                self.kernel_size,
                self.kernel_size,
                dim,
                self.capsules * self.dim,
            ),
            initializer=self._vote_initializer(types and types * self.kernel_size**2),
        )
        self._build_routing(self.votes_shape(input_shape))

    def call(self, inputs, return_coupling=False, mask=None):
        given = (inputs,) if mask is None else (inputs, mask)
        return for_any_batch(lambda batch: self._call(return_coupling, *batch), given)

    def _call(self, return_coupling, inputs, mask=None):
        inputs, mask = self._unmasked(inputs, mask)
        batch, height, width, types, dim = ops.shape(inputs)
        # The types join the batch, (B·I, H, W, D), and come back behind the place.
        maps = ops.reshape(
            ops.transpose(inputs, (0, 3, 1, 2, 4)), (batch * types, height, width, dim)
        )
        votes = ops.conv(
            maps, ops.convert_to_tensor(self.kernel), strides=self.strides, padding=self.padding
        )
        _, height, width, _ = ops.shape(votes)
        lengths = self._mean(safe_norm(inputs))
        if mask is not None:
            share = self._mean(mask)
            lengths = ops.divide_no_nan(lengths, ops.cast(share, lengths.dtype))
            mask = ops.reshape(ops.cast(share > 0, mask.dtype), (-1, types))
        # Each place is routed for itself, so places join the batch: TFLite stops at rank 5.
        votes = ops.reshape(votes, (batch, types, height * width, self.capsules, self.dim))
        votes = ops.transpose(votes, (0, 2, 3, 1, 4))  # (B, H'·W', O, I, E)
        votes = ops.reshape(votes, (-1, self.capsules, types, self.dim))
        lengths = ops.reshape(lengths, (-1, types))
        routed = self._route(ArrayVotes(votes), lengths, return_coupling, mask)
        return keras.tree.map_structure(
            lambda part: ops.reshape(part, (batch, height, width, *part.shape[1:])), routed
        )

    def _mean(self, maps):
        """The mean of `(B, H, W, I)` below the kernel."""
        if self.kernel_size == 1 and self.strides == 1:
            return maps
        return ops.average_pool(maps, self.kernel_size, self.strides, self.padding)

    def votes_shape(self, input_shape):
        batch, height, width, types, _ = input_shape
        return (
            batch,
            self._output_size(height),
            self._output_size(width),
            self.capsules,
            types,
            self.dim,
        )

    def _output_size(self, size):
        if size is None:
            return None
        reach = size if self.padding == "same" else size - self.kernel_size + 1
        return -(-reach // self.strides)

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
        }

    @classmethod
    def from_config(cls, config):
        return super().from_config(checks.renamed(config, _FORMER_NAMES))
