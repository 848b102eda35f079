"""A pretrained vision transformer with a head for classes."""

import keras

from tfcaps.errors import UsageError, positive_int
from tfcaps.models.arguments import argument
from tfcaps.models.image_classifier import ImageClassifier, policy_name
from tfcaps.models.pretrained import HEAD_DEVIATION, keras_hub

_MAX_PIXEL = 255.0


@keras.saving.register_keras_serializable(package="tfcaps")
class ViTClassifier(ImageClassifier):
    """An encoder below dropout and a dense layer: images in [0, 1] to logits `(B, K)`.

    The head sees the vector of the class token, or, of an encoder without one, the mean of all.

    Args:
        backbone: a ViT of KerasHub, for images `(H, W, C)`, see `VisionEncoder`.
        num_classes: K.
        channels: of the images: C, or 1, which are then repeated. Default 3.
        scale: what a pixel, 0 to 255, is multiplied by before the encoder sees it; a number, or
            one for each channel. Default 1 / 255.
        offset: what is added then, the same. Default 0.
        dropout: rate before the dense layer. Default 0.1.
        dtype: Keras dtype policy of the head. Default: the global one. Logits are float32.
        name: Default: that of the class.

    Raises:
        ValueError: an argument is out of its range, or the encoder sees other channels.

    Source: Dosovitskiy et al., An image is worth 16x16 words, arXiv 2010.11929.
    """

    backbone = argument("backbone", "The encoder.")
    channels = argument("channels", "C of the images.")
    scale = argument("scale", "What a pixel is multiplied by.")
    offset = argument("offset", "What is added then.")
    dropout = argument("dropout", "Rate before the dense layer.")

    def __init__(
        self,
        backbone,
        num_classes,
        channels=3,
        scale=1 / _MAX_PIXEL,
        offset=0.0,
        dropout=0.1,
        dtype=None,
        name=None,
    ):
        classes, dtype = positive_int("num_classes", num_classes), policy_name(dtype)
        height, width, seen = backbone.input.shape[1:]
        if channels not in (1, seen):
            allowed = " or ".join(map(str, sorted({1, seen})))
            raise UsageError(f"Expected images of {allowed} channels. Received: {channels}")
        images = keras.Input((height, width, channels), name="image")
        x = images
        if channels < seen:
            x = keras.layers.Concatenate(dtype=dtype, name="grey")([x] * seen)
        factor = [_MAX_PIXEL * s for s in scale] if _is_list(scale) else _MAX_PIXEL * scale
        x = keras.layers.Rescaling(factor, offset, dtype=dtype, name="pixels")(x)
        vectors = backbone(x)
        if backbone.use_class_token:
            x = vectors[:, 0]
        else:
            x = keras.layers.GlobalAveragePooling1D(dtype=dtype, name="mean")(vectors)
        x = keras.layers.Dropout(dropout, dtype=dtype, name="dropout")(x)
        logits = keras.layers.Dense(
            classes,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=HEAD_DEVIATION),
            dtype="float32",
            name="logits",
        )(x)
        config = {
            "backbone": backbone,
            "num_classes": classes,
            "channels": channels,
            "scale": list(scale) if _is_list(scale) else scale,
            "offset": list(offset) if _is_list(offset) else offset,
            "dropout": dropout,
            "dtype": dtype,
        }
        super().__init__(images, logits, config, name)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(H, W, C)` of the images."""
        return tuple(self.input.shape[1:])

    def get_config(self):
        backbone = keras.saving.serialize_keras_object(self.backbone)
        return {**super().get_config(), "backbone": backbone}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        keras_hub()  # Keras knows its classes once they are imported
        backbone = keras.saving.deserialize_keras_object(config["backbone"], custom_objects)
        return cls(**{**config, "backbone": backbone})


def _is_list(value) -> bool:
    return isinstance(value, (list, tuple))
