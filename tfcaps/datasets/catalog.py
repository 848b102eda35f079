"""The table of data sets: where each one comes from and which augmentation the papers give it."""

import dataclasses
import math
import os
from collections.abc import Callable
from typing import NamedTuple

from tfcaps.datasets.abstract_shapes.generator import read_abstract
from tfcaps.datasets.bundled import mnist5k
from tfcaps.datasets.image_dataset import ImageDataset
from tfcaps.datasets.image_names import ABSTRACT, GIVEN, IMAGES, NAMES, check_name, own_name
from tfcaps.datasets.image_preprocessing import Preprocessing
from tfcaps.datasets.images import folder_fingerprint, read_folder
from tfcaps.datasets.prepared import prepared_fingerprint, read_prepared
from tfcaps.datasets.resizing import resize_all, sides
from tfcaps.datasets.sampling import check_choices, hold_out, subset
from tfcaps.datasets.split import Split
from tfcaps.errors import UsageError
from tfcaps.options import Size
from tfcaps.pictures import MAX_PIXELS

# Images of many sizes have to get one: pixels, for height and width.
_OWN_IMAGES_SIZE = 32
_IMAGENETTE_SIZE = 128
_IMAGENETTE = "imagenette/160px-v2"
# The stored names are WordNet numbers.
_IMAGENETTE_CLASSES = (
    "tench",
    "English springer",
    "cassette player",
    "chain saw",
    "church",
    "French horn",
    "garbage truck",
    "gas pump",
    "golf ball",
    "parachute",
)

_Parts = tuple[Split, Split, tuple[str, ...]]


class _Source(NamedTuple):
    """Where the examples of a data set come from.

    Args:
        read: (data_dir, image_size) → training examples, test examples, class names.
        fingerprint: data_dir → what they are known by again; None: that of the pixels.
    """

    read: Callable[[str | os.PathLike | None, Size | None], _Parts]
    fingerprint: Callable[[str | os.PathLike | None], str | None]


@dataclasses.dataclass(frozen=True)
class _Entry:
    """One data set.

    Args:
        source: where the examples come from.
        paper: The augmentation of arXiv 1905.08744 and 2104.07393, or what comes closest to it.
        blocks: The same for arXiv 2011.02956, with crops of the images' own size.
        efficient: That of arXiv 2101.12491, for the sets that it has one for.
    """

    source: _Source
    paper: Preprocessing
    blocks: Preprocessing
    efficient: Preprocessing | None = None

    @property
    def fast(self) -> Preprocessing:
        """What block networks learn from quickly: crops and flips, standardised."""
        shift = min(self.blocks.shift, _FAST_SHIFT)
        return dataclasses.replace(self.blocks, shift=shift, brightness=0.0, standardize=True)


def _read_mnist5k(data_dir: str | os.PathLike | None, image_size: Size | None) -> _Parts:
    del data_dir  # It comes with a package.
    train, test, class_names = mnist5k()
    if image_size is not None:
        train = Split(resize_all(train.images, image_size), train.labels)
        test = Split(resize_all(test.images, image_size), test.labels)
    return train, test, class_names


def _prepared(name: str, **features: str) -> _Source:
    return _Source(
        lambda data_dir, image_size: read_prepared(
            name, data_dir=data_dir, image_size=image_size, **features
        ),
        lambda data_dir: prepared_fingerprint(name, data_dir),
    )


def _read_imagenette(data_dir: str | os.PathLike | None, image_size: Size | None) -> _Parts:
    train, test, _ = read_prepared(
        _IMAGENETTE,
        data_dir=data_dir,
        image_size=image_size or _IMAGENETTE_SIZE,
        test_split="validation",
    )
    return train, test, _IMAGENETTE_CLASSES


