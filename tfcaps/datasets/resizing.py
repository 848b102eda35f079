"""One way to resize, for stored images, augmentation and served models alike."""

import numpy as np
import tensorflow as tf

from tfcaps.options import Size

# float32 copies are four times as large as the images: so many are resized at a time.
_CHUNK = 1024


def sides(size: Size) -> tuple[int, int]:
    """Height and width of a size.

    >>> sides(28), sides((40, 60))
    ((28, 28), (40, 60))
    """
    if isinstance(size, (tuple, list)):
        height, width = size
        return height, width
    return size, size


def resize(images: tf.Tensor, size: Size) -> tf.Tensor:
    """Stretches images, bilinear, with low-pass filtering where they shrink.

    Args:
        images: uint8 or float, (H, W, C) or (B, H, W, C).
        size: The new height and width, in pixels, or one number for both.

    Returns:
        float32, (h, w, C) or (B, h, w, C), in the input's range of values; exactly the input where
        it has that size already.
    """
    return tf.image.resize(images, sides(size), antialias=True)


def resize_uint8(image: tf.Tensor, size: Size) -> tf.Tensor:
    """The same, rounded to uint8."""
    return tf.saturate_cast(tf.round(resize(image, size)), tf.uint8)


def resize_all(images: np.ndarray, size: Size) -> np.ndarray:
    """Resizes uint8 images (N, H, W, C), however many."""
    if images.shape[1:3] == sides(size):
        return images
    chunks = (images[start : start + _CHUNK] for start in range(0, len(images), _CHUNK))
    return np.concatenate([resize_uint8(chunk, size).numpy() for chunk in chunks])
