"""A trained classifier as a SavedModel version folder, the form that TF Serving loads."""

import functools
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tfcaps
from tfcaps import files, pictures
from tfcaps.convolution import for_any_server
from tfcaps.errors import UsageError
from tfcaps.ops import without_compilation

# What libpng can be asked for: grey, RGB, RGBA (a JPEG has no alpha: grey and RGB only).
_DECODABLE_CHANNELS = (1, 3, 4)
# How a client calls the one text, or the two.
_TEXTS = ("text", "text_pair")
_MAX_VERSION = 2**63 - 1  # a server's numbers have 64 bits
# Beside the model; a server reads the requests, and nobody but people and programs the description.
_EXTRA = "assets.extra"
_WARM_UP = "tf_serving_warmup_requests"
_DESCRIPTION = "description.json"


class _ServingModule(tf.Module):
    """Base class of what is saved: inputs as a client has them, class scores out."""

    def __init__(
        self, classifier: keras.Model, preprocess: Callable[..., Any], class_names: Sequence[str]
    ) -> None:
        super().__init__()
        self._classifier = functools.partial(classifier, training=False)
        self._preprocess = preprocess
        self.class_names = tuple(class_names)
        # Only tracked variables are saved; the model's Python side has no use in a server.
        self.model_variables = [variable.value for variable in classifier.variables]

    def _answer(self, scores: tf.Tensor) -> dict[str, tf.Tensor]:
        """Scores with the class of the highest one."""
        class_id = tf.argmax(scores, axis=1, output_type=tf.int64)
        label = tf.gather(tf.constant(self.class_names), class_id)
        return {"scores": scores, "label": label, "class_id": class_id}


