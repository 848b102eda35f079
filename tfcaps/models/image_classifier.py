"""What networks from images to logits have in common."""

import functools
from typing import Any

import keras

from tfcaps.errors import UsageError, positive_int
from tfcaps.models.arguments import argument
from tfcaps.models.image_model import ImageModel


class ImageClassifier(ImageModel):
    """Base class: a functional model from images `(B, H, W, C)` to logits `(B, K)`.

    A subclass checks its arguments, connects its layers, and ends its constructor with
    `super().__init__(images, logits, config, name)`.

    Args:
        images: symbolic images.
        logits: symbolic logits, of at least single precision.
        config: the constructor's arguments, as JSON can hold them.
        name: Default: that of the class.
    """

    def __init__(self, images, logits, config: dict[str, Any], name=None):
        super().__init__(inputs=images, outputs=logits, name=name)
        self._config = {**config, "name": self.name}

    image_shape = argument("input_shape", "`(H, W, C)` of the images.")
    num_classes = argument("num_classes", "K.")

    # Cached: saving a model looks at each of its attributes, these among them.
    @functools.cached_property
    def classifier(self) -> keras.Model:
        """Model from images `(B, H, W, C)` to class probabilities `(B, K)`."""
        scores = keras.layers.Softmax(dtype=self.output.dtype, name="scores")(self.output)
        return keras.Model(self.input, scores, name="classifier")

    def get_config(self):
        return dict(self._config)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


def check_image_shape(shape) -> tuple[int, int, int]:
    """Returns `(H, W, C)` as positive integers.

    Raises:
        UsageError: they are others, or not three.
    """
    if len(shape) != 3:
        raise UsageError(f"Expected images of shape (H, W, C). Received: {tuple(shape)}")
    height, width, channels = (positive_int("every size of an image", size) for size in shape)
    return height, width, channels


def policy_name(dtype) -> str:
    """The name of a dtype policy; None stands for the global one."""
    return keras.dtype_policies.get(dtype or keras.config.dtype_policy()).name
