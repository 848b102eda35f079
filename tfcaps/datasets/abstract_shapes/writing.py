"""Abstract tasks as folders of pictures, and as TFRecord."""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfcaps import files
from tfcaps.datasets.abstract_shapes.generator import (
    CLASS_NAMES,
    DEFAULT_SIZE,
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


class _Part(NamedTuple):
    """Some images of a split, which begin with number `start`, and the name of their files."""

    split: str
    name: str
    start: int
    scene: Scene


def write_pictures(
    task: str,
    folder: str | os.PathLike,
    counts: Mapping[str, int],
    *,
    seed: int = 0,
    size: int = DEFAULT_SIZE,
    rendering: str = DEFAULT_RENDERING,
    shapes: int | None = None,
) -> pathlib.Path:
    """Writes PNG files, FOLDER/SPLIT/with/NUMBER.png and …/without/….

    With the splits `train` and `test`, `--dataset=images:FOLDER` reads it. Beside the
    pictures, SPLIT-00000-of-00010.npz has the geometry of 1,024 each: the arrays of `Layout`
    (`Patterns`, `Board`). The folder comes into being when all is written; where this set is there
    already, nothing is done.

    Args:
        task: one of `names()`.
        folder: where to; `~` is the home folder.
        counts: of images, by split.
        seed: as for `generate`.
        size: as for `generate`.
        rendering: as for `generate`.
        shapes: as for `generate`.

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

    def write(new: pathlib.Path, part: _Part) -> None:
        for name in CLASS_NAMES:
            (new / part.split / name).mkdir(parents=True, exist_ok=True)
        images = part.scene.render(rendering)
        for number, (image, label) in enumerate(
            zip(images, part.scene.labels, strict=True), part.start
        ):
            path = new / part.split / CLASS_NAMES[label] / f"{number:08d}.png"
            path.write_bytes(tf.io.encode_png(image).numpy())
        arrays = {name: getattr(part.scene, name) for name in _arrays(part.scene)}
        np.savez_compressed(new / f"{part.name}.npz", allow_pickle=False, size=size, **arrays)

    options = {"seed": seed, "size": size, "rendering": rendering, "shapes": shapes}
    return _written("pictures", task, folder, counts, options, write)


def write_records(
    task: str,
    folder: str | os.PathLike,
    counts: Mapping[str, int],
    *,
    seed: int = 0,
    size: int = DEFAULT_SIZE,
    rendering: str = DEFAULT_RENDERING,
    shapes: int | None = None,
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

    def write(new: pathlib.Path, part: _Part) -> None:
        with tf.io.TFRecordWriter(str(new / f"{part.name}.tfrecord")) as writer:
            for row, image in enumerate(part.scene.render(rendering)):
                writer.write(_record(part.scene, row, image, part.start + row))

    options = {"seed": seed, "size": size, "rendering": rendering, "shapes": shapes}
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
        check_options(task, split, options["size"], options["rendering"], shapes=options["shapes"])
    # Sets of a task's own number of shapes don't name it, and didn't before there was a choice.
    said = {name: value for name, value in options.items() if value is not None}
    description = {"form": form, "task": task, **said, "counts": counts}
    with _new_set(path, description) as new:
        if new:
            for part in _parts(task, counts, options):
                write(new, part)
    return path


def _parts(task: str, counts: Mapping[str, int], options: dict[str, Any]) -> Iterator[_Part]:
    drawn = {name: options[name] for name in ("seed", "size", "shapes")}
    for split, count in counts.items():
        shards = range(0, count, _SHARD)
        for shard, start in enumerate(shards):
            numbers = np.arange(start, min(start + _SHARD, count))
            scene = layouts(task, numbers, split=split, **drawn)
            yield _Part(split, f"{split}-{shard:05d}-of-{len(shards):05d}", start, scene)


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
