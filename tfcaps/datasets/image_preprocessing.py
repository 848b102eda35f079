"""From a stored image to a network's input, in training and in use."""

import dataclasses
from typing import Any

import tensorflow as tf

from tfcaps.datasets.affine import random_affine, random_erasing
from tfcaps.datasets.resizing import resize
from tfcaps.errors import UsageError

_MAX_PIXEL = 255.0


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    r"""What happens to an image before a network sees it: the same in all programs.

    The steps, in this order: to [0, 1] as pixel / 255; `resize`; in training a rotation, zoom and
    squish, see `affine.random_affine`; `crop`, at a random place in training and in the centre
    otherwise, whereby training images may be moved over their border by `shift`; in training a
    horizontal flip of every second image, an offset drawn from U(-brightness, brightness), clipped
    to [0, 1], and a square that is erased, see `affine.random_erasing`. The result is `original`;
    the network's input `x` is the same or, with `standardize`,

        x = (original - mean) / max(std, 1/√n)   over the n values of one image.

    Args:
        resize: Height and width that the image is stretched to, in pixels. None: as it is.
        crop: Height and width of the part that is kept, in pixels. None: all.
        shift: How far training images are moved at most, each way, in pixels; zeros come in. It is
            the padding before a crop to the image's own size. Defaults to 0.
        flip: Whether training images are mirrored at random. Defaults to False.
        brightness: The largest change of brightness in training, 0 to 1. Defaults to 0.
        rotation: The largest angle in training, 0 to 180 degrees. Defaults to 0.
        zoom: The largest change of size in training, as a share in [0, 1). Defaults to 0.
        squish: The largest loss of width in training, as a share in [0, 1). Defaults to 0.
        erase: Side of the square that is erased in training, in pixels. Defaults to 0: none.
        standardize: Whether the input has mean 0 and variance 1 in each image. Defaults to False.

    Raises:
        UsageError: A value is out of its range, or an image is smaller than the crop.

    Example:

    >>> import numpy as np
    >>> from tfcaps.datasets import Preprocessing
    >>> crops = Preprocessing(crop=24, standardize=True)
    >>> crops.output_shape((28, 28, 1))
    (24, 24, 1)
    >>> x, original = crops.evaluate(np.full((5, 28, 28, 1), 51, np.uint8))
    >>> x.shape, f"{float(original[0, 0, 0, 0]):.1f}"
    (TensorShape([5, 24, 24, 1]), '0.2')

    Papers: arXiv 1905.08744, 2104.07393, 2011.02956 and 2101.12491 (which sets get which
    augmentation).
    """

    resize: int | None = None
    crop: int | None = None
    shift: int = 0
    flip: bool = False
    brightness: float = 0.0
    rotation: float = 0.0
    zoom: float = 0.0
    squish: float = 0.0
    erase: int = 0
    standardize: bool = False

    def __post_init__(self) -> None:
        for name in ("resize", "crop"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"Expected {name} >= 1 or None. Received: {value}")
        for name in ("shift", "erase"):
            if getattr(self, name) < 0:
                raise UsageError(f"Expected {name} >= 0. Received: {getattr(self, name)}")
        if not 0 <= self.rotation <= 180:
            raise UsageError(f"Expected rotation between 0 and 180. Received: {self.rotation}")
        for name in ("zoom", "squish"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"Expected {name} in [0, 1). Received: {getattr(self, name)}")
        if not 0 <= self.brightness <= 1:
            raise UsageError(f"Expected brightness between 0 and 1. Received: {self.brightness}")

    def output_shape(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The shape (h, w, C) of the result for raw images of shape (H, W, C).

        Raises:
            UsageError: The crop doesn't fit into the images.
        """
        height, width, channels = image_shape
        if self.resize is not None:
            height = width = self.resize
        if self.erase > min(height, width, self.crop or height):
            raise UsageError(
                f"Expected images of at least {self.erase}x{self.erase} pixels, the size of what "
                f"is erased. Received: {height}x{width}"
            )
        if self.crop is None:
            return height, width, channels
        if min(height, width) < self.crop:
            raise UsageError(
                f"Expected images of at least {self.crop}x{self.crop} pixels, the size of the "
                f"crops. Received: {height}x{width}"
            )
        return self.crop, self.crop, channels

    def augment(self, image: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """One training image, with random operations that depend on the seed only.

        Args:
            image: uint8, (H, W, C), of a static shape.
            seed: Two integers.

        Returns:
            The network's input and the image before standardisation, float32, (h, w, C).
        """
        height, width, _ = self.output_shape(tuple(image.shape))
        image = self._scale(image)
        if self.rotation or self.zoom or self.squish:
            image = random_affine(
                image, seed, rotation=self.rotation, zoom=self.zoom, squish=self.squish
            )
        image = tf.pad(image, [[self.shift] * 2, [self.shift] * 2, [0, 0]])
        # One draw for all operations: top, left, flip, brightness.
        draws = tf.random.stateless_uniform([4], seed, alg="philox")
        free = tf.shape(image)[:2] - (height, width)
        top, left = tf.unstack(tf.cast(draws[:2] * tf.cast(free + 1, tf.float32), tf.int32))
        image = tf.image.crop_to_bounding_box(image, top, left, height, width)
        if self.flip:
            image = tf.where(draws[2] < 0.5, tf.reverse(image, axis=[1]), image)
        if self.brightness:
            offset = self.brightness * (2.0 * draws[3] - 1.0)
            image = tf.clip_by_value(image + offset, 0.0, 1.0)
        if self.erase:
            image = random_erasing(image, seed, size=self.erase)
        return self.standardized(image), image

    def evaluate(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """A batch without any random operation: for validation, tests and exported models.

        Args:
            images: uint8, (B, H, W, C), B may be unknown.

        Returns:
            The network's inputs and the images before standardisation, float32, (B, h, w, C).
        """
        images = tf.convert_to_tensor(images)
        height, width, _ = self.output_shape(tuple(images.shape[1:]))
        images = self._scale(images)
        top, left = (images.shape[1] - height) // 2, (images.shape[2] - width) // 2
        images = images[:, top : top + height, left : left + width]
        return self.standardized(images), images

    def standardized(self, originals: tf.Tensor) -> tf.Tensor:
        """The last step alone: from images in [0, 1], cropped already, to the network's input.

        Args:
            originals: float32, (…, h, w, C).
        """
        return tf.image.per_image_standardization(originals) if self.standardize else originals

    def to_dict(self) -> dict[str, Any]:
        """The arguments, as JSON can hold them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, arguments: dict[str, Any]) -> "Preprocessing":
        """The inverse of `to_dict`.

        Raises:
            UsageError: these are no arguments of a preprocessing.
        """
        defaults = {field.name: field.default for field in dataclasses.fields(cls)}
        if all(name in defaults and _is_like(defaults[name], v) for name, v in arguments.items()):
            return cls(**arguments)
        raise UsageError(f"Expected arguments of a preprocessing. Received: {arguments}")

    def _scale(self, images: tf.Tensor) -> tf.Tensor:
        """To [0, 1] and resized; (H, W, C) or (B, H, W, C)."""
        images = tf.cast(images, tf.float32) / _MAX_PIXEL
        if self.resize is not None:
            # The filter's weights sum to 1 only up to rounding.
            images = tf.clip_by_value(resize(images, self.resize), 0.0, 1.0)
        return images


def _is_like(default: Any, value: Any) -> bool:
    """Whether a value can stand where this default does; None is that of what may be pixels."""
    if default is None:
        return value is None or type(value) is int
    if isinstance(default, float):
        return type(value) in (int, float)
    return type(value) is type(default)