_FAST_SHIFT = 4
_MNIST5K = _Source(_read_mnist5k, lambda _: "mnist5k")
_PLAIN = Preprocessing()
_DIGITS = Preprocessing(crop=24, standardize=True)
# Standardisation would take a change of brightness back, so no entry of capsules has both.
_NATURAL = Preprocessing(flip=True, brightness=0.25)
# Of block networks nearly all have both, as published: clipping leaves something of the change.
_SHIFTED_DIGITS = Preprocessing(shift=4, brightness=0.25)
_DISTORTED_DIGITS = Preprocessing(shift=4, rotation=30, squish=0.25, erase=4)

_CATALOG = {
    "mnist5k": _Entry(_MNIST5K, _DIGITS, _SHIFTED_DIGITS, _DISTORTED_DIGITS),
    "mnist": _Entry(_prepared("mnist"), _DIGITS, _SHIFTED_DIGITS, _DISTORTED_DIGITS),
    "fashion_mnist": _Entry(
        _prepared("fashion_mnist"),
        Preprocessing(crop=24, flip=True, standardize=True),
        Preprocessing(shift=4, flip=True, brightness=0.25, standardize=True),
    ),
    "cifar10": _Entry(
        _prepared("cifar10"),
        _NATURAL,
        Preprocessing(shift=6, flip=True, brightness=0.25, standardize=True),
    ),
    "svhn_cropped": _Entry(
        _prepared("svhn_cropped"),
        Preprocessing(brightness=0.25),
        Preprocessing(shift=4, brightness=0.25, standardize=True),
    ),
    "smallnorb": _Entry(
        _prepared("smallnorb", label="label_category"),
        Preprocessing(resize=28, crop=24, brightness=0.1),
        Preprocessing(resize=48, shift=4, brightness=0.25, standardize=True),
    ),
    "imagenette": _Entry(
        _Source(_read_imagenette, lambda data_dir: prepared_fingerprint(_IMAGENETTE, data_dir)),
        _NATURAL,
        Preprocessing(shift=10, flip=True, brightness=0.25, standardize=True),
    ),
}


def names() -> tuple[str, ...]:
    """The data sets that `load` knows by name; `images:FOLDER` and `abstract:TASK` come beside.

    Example:

    >>> from tfcaps import datasets
    >>> datasets.names()[:3]
    ('mnist5k', 'mnist', 'fashion_mnist')
    """
    return NAMES


def load(
    name: str,
    *,
    data_dir: str | os.PathLike | None = None,
    image_size: Size | None = None,
    train_examples: int | None = None,
    validation_fraction: float = 0.0,
    seed: int = 0,
) -> ImageDataset:
    """Loads a data set into memory.

    Args:
        name: One of `names()`, `images:FOLDER` for pictures in class folders, or `abstract:TASK`
            for what `abstract_shapes.read_name` takes: a task, drawn in some way, of some shapes.
        data_dir: The folder in which tensorflow_datasets keeps its prepared data sets, for those
            that are not bundled. None: `$TFDS_DATA_DIR` or `~/tensorflow_datasets`.
        image_size: Height and width that all images are stretched to, in pixels, or one number for
            both. None: as they are stored, but 32 for own images, and 128 for imagenette and
            abstract tasks, which are drawn in that size.
        train_examples: Learn from the first so many of a seeded shuffle of the training set only.
            None: from all.
        validation_fraction: The stratified part of (what is left of) the training set that is
            held out, in [0, 1). Defaults to 0: nothing is.
        seed: For these two choices, 0 to 2^63 - 1; the test set is always the same. Defaults to 0.

    Returns:
        The splits as uint8 images (N, H, W, C) and int64 labels (N,), with the class names.

    Raises:
        UsageError: The name is unknown, an argument is out of its range, or the data set can't
            be had. The message says what to do.

    Example:

    >>> from tfcaps import datasets
    >>> digits = datasets.load("mnist5k", validation_fraction=0.1)
    >>> len(digits.train), len(digits.validation), len(digits.test), digits.image_shape
    (3600, 400, 1000, (28, 28, 1))
    """
    entry = _entry(name)
    if image_size is not None and min(sides(image_size)) < 1:
        raise UsageError(f"Expected image_size >= 1. Received: {image_size}")
    if image_size is not None and math.prod(sides(image_size)) > MAX_PIXELS:
        raise UsageError(
            f"Expected an image_size of at most {MAX_PIXELS} pixels. Received: {image_size}"
        )
    check_choices(train_examples, validation_fraction, seed)
    train, test, class_names = entry.source.read(data_dir, image_size)
    if train_examples is not None:
        train = subset(train, train_examples, seed=seed)
    validation = None
    if validation_fraction > 0:
        count = round(validation_fraction * len(train))
        if not 0 < count < len(train):
            raise UsageError(
                "Expected a validation_fraction that leaves at least one example for training "
                f"and one for validation. Received: {validation_fraction} of {len(train)}"
            )
        train, validation = hold_out(train, count, seed=seed)
    source = entry.source.fingerprint(data_dir)
    return ImageDataset(name, class_names, train, validation, test, source)


