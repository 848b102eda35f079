"""Initial vote kernels with which capsules keep their lengths in any depth."""

import math

import keras

from tfcaps.errors import UsageError

DEFAULT_GAIN = 4.0


@keras.saving.register_keras_serializable(package="tfcaps")
class LengthPreserving(keras.initializers.Initializer):
    """Normal kernels of capsules' votes, as wide as it takes to keep the capsules' lengths.

    `W[o,i] ~ N(0, σ²)` with `σ = O √(g / (I E))`. With uniform couplings 1/O and input capsules of
    length r, the sum `s_o = Σ_i û_oi / O` then has the mean square `‖s‖² = σ² I E r²/O² = g r²`, so
    that squash gives the length `g r² / (1 + g r²)`. From g = 4 on this has a fixed point above 0:
    `r = (1 + √(1 − 4/g)) / 2`, 1/2 for g = 4. There the map from a layer's capsules to the next
    one's neither stretches nor shrinks what is across them, in both directions. With N(0, 0.2) and
    16 capsules of 12 dimensions g is 0.03, and the gradient falls to a tenth in each layer.

    Routed layers have it by default, with the gain of their routing: `Routing.vote_gain`. Of a
    convolutional layer I is the input types times the places below the kernel.

    Args:
        gain: g, above 0. Default 4.
        seed: of the draws. Default None: a random one for each initializer.

    Call arguments:
        shape: of a dense kernel, (O, I, E, D).
        dtype: Default: Keras' float type.

    Raises:
        ValueError: the gain is not above 0, or the shape is not that of a dense kernel.

    Example:

    >>> kernel = LengthPreserving(seed=0)((16, 16, 12, 12))       # σ = 16 √(4 / 192)
    >>> f"{float(keras.ops.std(kernel)):.1f}"
    '2.3'

    Sources: the published N(0, 0.2): Peer, Stabinger, Rodríguez-Sánchez, arXiv 1905.08744; the
    method, for ReLU layers: He et al., Delving deep into rectifiers, arXiv 1502.01852.
    """

    def __init__(self, gain=DEFAULT_GAIN, seed=None):
        if not 0 < gain < math.inf:
            raise UsageError(f"Expected gain > 0. Received: {gain!r}")
        self.gain = gain
        self.seed = seed
        self._normal = keras.initializers.RandomNormal(stddev=1.0, seed=seed)

    def __call__(self, shape, dtype=None):
        if len(shape) != 4:
            raise UsageError(f"Expected a kernel of shape (O, I, E, D). Received: {tuple(shape)}")
        outputs, inputs, dim, _ = shape
        return self.of(outputs, inputs, dim)(shape, dtype=dtype)

    def of(self, outputs, inputs, dim):
        """The normal initializer for O output capsules of dimension E that add up I votes each."""
        deviation = outputs * math.sqrt(self.gain / (inputs * dim))
        return keras.initializers.RandomNormal(stddev=deviation, seed=self._normal.seed)

    def get_config(self):
        return {"gain": self.gain, "seed": self.seed}
