"""What every capsule network offers, whatever its capsule layers are."""

import keras

from tfcaps.errors import UsageError
from tfcaps.layers import CapsuleLength, CapsuleMask
from tfcaps.models.decoder import decoder

MASKS = ("none", "label")


class CapsuleNetwork(keras.Model):
    """Base class: class capsules on top of a network, their lengths, and a decoder.

    The outputs are a dict: `lengths` (B, K), the class scores, and, with `use_reconstruction`,
    `reconstruction` (B, H, W, C). With `mask="label"` the input is a dict, `image` (B, H, W, C)
    and `label` (B, K): one-hot labels in training, zeros where they aren't known.

    Args:
        images: `keras.Input` of the images.
        taps: the capsule layers' `Tap`s, from the lowest to the class capsules (B, K, E).
        use_reconstruction: whether there is a decoder.
        mask: "none": the decoder sees all class capsules; "label": only the label's.
        dtype: Keras dtype policy of the layers.
        name: of the model.
    """

    def __init__(self, images, taps, *, use_reconstruction, mask, dtype, name):
        if mask not in MASKS:
            raise UsageError(f"Expected mask to be one of {', '.join(MASKS)}. Received: {mask!r}")
        inputs = images
        class_capsules = taps[-1].capsules
        # float32 under mixed precision, as every score is.
        outputs = {"lengths": CapsuleLength(dtype="float32", name="lengths")(class_capsules)}
        if use_reconstruction:
            shown = class_capsules
            if mask == "label":
                label = keras.Input(outputs["lengths"].shape[1:], name="label")
                inputs = {"image": images, "label": label}
                shown = CapsuleMask(dtype=dtype, name="mask")(class_capsules, label=label)
            draw = decoder(class_capsules.shape[1:], images.shape[1:], dtype=dtype)
            outputs["reconstruction"] = draw(shown)
        super().__init__(inputs=inputs, outputs=outputs, name=name)
        self.use_reconstruction = use_reconstruction
        self.mask = mask
        self._taps = _Taps(images, taps)

    @property
    def classifier(self) -> keras.Model:
        """Model from images `(B, H, W, C)` to lengths `(B, K)`."""
        return keras.Model(self._taps.images, self.output["lengths"], name="classifier")

    @property
    def decoder(self) -> keras.Model | None:
        """Model from class capsules `(B, K, E)` to images, or None."""
        return self.get_layer("decoder") if self.use_reconstruction else None

    @property
    def inspector(self) -> keras.Model:
        """Model from images to `{"capsules": {layer: …}, "couplings": {layer: …}}`."""
        taps = self._taps.taps
        outputs = {
            "capsules": {tap.name: tap.capsules for tap in taps},
            "couplings": {tap.name: tap.coupling for tap in taps if tap.coupling is not None},
        }
        return keras.Model(self._taps.images, outputs, name="inspector")

    def get_config(self):
        return dict(self._config)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


class _Taps:
    """Symbolic tensors inside a network, in a box that Keras doesn't track and wrap."""

    def __init__(self, images, taps):
        self.images = images
        self.taps = taps
