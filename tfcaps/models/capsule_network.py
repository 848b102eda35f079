"""What every capsule network offers, whatever its capsule layers are."""

import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import keras
from keras import ops

from tfcaps import routing as routings
from tfcaps.errors import UsageError
from tfcaps.initializers import LengthPreserving
from tfcaps.layers import CapsuleLength, CapsuleMask
from tfcaps.models.arguments import argument
from tfcaps.models.decoders import decoder
from tfcaps.models.image_model import ImageModel
from tfcaps.models.registry import COMMON, MASKS
from tfcaps.models.stack import (
    Skips,
    check_image_size,
    check_sizes,
    check_skip_distance,
    check_skip_kind,
)

# Of class capsules above long ones, as other routed ones are: class capsules have to begin short,
# as most of them are to be. What it takes to shorten long ones ruins the layers below.
CLASS_GAIN = 0.1


class CapsuleNetwork(ImageModel):
    """Base class: class capsules on top of a network, their lengths, and a decoder.

    The outputs are a dict: `lengths` (B, K), the class scores, and, with `use_reconstruction`,
    `reconstruction` (B, H, W, C). With `mask="label"` the input is a dict, `image` (B, H, W, C)
    and `label` (B, K): one-hot labels in training, zeros where they aren't known. Images alone will
    do otherwise: the decoder then sees the longest capsule.

    A subclass says what is between the images and the class capsules: `smallest_image`, the least
    number of pixels a side, `has_long_primaries`, whether primary capsules begin nearly 1 long, and
    `connect`. `@register` gives it a name, and `published`: what it is made of where nothing else
    is asked for.

    Args:
        input_shape: `(H, W, C)` of the images.
        layers: capsules per layer, the last of which are the K classes. Default: as `published`,
            (32, 32, 10) for most.
        dimensions: capsule dimension per layer, as many. Default: as `published`, (8, 8, 16) for
            most.
        routing: name, configuration or instance; each layer gets one of its own. Default: as
            `published`, "rba" for most.
        use_bias: whether routed capsules have a bias. Default True.
        skip_distance: k of `residual_stack`, or None for no residual connections. Default None.
        use_reconstruction: whether there is a decoder. Default: as `published`, True for most.
        mask: "none": the decoder sees all class capsules; "label": only the label's. Default
            "none".
        kernel_initializer: of all votes. Default None: `tfcaps.initializers.LengthPreserving`,
            with the routing's `vote_gain`, but at most 0.1 for class capsules above long ones:
            other routed ones, or primary capsules with `has_long_primaries`.
        dtype: Keras dtype policy of the layers. Default: the global one.
        name: Default: that of the class.
        skip_kind: what a residual connection adds to the lower layer's output. Default "gated": a
            learnt part of the upper layer's, 0.2 at first. "published": all of it, and the lower
            layer's output is that before its own addition.
        **own: arguments that only the subclass has, already checked; `connect` gets them, too.

    Raises:
        ValueError: an argument is out of its range, the images are too small, or a network with
            `mask="label"` is trained without labels.
    """

    smallest_image = 1
    has_long_primaries: ClassVar[bool] = False
    published: ClassVar[Mapping[str, Any]] = COMMON

    def __init__(
        self,
        input_shape,
        layers=None,
        dimensions=None,
        routing=None,
        use_bias=True,
        skip_distance=None,
        use_reconstruction=None,
        mask="none",
        kernel_initializer=None,
        dtype=None,
        name=None,
        skip_kind="gated",
        **own,
    ):
        if mask not in MASKS:
            raise UsageError(f"Expected mask to be one of {', '.join(MASKS)}. Received: {mask!r}")
        layers, dimensions = check_sizes(
            self.published["layers"] if layers is None else layers,
            self.published["dimensions"] if dimensions is None else dimensions,
        )
        if routing is None:
            prior = {"use_prior": True} if self.published["use_prior"] else {}
            routing = {"name": self.published["routing"], **prior}
        if use_reconstruction is None:
            use_reconstruction = self.published["use_reconstruction"]
        config = {
            "input_shape": check_image_size(input_shape, self.smallest_image),
            "layers": layers,
            "dimensions": dimensions,
            "routing": routings.serialize(routings.get(routing)),
            "use_bias": use_bias,
            "skip_distance": check_skip_distance(skip_distance),
            "skip_kind": check_skip_kind(skip_kind),
            "use_reconstruction": use_reconstruction,
            "mask": mask,
            "kernel_initializer": _configuration(kernel_initializer),
            "dtype": keras.dtype_policies.get(dtype or keras.config.dtype_policy()).name,
        }
        images = keras.Input(config["input_shape"], name="image")
        taps = self.connect(
            images,
            layers,
            dimensions,
            skips=skip_distance and Skips(skip_distance, skip_kind),
            dtype=config["dtype"],
            routed=functools.partial(_routed, config, self.has_long_primaries),
            **own,
        )
        inputs, outputs = _ends(images, taps[-1].capsules, config)
        super().__init__(inputs=inputs, outputs=outputs, name=name)
        self._config = {**config, **own, "name": self.name}
        self._taps = _Taps(images, taps)

    image_shape = argument("input_shape", "`(H, W, C)` of the images.")
    capsules = argument("layers", "Capsules per layer; `layers` are Keras' own.")
    dimensions = argument("dimensions", "Capsule dimension per layer.")
    routing = argument("routing", "The routing's configuration, as `routing.get` takes it.")
    use_bias = argument("use_bias", "Whether routed capsules have a bias.")
    skip_distance = argument("skip_distance", "k of the residual connections, or None.")
    skip_kind = argument("skip_kind", '"gated" or "published".')
    use_reconstruction = argument("use_reconstruction", "Whether there is a decoder.")
    mask = argument("mask", "What the decoder sees.")
    kernel_initializer = argument("kernel_initializer", "Its configuration, or None.")

    @staticmethod
    def connect(images, layers, dimensions, *, skips, dtype, routed, **own):
        """Builds the capsule layers.

        Args:
            images: symbolic images.
            layers: capsules per layer.
            dimensions: capsule dimension per layer.
            skips: residual connections, as `residual_stack` takes them.
            dtype: dtype policy, for layers that aren't routed.
            routed: `routed(layer classes, capsules, dimensions)` makes the layers that are, from
                the lowest to the class capsules, with the network's routing, bias and dtype policy.
            **own: the arguments that only the subclass has.

        Returns:
            The capsule layers' `Tap`s, from the lowest to the class capsules (B, K, E).
        """
        raise NotImplementedError("A capsule network has to define `connect`.")

    def __call__(self, inputs, *args, **kwargs):
        is_labelled = isinstance(inputs, (list, tuple)) or "label" in self._by_name(inputs)
        if self._sees_label and not is_labelled:
            if kwargs.get("training"):
                raise UsageError(
                    "Expected a dict of image and label, as mask='label' wants in training. "
                    "Received: no label"
                )
            inputs = self._with_unknown_labels(self._by_name(inputs)["image"])
        return super().__call__(inputs, *args, **kwargs)

    @property
    def _sees_label(self) -> bool:
        return self.use_reconstruction and self.mask == "label"

    @staticmethod
    def _by_name(inputs) -> dict:
        return inputs if isinstance(inputs, dict) else {"image": inputs}

    def _with_unknown_labels(self, images):
        # Of images of any number, in NumPy, in a graph and symbolic.
        images = ops.convert_to_tensor(images)
        each = ops.sum(ops.zeros_like(images), axis=tuple(range(1, len(images.shape))))
        return {"image": images, "label": each[:, None] + ops.zeros(self.capsules[-1], each.dtype)}

    # Cached: saving a model looks at each of its attributes, these among them.

    @functools.cached_property
    def classifier(self) -> keras.Model:
        """Model from images `(B, H, W, C)` to lengths `(B, K)`."""
        return ImageModel(self._taps.images, self.output["lengths"], name="classifier")

    @property
    def decoder(self) -> keras.Model | None:
        """Model from class capsules `(B, K, E)` to images, or None."""
        return self.get_layer("decoder") if self.use_reconstruction else None

    @functools.cached_property
    def reconstructor(self) -> keras.Model | None:
        """Model from images to reconstructions, `(B, H, W, C)` both, or None without a decoder.

        No label is wanted: with `mask="label"` the longest class capsule is decoded.
        """
        if self.decoder is None:
            return None
        shown = self._taps.taps[-1].capsules
        if self._sees_label:
            shown = CapsuleMask(dtype=self._config["dtype"], name="mask")(shown)
        return ImageModel(self._taps.images, self.decoder(shown), name="reconstructor")

    @functools.cached_property
    def inspector(self) -> keras.Model:
        """Model from images to `{"capsules": {layer: …}, "couplings": {layer: …}}`."""
        taps = self._taps.taps
        outputs = {
            "capsules": {tap.name: tap.capsules for tap in taps},
            "couplings": {tap.name: tap.coupling for tap in taps if tap.coupling is not None},
        }
        return ImageModel(self._taps.images, outputs, name="inspector")

    def get_config(self):
        return dict(self._config)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        # Before there was another kind of connection, it wasn't written down.
        return cls(**{"skip_kind": "published", **config})