def preprocessing(dataset_name: str, kind: str) -> Preprocessing:
    """The preprocessing for a data set.

    Args:
        dataset_name: As `load` takes it.
        kind: `paper`: the augmentation of the papers on capsules; `blocks`: that of the paper on
            conflicting bundles; `fast`: the same without changes of brightness, and at most 4
            pixels over the border; `efficient`: that of the paper on Efficient-CapsNet; `none`:
            pixels scaled to [0, 1] only.

    Raises:
        UsageError: The data set or the kind is unknown, or the paper has none for this set.

    Example:

    >>> from tfcaps import datasets
    >>> datasets.preprocessing("svhn_cropped", "paper").brightness
    0.25

    Papers: arXiv 1905.08744, 2104.07393, 2011.02956, 2101.12491.
    """
    entry = _entry(dataset_name)
    kinds = {
        "paper": entry.paper,
        "blocks": entry.blocks,
        "fast": entry.fast,
        "efficient": entry.efficient,
        "none": Preprocessing(),
    }
    if kind not in kinds:
        raise UsageError(f"Expected a preprocessing among {', '.join(kinds)}. Received: {kind}")
    chosen = kinds[kind]
    if chosen is None:
        known = " or ".join(name for name, entry in _CATALOG.items() if entry.efficient)
        raise UsageError(
            f"Expected --dataset={known} with --augmentation={kind}. Received: {dataset_name}"
        )
    return chosen


def _entry(name: str) -> _Entry:
    check_name(name)
    if name.startswith(GIVEN):
        entry = _CATALOG.get(own_name(name.removeprefix(GIVEN))) or _own_images("")
        source = _Source(lambda *_: _refuse_given(name), lambda _: None)
        return dataclasses.replace(entry, source=source)
    if name.startswith(IMAGES):
        return _own_images(name.removeprefix(IMAGES))
    if name.startswith(ABSTRACT):
        return _abstract(name.removeprefix(ABSTRACT))
    return _CATALOG[own_name(name)]


def _own_images(folder: str) -> _Entry:
    return _Entry(
        _Source(
            lambda _, image_size: read_folder(folder, image_size or _OWN_IMAGES_SIZE),
            lambda _: folder_fingerprint(folder),
        ),
        # Nothing is known about them, so nothing that could change their class.
        Preprocessing(standardize=True),
        Preprocessing(shift=4, standardize=True),
    )


def _abstract(task: str) -> _Entry:
    # No flips, shifts and crops: they could take a shape out of the picture, or a relation away.
    source = _Source(lambda _, image_size: read_abstract(task, image_size), lambda _: task)
    return _Entry(source, _PLAIN, _PLAIN)


def _refuse_given(name: str) -> _Parts:
    raise UsageError(
        "Expected a data set that can be loaded, as --dataset names it. "
        f"Received: {name}, which a program gave to the training"
    )
