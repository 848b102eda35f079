"""Abstract tasks as folders of pictures, and as TFRecord."""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfcaps import files
from tfcaps.datasets.abstract_shapes.generator import (
    CLASS_NAMES,
    DEFAULT_SIZE,
    SPLITS,
    check_options,
    layouts,
)
from tfcaps.datasets.abstract_shapes.rendering import DEFAULT_RENDERING
from tfcaps.datasets.abstract_shapes.tasks import Scene
from tfcaps.errors import UsageError, positive_int

_DESCRIPTION = "set.json"
_SHARD = 1024
_FEATURES = {
    "image": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
}


def write_pictures(
    task: str,
    folder: str | os.PathLike,
    counts: Mapping[str, int],
    *,
    seed: int = 0,
    size: int = DEFAULT_SIZE,
    rendering: str = DEFAULT_RENDERING,
) -> pathlib.Path:
    """Writes PNG files, FOLDER/SPLIT/with/NUMBER.png and …/without/….

    With the splits `train` and `test`, `--dataset=images:FOLDER` reads it. Beside the pictures
    of a split, SPLIT.npz has their geometry: the arrays of `Layout` (`Patterns`, `Board`). The
    folder comes into being when all is written; where this set is there already, nothing is done.

    Args:
        task: one of `names()`.
        folder: where to; `~` is the home folder.
        counts: of images, by split.
        seed: as for `generate`.
        size: as for `generate`.
        rendering: as for `generate`.

    Returns:
        The folder.

    Raises:
        UsageError: as for `generate`, or the folder holds something else.

    Example:

    >>> from tfcaps.datasets import abstract_shapes
    >>> folder = abstract_shapes.write_pictures("svrt_1", "runs/svrt_1", {"train": 9, "test": 6})
    >>> len(list(folder.glob("*/*/*.png")))
    15
    """

    def write(new: pathlib.Path, split: str, parts: list[Scene]) -> None:
        for name in CLASS_NAMES:
            (new / split / name).mkdir(parents=True)
        number = 0
        for part in parts:
            for image, label in zip(part.render(rendering), part.labels, strict=True):
                path = new / split / CLASS_NAMES[label] / f"{number:08d}.png"
                path.write_bytes(tf.io.encode_png(image).numpy())
                number += 1
        arrays = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in _arrays(parts[0])
        }
        np.savez_compressed(new / f"{split}.npz", allow_pickle=False, size=size, **arrays)

    options = {"seed": seed, "size": size, "rendering": rendering}
    return _written("pictures", task, folder, counts, options, write)


def write_records(
    task: str,
    folder: str | os.PathLike,
    counts: Mapping[str, int],
    *,
    seed: int = 0,
    size: int = DEFAULT_SIZE,
    rendering: str = DEFAULT_RENDERING,
) -> pathlib.Path:
    """Writes TFRecord, FOLDER/SPLIT-00000-of-00010.tfrecord, 1,024 images a file.

    A record is a `tf.train.Example`: `image` (PNG), `label` and `number` (integers), and what else
    its scene is made of, `outlines` and `centres` of a `Layout`, as float32 in one row.
    `read_records` reads them. For arguments and errors see `write_pictures`.

    Returns:
        The folder.

    Raises:
        UsageError: as for `write_pictures`.
    """

    def write(new: pathlib.Path, split: str, parts: list[Scene]) -> None:
        for shard, part in enumerate(parts):
            path = new / f"{split}-{shard:05d}-of-{len(parts):05d}.tfrecord"
            with tf.io.TFRecordWriter(str(path)) as writer:
                for row, image in enumerate(part.render(rendering)):
                    writer.write(_record(part, row, image, shard * _SHARD + row))

    options = {"seed": seed, "size": size, "rendering": rendering}
    return _written("records", task, folder, counts, options, write)


def read_records(folder: str | os.PathLike, split: str) -> tf.data.Dataset:
    """Images uint8 (size, size, C) with their labels, as `write_records` has written them.

    Args:
        folder: the folder.
        split: which of its splits.

    Raises:
        UsageError: the folder has no such split.
    """
    pattern = f"{split}-*.tfrecord"
    paths = sorted(map(str, pathlib.Path(folder).expanduser().glob(pattern)))
    if not paths:
        raise UsageError(f"Expected a folder with {pattern}. Received: {folder}")

    def parsed(record):
        values = tf.io.parse_single_example(record, _FEATURES)
        return tf.io.decode_png(values["image"]), values["label"]

    return tf.data.TFRecordDataset(paths).map(parsed, num_parallel_calls=tf.data.AUTOTUNE)


def _arrays(scene: Scene) -> list[str]:
    return [field.name for field in dataclasses.fields(scene) if field.name != "size"]


def _record(part: Scene, row: int, image: np.ndarray, number: int) -> bytes:
    def integer(value):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[int(value)]))

    def numbers(values):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values.ravel()))

    encoded = tf.train.BytesList(value=[tf.io.encode_png(image).numpy()])
    features = {
        "image": tf.train.Feature(bytes_list=encoded),
        "label": integer(part.labels[row]),
        "number": integer(number),
        **{
            name: numbers(getattr(part, name)[row])
            for name in _arrays(part)
            if name not in ("labels", "keys")
        },
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString()


def _written(form: str, task, folder, counts, options: dict[str, Any], write) -> pathlib.Path:
    """Writes all splits, unless the folder has them."""
    path = pathlib.Path(folder).expanduser()
    if not counts:
        raise UsageError("Expected a number of images for a split. Received: none")
    counts = {
        split: positive_int(f"the number of images for {split}", count)
        for split, count in counts.items()
    }
    for split in counts:
        check_options(task, split, options["size"], options["rendering"], None)
    description = {"form": form, "task": task, **options, "counts": counts}
    with _new_set(path, description) as new:
        for split in SPLITS if new else ():
            if split in counts:
                parts = [
                    layouts(
                        task,
                        np.arange(start, min(start + _SHARD, counts[split])),
                        seed=options["seed"],
                        split=split,
                        size=options["size"],
                    )
                    for start in range(0, counts[split], _SHARD)
                ]
                write(new, split, parts)
    return path


@contextlib.contextmanager
def _new_set(path: pathlib.Path, description: dict[str, Any]) -> Iterator[pathlib.Path | None]:
    """Gives a folder to be filled, which becomes `path`; None where this set is there."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        there = _described(path)
        if there != description:
            held = there or "something else"
            raise UsageError(
                "Expected a new folder, or one that holds the same set. "
                f"Received: {path}, which holds {held}"
            )
        yield None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.whole_folder(path) as new:
        new.mkdir()
        yield new
        files.write_json(new / _DESCRIPTION, description)


def _described(path: pathlib.Path) -> Any:
    return files.read_json(path / _DESCRIPTION) if (path / _DESCRIPTION).is_file() else None
