"""What images are compared by: principal components of pixels, or a network's last features."""

import itertools
import os
import pathlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from tfcaps.errors import UsageError
from tfcaps.labeling.image_files import COMPARED
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
    if len(learned) < 2 or not learned.std():
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
    """What the last layer of a network that has weights gets, `(N, D)`, float32.

    Args:
        model: from images to scores. Of several branches to one output the last layer counts.
        inputs: as the model takes them, `(N, ...)`.

    Raises:
        UsageError: the model has one layer only, or takes other images.
    """
    inner = without_last_layer(model)
    shape = tuple(inner.inputs[0].shape[1:])
    if any(a not in (None, b) for a, b in zip(shape, inputs.shape[1:], strict=False)):
        raise UsageError(
            f"Expected images as the network takes them, {shape}. "
            f"Received images of the shape: {inputs.shape[1:]}"
        )
    found = inner.predict(inputs, batch_size=_BATCH, verbose=0)
    return np.asarray(found, np.float32).reshape(len(inputs), -1)


class Extractor:
    """What a network makes of images of any size, before its last layer.

    Args:
        path: a .keras file, whose network takes pixels in [0, 1]; or the folder of a run, whose
            network gets images as in its training.

    Raises:
        UsageError: the path is neither, or the network doesn't take one image.
    """

    def __init__(self, path: str | os.PathLike):
        if os.path.isdir(path):
            from tfcaps import training

            run = training.load_run(path)
            self._inner = without_last_layer(run.model.classifier)
            self._shape = run.image_shape
            self._prepared = lambda images: run.preprocessing.evaluate(images)[0]
        else:
            self._inner = without_last_layer(_loaded(path))
            self._shape = _image_shape(self._inner, path)
            self._prepared = lambda images: np.asarray(images, np.float32) / 255.0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images that it takes."""
        return self._shape[:2]

    def features(self, images: Iterable[np.ndarray]) -> np.ndarray:
        """Features `(N, D)`, float32, of images of its size, uint8, `(H, W, 3)` each."""
        from tfcaps import pictures

        left, found = iter(images), []
        while part := list(itertools.islice(left, _BATCH)):
            pixels = pictures.with_channels(np.stack(part), self._shape[2])
            values = self._inner.predict_on_batch(self._prepared(pixels))
            found.append(np.asarray(values, np.float32).reshape(len(part), -1))
        return np.concatenate(found)


def check(path: str | os.PathLike) -> None:
    """Checks that there is an `Extractor` for a path.

    Raises:
        UsageError: there is none.
    """
    Extractor(path)


def _loaded(path: str | os.PathLike) -> "keras.Model":
    import keras

    from tfcaps.training import checkpoints

    model = checkpoints.load(pathlib.Path(path), compile=False)
    if not isinstance(model, keras.Model):
        raise UsageError(f"Expected --features with a Keras model (.keras). Received: {path}")
    return model


def without_last_layer(model: "keras.Model") -> "keras.Model":
    """The network up to what its last layer gets that has weights.

    Raises:
        UsageError: the model has one layer only.
    """
    import keras

    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    if len(layers) < 2:
        raise UsageError(
            f"Expected a network with a layer before its last one. Received: {len(layers)} layers"
        )
    # What has no weights, as a softmax, only says the scores in another way.
    learned = [layer for layer in layers[1:] if layer.weights] or layers
    return keras.Model(model.inputs, learned[-1].input)


def _image_shape(model: "keras.Model", path: str | os.PathLike) -> tuple[int, int, int]:
    """What a model takes; where any size will do, that in which images are compared."""
    shapes = [tuple(each.shape[1:]) for each in model.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 3 or shapes[0][2] not in (1, 3):
        raise UsageError(
            "Expected --features with a network of one input, images (height, width, 1 or 3). "
            f"Received: {path}, whose inputs have the shapes {', '.join(map(str, shapes))}"
        )
    height, width, channels = shapes[0]
    return height or COMPARED, width or COMPARED, channels