class _TextModule(_ServingModule):
    """Strings in, class scores or numbers out; what `export_text_model` saves."""

    def __init__(
        self,
        classifier: keras.Model,
        *,
        preprocess: Callable[..., dict[str, tf.Tensor]],
        tracked: Any,
        texts: int,
        class_names: Sequence[str],
    ) -> None:
        super().__init__(classifier, preprocess, class_names)
        self._names = _TEXTS[:texts]
        self.shape = {"texts": texts}
        self.tokenizer = tracked  # its tables are saved

    def requests(self) -> dict[str, dict[str, np.ndarray]]:
        """An example of the signature's inputs, by name."""
        texts = {name: np.array([b"A text."], object) for name in self._names}
        return {"serving_default": texts}

    def signatures(self) -> dict[str, Any]:
        """The entry point, traced for every batch size, by its name."""
        specs = [tf.TensorSpec((None,), tf.string, name=name) for name in self._names]
        return {"serving_default": tf.function(self._classify).get_concrete_function(*specs)}

    def _classify(self, *texts: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = tf.cast(self._classifier(self._preprocess(*texts)), tf.float32)
        return self._answer(outputs) if self.class_names else {"score": outputs[:, 0]}


class _ImageModule(_ServingModule):
    """Raw pixels or image files in, class scores out; what `export_model` saves."""

    def __init__(
        self,
        classifier: keras.Model,
        *,
        preprocess: Callable[[tf.Tensor], tf.Tensor],
        image_shape: tuple[int, int, int],
        class_names: Sequence[str],
    ) -> None:
        super().__init__(classifier, preprocess, class_names)
        self._image_shape = image_shape
        self.shape = {"image_shape": list(image_shape)}

    def requests(self) -> dict[str, dict[str, np.ndarray]]:
        """An example of each signature's inputs, by name."""
        image = np.zeros(self._image_shape, np.uint8)
        png = tf.io.encode_png(image).numpy()
        return {
            "serving_default": {"images": image[np.newaxis]},
            "serving_bytes": {"image_bytes": np.array([png], object)},
        }

    def signatures(self) -> dict[str, Any]:
        """The two entry points, traced for every batch size, by their names."""
        images = tf.TensorSpec((None, *self._image_shape), tf.uint8, name="images")
        image_bytes = tf.TensorSpec((None,), tf.string, name="image_bytes")
        return {
            "serving_default": tf.function(self._classify).get_concrete_function(images),
            "serving_bytes": tf.function(self._classify_bytes).get_concrete_function(image_bytes),
        }

    def _classify(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        count = tf.shape(images)[0]
        # oneDNN's convolution leaves an empty batch in its input's shape: one image is added then.
        filler = tf.zeros((tf.cast(count == 0, tf.int32), *self._image_shape), tf.uint8)
        inputs = self._preprocess(tf.concat([images, filler], axis=0))
        return self._answer(tf.cast(self._classifier(inputs), tf.float32)[:count])

    def _classify_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        images = tf.map_fn(
            self._decode,
            image_bytes,
            fn_output_signature=tf.TensorSpec(self._image_shape, tf.uint8),
        )
        return self._classify(images)

    def _decode(self, data: tf.Tensor) -> tf.Tensor:
        """One picture file as uint8 pixels of the model's raw image shape."""
        height, width, channels = self._image_shape
        if channels == 4:
            image = tf.io.decode_png(data, channels=channels)  # the one that has transparency
        else:
            image = pictures.with_channels(pictures.decode(data), channels)
        # Exact where the size is right already: the filter's weight is then 1 on its own pixel.
        image = tf.image.resize(image, (height, width), antialias=True)
        image = tf.saturate_cast(tf.round(image), tf.uint8)
        return tf.ensure_shape(image, self._image_shape)


def export_model(
    classifier: keras.Model,
    directory: str | os.PathLike,
    *,
    preprocess: Callable[[tf.Tensor], tf.Tensor],
    image_shape: tuple[int, int, int],
    class_names: Sequence[str],
    version: int | None = None,
    description: Mapping[str, Any] | None = None,
) -> pathlib.Path:
    """Writes a classifier as `directory/<version>/`, which TF Serving loads as it stands.

    The folder holds the preprocessing too, so a client sends the pixels or the image file that it
    has. There are two signatures, both for any batch size, with the outputs `scores` (float32,
    (B, K)), `label` (string, (B,)) and `class_id` (int64, (B,)):

    - `serving_default` takes `images`: uint8, (B, H, W, C).
    - `serving_bytes` takes `image_bytes`: string, (B,), a PNG, JPEG, BMP or GIF file each, which
      is read as in a training, see `tfcaps.pictures`. An image of another size is resized to
      (H, W), and one with other channels gets C of them; 4 are those of a PNG.

    `assets.extra/` has `tf_serving_warmup_requests`, one request to each signature that a server
    makes before it says that it is ready, and `description.json`, see `read_description`.

    The folder appears under its name when it is complete, and never replaces one that is there.
    What a process that was killed was about to write is removed.

    Args:
        classifier: Maps float images (B, h, w, C) to class scores (B, K).
        directory: The model's folder, with one subfolder a version; made when it is not there.
        preprocess: Maps uint8 images (B, H, W, C) to the classifier's input; TensorFlow operations
            only, since it becomes part of the graph.
        image_shape: (H, W, C) of a raw image, in pixels; C is 1, 3 or 4.
        class_names: The K labels, in the order of the scores.
        version: The version's number, at least 1. The server takes the highest one. Defaults to
            one more than the highest number that is in `directory`.
        description: What else description.json says of the model. Defaults to None: nothing.

    Returns:
        The version folder's path.

    Raises:
        UsageError: The version is below 1, beyond 64 bits, or exists, the folder can't be written
            or another process writes an export there, the shape or the number of class names
            doesn't fit, or Keras runs on another backend than TensorFlow.

    Example:
    >>> import tempfile
    >>> import keras
    >>> import tensorflow as tf
    >>> from tfcaps.export import export_model
    >>> model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(),
    ...                           keras.layers.Dense(2)])
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     folder = export_model(model, directory, image_shape=(4, 4, 1),
    ...                           preprocess=lambda images: tf.cast(images, tf.float32) / 255.0,
    ...                           class_names=("cat", "dog"))
    ...     served = tf.saved_model.load(folder)
    ...     answer = served.signatures["serving_default"](tf.zeros((3, 4, 4, 1), tf.uint8))
    >>> folder.name, answer["scores"].shape
    ('1', TensorShape([3, 2]))
    """
    image_shape = tuple(image_shape)
    if len(image_shape) != 3 or min(image_shape) < 1 or image_shape[2] not in _DECODABLE_CHANNELS:
        raise UsageError(
            "Expected an image shape (height, width, channels) with positive sizes and 1, 3 or 4 "
            f"channels. Received: {image_shape}"
        )
    module = _ImageModule(
        classifier, preprocess=preprocess, image_shape=image_shape, class_names=class_names
    )
    return _export(module, directory, version, description)


def export_text_model(
    classifier: keras.Model,
    directory: str | os.PathLike,
    *,
    preprocess: Callable[..., dict[str, tf.Tensor]],
    tracked: Any,
    texts: int,
    class_names: Sequence[str],
    version: int | None = None,
    description: Mapping[str, Any] | None = None,
) -> pathlib.Path:
    """Writes a classifier of texts as `directory/<version>/`, as `export_model` does.

    The folder holds the tokenizer, too. The one signature, `serving_default`, takes `text`, and
    of pairs `text_pair`: strings, (B,). It gives `scores` (float32, (B, K)), `label` (string,
    (B,)) and `class_id` (int64, (B,)); of a model without classes just `score` (float32, (B,)).
    A server needs the operations of tensorflow-text, which TF Serving has.

    Args:
        classifier: Maps what `preprocess` gives to class scores (B, K), or numbers (B, 1).
        directory: See `export_model`.
        preprocess: Maps strings, one or two tensors (B,), to the classifier's input; TensorFlow
            operations only.
        tracked: What has the tables that `preprocess` looks up.
        texts: 1 or 2.
        class_names: The K labels, in the order of the scores; none: it gives a number.
        version: See `export_model`.
        description: See `export_model`.

    Returns:
        The version folder's path.

    Raises:
        UsageError: As `export_model`.
    """
    module = _TextModule(
        classifier,
        preprocess=preprocess,
        tracked=tracked,
        texts=texts,
        class_names=class_names,
    )
    return _export(module, directory, version, description)


def _export(
    module: _ImageModule | _TextModule,
    directory: str | os.PathLike,
    version: int | None,
    description: Mapping[str, Any] | None,
) -> pathlib.Path:
    """Writes a module as the next version."""
    if keras.backend.backend() != "tensorflow":
        raise UsageError(
            "Export needs the Keras backend tensorflow. "
            f"Received: KERAS_BACKEND={keras.backend.backend()}"
        )
    with without_compilation(), for_any_server():  # which need not have XLA
        signatures = module.signatures()
    outputs = signatures["serving_default"].structured_outputs
    classes = outputs["scores"].shape[-1] if "scores" in outputs else 0
    if classes != len(module.class_names):
        raise UsageError(
            f"Expected {classes} class names, one for each score. "
            f"Received: {len(module.class_names)}"
        )
    directory = pathlib.Path(directory)
    _check_version(version)
    described = {
        "class_names": list(module.class_names),
        **module.shape,
        "versions": {
            "tfcaps": tfcaps.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
        **(description or {}),
    }
    try:
        with (
            files.disk_errors(directory, tf.errors.OpError),
            files.WorkFolder(directory, files.EXPORT).locked(),
        ):
            files.remove_unfinished(directory)
            target = _version_folder(directory, version)
            # A server that watches the directory skips names that are no numbers.
            with files.whole_folder(target) as complete:
                # A server doesn't differentiate.
                options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
                tf.saved_model.save(module, complete, signatures=signatures, options=options)
                extra = complete / _EXTRA
                extra.mkdir()
                files.write_json(extra / _DESCRIPTION, described)
                _write_warm_up(extra / _WARM_UP, module.requests())
    except OSError as error:
        raise UsageError(f"Cannot write an export to {directory}: {error.strerror}.") from error
    return target


def read_description(folder: str | os.PathLike) -> dict[str, Any]:
    """What an export says of itself: `class_names`, `image_shape`, `versions`, and what was given.

    Args:
        folder: The version folder.

    Returns:
        The content of its description.json; {} without one that can be read.
    """
    content = files.read_json(pathlib.Path(folder, _EXTRA, _DESCRIPTION))
    return content if isinstance(content, dict) else {}


def descriptions(directory: str | os.PathLike) -> list[pathlib.Path]:
    """The files in which the versions below a folder say what they are."""
    return sorted(pathlib.Path(directory).glob(f"[0-9]*/{_EXTRA}/{_DESCRIPTION}"))


def _write_warm_up(path: pathlib.Path, requests: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """A record file of `tensorflow.serving.PredictionLog` with a request to each signature.

    Args:
        path: Where to.
        requests: Inputs by name, for each signature.
    """
    with files.replacing(path) as temporary, tf.io.TFRecordWriter(str(temporary)) as writer:
        for signature, inputs in requests.items():
            request = _message(1, _message(3, signature.encode()))  # model_spec.signature_name
            for name, value in inputs.items():
                tensor = tf.make_tensor_proto(value).SerializeToString()
                request += _message(2, _message(1, name.encode()) + _message(2, tensor))
            writer.write(_message(6, _message(1, request)))  # predict_log.request


def _message(field: int, content: bytes) -> bytes:
    """A field of protobuf's wire format whose value has a length: text, bytes, a message."""
    return bytes([field << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; all but the last have the highest bit set."""
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def _check_version(version: int | None) -> None:
    if version is not None and not 1 <= version <= _MAX_VERSION:
        raise UsageError(
            f"Expected an export version between 1 and {_MAX_VERSION}. Received: {version}"
        )


def _version_folder(directory: pathlib.Path, version: int | None) -> pathlib.Path:
    """The folder for a version that does not exist yet; None: one above the highest."""
    if version is None:
        taken = (int(path.name) for path in directory.iterdir() if path.name.isdecimal())
        version = max(taken, default=0) + 1
        _check_version(version)
    target = directory / str(version)
    if target.exists():
        raise UsageError(
            f"Expected a new export version. Received: {version}, but {target} exists already."
        )
    return target
