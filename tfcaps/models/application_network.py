"""Networks of `keras.applications` as classifiers of images in [0, 1]."""

import contextlib
import os
import pathlib
import sys
import warnings
from collections.abc import Callable, Iterator

import keras
from keras import ops

from tfcaps.errors import UsageError, positive_int
from tfcaps.models.arguments import argument
from tfcaps.models.image_classifier import ImageClassifier, check_image_shape, policy_name

_MAX_PIXEL = 255.0
_CHANNELS = 3  # what the pretrained networks have seen


@keras.saving.register_keras_serializable(package="tfcaps")
class ApplicationPixels(keras.layers.Layer):
    """Images in [0, 1] as a network of `keras.applications` has learnt to see them.

    Grey images get three equal channels; the rest is the network's own `preprocess_input`.

    Args:
        application: name of the network.

    Call arguments:
        images: `(B, H, W, 1)` or `(B, H, W, 3)`, in [0, 1].

    Returns:
        `(B, H, W, 3)`.

    Raises:
        ValueError: there is no such network, or images have another number of channels.

    Example:

    >>> import numpy as np
    >>> pixels = ApplicationPixels("MobileNetV2")(np.full((1, 2, 2, 1), 0.5, "float32"))
    >>> tuple(pixels.shape), float(pixels[0, 0, 0, 0])      # to [-1, 1]
    ((1, 2, 2, 3), 0.0)
    """

    def __init__(self, application, **kwargs):
        super().__init__(**kwargs)
        self.application = application
        self._preprocess = _module(application).preprocess_input

    def call(self, images):
        if images.shape[-1] == 1:
            images = ops.repeat(images, _CHANNELS, axis=-1)
        return self._preprocess(images * _MAX_PIXEL)

    def compute_output_shape(self, input_shape):
        if input_shape[-1] not in (1, _CHANNELS):
            raise UsageError(f"Expected images of 1 or 3 channels. Received: {input_shape[-1]}")
        return (*input_shape[:-1], _CHANNELS)

    def get_config(self):
        return {**super().get_config(), "application": self.application}


@keras.saving.register_keras_serializable(package="tfcaps")
class ApplicationNetwork(ImageClassifier):
    """Any network of `keras.applications` below a dense layer: images in [0, 1] to logits `(B, K)`.

    Args:
        input_shape: `(H, W, C)` of the images, C is 1 or 3.
        num_classes: K.
        application: name of the network, such as "MobileNetV2".
        dtype: Keras dtype policy of the layers. Default: the global one. Logits are float32.
        name: Default: that of the class.

    Raises:
        ValueError: an argument is out of its range, or the images are too small for the network.

    Example:

    >>> import numpy as np
    >>> model = ApplicationNetwork((32, 32, 1), 10, "MobileNetV2")
    >>> tuple(model(np.zeros((2, 32, 32, 1), "float32")).shape)
    (2, 10)

    Source: https://keras.io/api/applications, with the papers of the networks.
    """

    application = argument("application", "Name of the network.")

    def __init__(self, input_shape, num_classes, application, dtype=None, name=None):
        shape, dtype = check_image_shape(input_shape), policy_name(dtype)
        classes = positive_int("num_classes", num_classes)
        images = keras.Input(shape, name="image")
        pixels = ApplicationPixels(application, dtype=dtype, name="pixels")(images)
        features = _features(application, pixels, dtype)
        # Single precision before the classes, whatever the policy is.
        single = keras.layers.Activation("linear", dtype="float32", name="features")(features)
        logits = keras.layers.Dense(classes, dtype="float32", name="logits")(single)
        config = {
            "input_shape": shape,
            "num_classes": classes,
            "application": application,
            "dtype": dtype,
        }
        super().__init__(images, logits, config, name)
        self._ends = _Ends(pixels, features)

    # No property: saving a model looks at each of its attributes, and would save this one, too.
    def backbone(self) -> keras.Model:
        """The network without its classes, from pixels `(B, H, W, 3)` to features `(B, F)`."""
        return keras.Model(self._ends.pixels, self._ends.features, name="backbone")


class _Ends:
    """Symbolic tensors inside a network, in a box that Keras doesn't track."""

    def __init__(self, pixels, features):
        self.pixels = pixels
        self.features = features


def read_weights(model: ImageClassifier, path: str | os.PathLike) -> str:
    """Gives a network the weights of a file.

    The file is of the network as it is; or, for a network of `keras.applications`, of that one with
    or without its own classes, as they are published. Without fitting ones, classes stay as drawn.

    Args:
        model: gets the weights; they stay as they are if none fit.
        path: `.keras`, `.weights.h5`, or `.h5` as older versions of Keras wrote it.

    Returns:
        What was read, for people.

    Raises:
        UsageError: the file doesn't exist, can't be read, or is of another network.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise UsageError(f"Expected --weights to be a file. Received: {path}, which is none")
    read = _read_model if path.suffix == ".keras" else _read_arrays
    before = model.get_weights()
    for target, words in _targets(model):
        try:
            read(path, target())
            return words
        except MemoryError:
            raise
        except Exception:  # whatever zlib, HDF5, JSON and Keras make of foreign content
            # It may have come halfway.
            model.set_weights(before)
    raise UsageError(
        f"Expected --weights to be a file with weights of a {type(model).__name__} as asked for. "
        f"Received: {path}, which can't be read or is of another network"
    )


def _targets(
    model: ImageClassifier,
) -> Iterator[tuple[Callable[[], keras.Model], str]]:
    """What a file may be of; a target is made when it is its turn."""
    yield lambda: model, "all weights"
    if isinstance(model, ApplicationNetwork):
        yield model.backbone, "all weights but those of the classes"


def _read_model(path: pathlib.Path, target: keras.Model) -> None:
    source = keras.models.load_model(path, compile=False, safe_mode=True)
    if isinstance(source, ApplicationNetwork) and not isinstance(target, ImageClassifier):
        source = source.backbone()
    _assign(source, target)


def _read_arrays(path: pathlib.Path, target: keras.Model) -> None:
    with warnings.catch_warnings():
        # Keras warns of what it skips; here that is an error.
        warnings.simplefilter("error", UserWarning)
        target.load_weights(path)


def _assign(source: keras.Model, target: keras.Model) -> None:
    """Copies all weights, in their order; one too many, or another shape, is a ValueError."""
    pairs = list(zip(source.weights, target.weights, strict=True))
    if any(one.shape != two.shape for one, two in pairs):
        raise ValueError("The shapes differ.")
    for one, two in pairs:
        two.assign(one)


def _features(application: str, pixels: keras.KerasTensor, dtype: str) -> keras.KerasTensor:
    """Connects the network's own layers, without a model around them, to symbolic pixels."""
    with _policy(dtype):
        try:
            built = getattr(keras.applications, application)(
                include_top=False,
                weights=None,
                input_tensor=pixels,
                input_shape=tuple(pixels.shape[1:]),
                pooling="avg",
            )
        except ValueError as error:
            raise UsageError(
                f"Expected images that {application} can see. "
                f"Received: {pixels.shape[1]}×{pixels.shape[2]} pixels, of which Keras says: "
                f"{str(error).splitlines()[0].rstrip('.')}"
            ) from error
    return built.output


@contextlib.contextmanager
def _policy(dtype: str) -> Iterator[None]:
    """Keras' applications know the global policy only."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _module(application: str):
    """The module of a network, which has its `preprocess_input` beside it."""
    build = getattr(keras.applications, str(application), None)
    if not callable(build):
        raise UsageError(f"Expected a network of keras.applications. Received: {application!r}")
    return sys.modules[build.__module__]