def _configuration(initializer):
    """A configuration of an initializer; None and what is one stay so."""
    if initializer is None or isinstance(initializer, dict):
        return initializer
    return keras.initializers.serialize(keras.initializers.get(initializer))


def _routed(config, has_long_inputs, kinds, layers, dimensions):
    """Capsule layers, each with a routing and an initializer of its own."""
    shortened = {len(kinds)} if has_long_inputs or len(kinds) > 1 else set()
    return [
        kind(
            capsules,
            dim,
            routing=_routing(config, is_hidden=index < len(kinds)),
            use_bias=config["use_bias"],
            kernel_initializer=_vote_initializer(config, begins_short=index in shortened),
            dtype=config["dtype"],
            name=f"capsules_{index}",
        )
        for index, (kind, capsules, dim) in enumerate(
            zip(kinds, layers, dimensions, strict=True), start=1
        )
    ]


def _routing(config, *, is_hidden):
    found = routings.get(config["routing"])
    return found.of_hidden_capsules() if is_hidden else found


def _vote_initializer(config, *, begins_short):
    """What a layer's votes are drawn from; None: the layer's own."""
    if config["kernel_initializer"]:
        return keras.initializers.get(config["kernel_initializer"])
    if begins_short:
        return LengthPreserving(min(routings.get(config["routing"]).vote_gain, CLASS_GAIN))
    return None


def _ends(images, class_capsules, config):
    """The inputs and outputs of the model."""
    # float32 under mixed precision, as every score is.
    lengths = CapsuleLength(dtype="float32", name="lengths")(class_capsules)
    if not config["use_reconstruction"]:
        return images, {"lengths": lengths}
    inputs, shown = images, class_capsules
    if config["mask"] == "label":
        label = keras.Input(lengths.shape[1:], name="label")
        inputs = {"image": images, "label": label}
        shown = CapsuleMask(dtype=config["dtype"], name="mask")(class_capsules, label=label)
    draw = decoder(class_capsules.shape[1:], images.shape[1:], dtype=config["dtype"])
    return inputs, {"lengths": lengths, "reconstruction": draw(shown)}


class _Taps:
    """Symbolic tensors inside a network, in a box that Keras doesn't track and wrap."""

    def __init__(self, images, taps):
        self.images = images
        self.taps = taps
