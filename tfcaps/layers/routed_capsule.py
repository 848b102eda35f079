"""What dense and convolutional capsule layers have in common: votes are routed, with a bias."""

import keras
from keras import ops

from tfcaps import labels, routing as routings
from tfcaps.errors import UsageError, positive_int
from tfcaps.initializers import LengthPreserving


class RoutedCapsule(keras.layers.Layer):
    """Base class: owns the routing, the bias and the initialiser of the vote kernel.

    A routing that is given as an instance is copied, so that it may be given to several layers.

    A subclass defines `votes_shape(input_shape)`, makes votes in `call` and ends with `_route`.

    Input capsules that a mask leaves out have no votes, activation 0 and coupling 0: the outputs
    are those of the others alone. All output capsules are there, so no mask is passed on.
    """

    def __init__(
        self, capsules, dim, *, routing, use_bias, kernel_initializer, bias_initializer, **kwargs
    ):
        super().__init__(**kwargs)
        self.capsules = positive_int("the number of capsules", capsules)
        self.dim = positive_int("the capsule dimension", dim)
        self.routing = _own(routing)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.bias = None
        self.supports_masking = True

    def compute_mask(self, inputs, previous_mask=None):
        return None

    @staticmethod
    def _unmasked(inputs, mask):
        """Input capsules `(..., D)`, 0 where they are masked, and their mask `(...)`, 1 or 0.

        Raises:
            UsageError: the mask has another shape.
        """
        if mask is None:
            return inputs, None
        mask = labels.alike(ops.convert_to_tensor(mask), inputs[..., 0], of="a mask")
        mask = ops.cast(mask != 0, "float32")
        # Not a product: what is masked may be NaN.
        return ops.where(mask[..., None] > 0, inputs, ops.zeros_like(inputs)), mask

    def _vote_initializer(self, inputs):
        """What the kernel is drawn from, where so many votes are added up; None: it isn't known."""
        initializer = self.kernel_initializer or LengthPreserving(self.routing.vote_gain)
        if isinstance(initializer, LengthPreserving):
            return initializer.of(self.capsules, inputs or self.capsules, self.dim)
        return initializer

    def _build_routing(self, votes_shape):
        shape = (self.capsules, self.dim)
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=shape, initializer=self.bias_initializer)
        if not self.routing.built:
            self.routing.build(
                votes_shape, (*votes_shape[:-3], votes_shape[-2]), shape if self.use_bias else None
            )

    def _route(self, votes, activations, return_coupling, mask=None):
        votes.mask = mask
        bias = None if self.bias is None else ops.cast(self.bias, "float32")
        capsules, coupling = self.routing.route(votes, ops.cast(activations, "float32"), bias)
        votes.check_read()
        if mask is not None:
            coupling = coupling * mask[..., None, :]
        capsules = ops.cast(capsules, self.compute_dtype)
        return (capsules, ops.cast(coupling, self.compute_dtype)) if return_coupling else capsules

    def compute_output_shape(self, input_shape):
        return self.routing.compute_output_shape(self.votes_shape(input_shape))[0]

    def compute_output_spec(self, inputs, return_coupling=False, mask=None):
        capsules, coupling = (
            keras.KerasTensor(shape, dtype=self.compute_dtype)
            for shape in self.routing.compute_output_shape(self.votes_shape(inputs.shape))
        )
        return (capsules, coupling) if return_coupling else capsules

    def get_config(self):
        return {
            **super().get_config(),
            "capsules": self.capsules,
            "dim": self.dim,
            "routing": routings.serialize(self.routing),
            "use_bias": self.use_bias,
            "kernel_initializer": self.kernel_initializer
            and keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }


def _own(identifier):
    """A routing for one layer, which no other layer has.

    Raises:
        UsageError: it is an instance that has weights already, which a copy would not have.
    """
    if not isinstance(identifier, routings.Routing):
        return routings.get(identifier)
    if identifier.weights:
        raise UsageError(
            "Expected a routing without weights, as each layer gets a copy of its own. "
            f"Received: {identifier.name}, which has {len(identifier.weights)}"
        )
    return type(identifier).from_config(identifier.get_config())
