"""Data sets as tensorflow_datasets prepares them; it is imported when one is asked for."""

import contextlib
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import tensorflow as tf

from tfcaps.datasets import fingerprint
from tfcaps.datasets.resizing import resize_uint8
from tfcaps.datasets.split import Split
from tfcaps.errors import UsageError
from tfcaps.options import Size

_VERSION = re.compile(r"\d+\.\d+\.\d+")
# What TensorFlow adds to a message about the graph that failed.
_GRAPH_NAMES = re.compile(r"\{\{[^}]*\}\}|\[Op:.*")
_BATCH = 512
# tensorflow_datasets repeats a failing download for minutes; one question before it is enough.
_REACHABLE_TIMEOUT_S = 5
_REASON_LENGTH = 160


def read_prepared(
    name: str,
    *,
    data_dir: str | os.PathLike | None,
    image_size: Size | None,
    label: str = "label",
    test_split: str = "test",
) -> tuple[Split, Split, tuple[str, ...]]:
    """Reads a data set from a folder where it is prepared, and prepares it there if it isn't yet.

    Args:
        name: tensorflow_datasets' name for it, `mnist` or `imagenette/160px-v2`.
        data_dir: The folder that holds `mnist/3.0.1/`. None: `$TFDS_DATA_DIR`, and without that
            `~/tensorflow_datasets`.
        image_size: Height and width that the images are stretched to, in pixels, or one number for
            both. None: as they are.
        label: The feature that is the class.
        test_split: The split that is the test set.

    Returns:
        Training examples, test examples, (N, H, W, C), and the class names.

    Raises:
        UsageError: The folder doesn't exist, or the data set is neither there nor to be had.
    """
    folder = _folder(data_dir)
    if data_dir and not folder.is_dir():
        raise UsageError(
            "Expected --data_dir=FOLDER with the path of a folder that exists. "
            f"Received: {data_dir}, for the data set {name}"
        )
    with _no_log_messages(), warnings.catch_warnings():
        # tensorflow_datasets asks protobuf in a way that its newer versions warn of.
        warnings.simplefilter("ignore", DeprecationWarning)
        # Slow, and of no use to the other data sets.
        import tensorflow_datasets as tfds

        version = _prepared_version(folder / name)
        if version is None:
            version = _download(tfds, name, folder)
        try:
            builder = tfds.builder(name, data_dir=folder, version=version)
            train = _read_split(tfds, builder, "train", label, image_size)
            test = _read_split(tfds, builder, test_split, label, image_size)
        except (MemoryError, tf.errors.ResourceExhaustedError):
            raise  # the data are good
        except (PermissionError, tf.errors.PermissionDeniedError):
            raise UsageError(
                f"Cannot read the data set {name} in {folder / name / version}: Permission denied"
            ) from None
        except Exception as error:
            raise UsageError(
                f"Cannot read the data set {name}, {folder / name / version} is damaged "
                f"({_reason(error)}): delete this folder to have it prepared again, or "
                f"{_way_out(name, version)}"
            ) from error
    return train, test, tuple(builder.info.features[label].names)


def prepared_fingerprint(name: str, data_dir: str | os.PathLike | None) -> str:
    """What a prepared data set is known by again: version and files, see `fingerprint.of_files`."""
    root = _folder(data_dir) / name
    version = root / (_prepared_version(root) or "")
    return fingerprint.of_files(root, sorted(p for p in version.rglob("*") if p.is_file()))


def _folder(data_dir: str | os.PathLike | None) -> Path:
    """Where prepared data sets are."""
    folder = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(folder).expanduser()


def _prepared_version(folder: Path) -> str | None:
    """The newest version that is complete in a data set's folder."""
    found = [path.parent.name for path in folder.glob("*/dataset_info.json")]
    versions = filter(_VERSION.fullmatch, found)
    return max(versions, key=lambda version: [int(n) for n in version.split(".")], default=None)


def _download(tfds: ModuleType, name: str, folder: Path) -> str:
    """Downloads and prepares a data set; returns its version."""
    version = None
    try:
        builder = tfds.builder(name, data_dir=folder)
        version = str(builder.version)
        _check_reachable(next(iter(builder.url_infos)))
        # What it has to tell while it downloads is progress, no result.
        with contextlib.redirect_stdout(sys.stderr):
            builder.download_and_prepare()
    except Exception as error:
        raise UsageError(
            f"The data set {name} is not prepared in {folder} and cannot be downloaded "
            f"({_reason(error)}): {_way_out(name, version)}"
        ) from error
    return version


def _check_reachable(url: str) -> None:
    """Asks once, with a time limit, whether a file's server is there."""
    # The client that tensorflow_datasets uses, so proxies and certificates are the same.
    import requests

    host = urlsplit(url).hostname
    try:
        answer = requests.head(url, timeout=_REACHABLE_TIMEOUT_S)
    except requests.RequestException as error:
        raise ConnectionError(f"{host} cannot be reached") from error
    if answer.status_code >= 400:
        raise ConnectionError(f"{host} answers {answer.status_code} {answer.reason}")


def _read_split(
    tfds: ModuleType, builder: Any, split: str, label: str, image_size: Size | None
) -> Split:
    """All examples of one split, in the order in which they are stored."""
    decoders = tfds.decode.PartialDecoding({"image": True, label: True})
    examples = builder.as_dataset(split=split, shuffle_files=False, decoders=decoders)
    if image_size is not None:
        examples = examples.map(
            lambda example: example | {"image": resize_uint8(example["image"], image_size)}
        )
    count = builder.info.splits[split].num_examples
    images = np.empty((count, *examples.element_spec["image"].shape), np.uint8)
    labels = np.empty(count, np.int64)
    filled = 0
    for batch in examples.batch(_BATCH).as_numpy_iterator():
        end = filled + len(batch[label])
        images[filled:end], labels[filled:end] = batch["image"], batch[label]
        filled = end
    if not 0 < filled == count:
        raise ValueError(f"{filled} of {count} examples in {split}")
    return Split(images, labels)


def _way_out(name: str, version: str | None) -> str:
    version = version or "VERSION"
    return (
        f"pass --data_dir=FOLDER where FOLDER/{name}/{version} is that data set as "
        "tensorflow_datasets prepared it, or --dataset=mnist5k, which needs no download"
    )


def _reason(error: Exception) -> str:
    """The first line of an error's message, shortened."""
    lines = _GRAPH_NAMES.sub("", str(error)).strip().splitlines() or [type(error).__name__]
    return lines[0][:_REASON_LENGTH].rstrip(" .:")


@contextlib.contextmanager
def _no_log_messages() -> Iterator[None]:
    """Silences the loggers of tensorflow_datasets, absl and urllib3 for a while."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
