"""What images are compared by: principal components of pixels, or a network's last features."""

import os
from typing import TYPE_CHECKING

import numpy as np

from tfcaps.errors import UsageError
from tfcaps.labeling.threads import one_thread

if TYPE_CHECKING:
    import keras

_COMPONENTS = 50
_BATCH = 256
_LEARNED = 20_000  # images that components are learned from, at most


def pixel_features(images: np.ndarray, *, components: int = _COMPONENTS) -> np.ndarray:
    """Principal components of pixels in [0, 1], `(N, min(components, N, pixels))`, float32.

    Of more than 20,000 images they are learned from every second, third, … one.

    Args:
        images: uint8, `(N, H, W, C)`.
        components: how many. Default 50.

    Example:

    >>> pixel_features(np.zeros((3, 4, 4, 1), np.uint8), components=2).shape
    (3, 2)
    """
    from sklearn.decomposition import PCA

    count = min(components, len(images), int(np.prod(images.shape[1:])))
    # Of more than so many images these tell enough of what all have in common.
    learned = _flat(images[:: -(-len(images) // _LEARNED)])
    if not learned.std():
        return np.zeros((len(images), count), np.float32)
    fitted = PCA(count, svd_solver="randomized", random_state=0)
    with one_thread():
        fitted.fit(learned)
        parts = [
            fitted.transform(_flat(images[start : start + _LEARNED]))
            for start in range(0, len(images), _LEARNED)
        ]
    return np.concatenate(parts).astype(np.float32)


def _flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32) / 255.0


def network_features(model: "keras.Model", inputs: np.ndarray) -> np.ndarray:
    """What the last layer of a network gets for its scores, `(N, D)`, float32.

    Args:
        model: from images to scores. Of several branches to one output the last layer counts.
        inputs: as the model takes them, `(N, ...)`.

    Raises:
        UsageError: the model has one layer only, or takes other images.
    """
    import keras

    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    if len(layers) < 2:
        raise UsageError(
            f"Expected a network with a layer before its last one. Received: {len(layers)} layers"
        )
    inner = keras.Model(model.inputs, layers[-1].input)
    shape = tuple(inner.inputs[0].shape[1:])
    if any(a not in (None, b) for a, b in zip(shape, inputs.shape[1:], strict=False)):
        raise UsageError(
            f"Expected images as the network takes them, {shape}. "
            f"Received images of the shape: {inputs.shape[1:]}"
        )
    found = inner.predict(inputs, batch_size=_BATCH, verbose=0)
    return np.asarray(found, np.float32).reshape(len(inputs), -1)


def file_features(path: str | os.PathLike, images: np.ndarray) -> np.ndarray:
    """Features by any Keras model, for images of its size with pixels in [0, 1].

    Args:
        path: a .keras file.
        images: uint8, `(N, H, W, C)`.

    Raises:
        UsageError: the file can't be read, or its network takes other images.
    """
    import keras

    try:
        model = keras.models.load_model(path, compile=False)
    except (OSError, ValueError, TypeError):
        raise UsageError(
            f"Expected --features with a Keras model (.keras). Received: {path}"
        ) from None
    return network_features(model, images.astype(np.float32) / 255.0)
