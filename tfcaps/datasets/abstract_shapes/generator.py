"""Images of abstract classes by number: any number of them, each for itself."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tfcaps.datasets.abstract_shapes.draws import Draws, first_accepted, image_keys
from tfcaps.datasets.abstract_shapes.rendering import DEFAULT_RENDERING, check_rendering
from tfcaps.datasets.abstract_shapes.tasks import Scene, task as known_task
from tfcaps.datasets.split import Split
from tfcaps.errors import UsageError, positive_int
from tfcaps.options import Size, flag_value

SPLITS = ("train", "validation", "test")
CLASS_NAMES = ("without", "with")  # the relation
DEFAULT_SIZE = 128
_SMALLEST = 96  # Below it, the gaps of some problems have less than their pixels.
_LARGEST = 1024
_CHUNK = 1024
TRAIN_IMAGES, TEST_IMAGES = 10_000, 5_000
_ATTEMPTS = 2000
_AT_ONCE = 32  # Whole layouts take long.


def layouts(
    task: str,
    indices: Sequence[int] | np.ndarray | int,
    *,
    seed: int = 0,
    split: str = "train",
    size: int = DEFAULT_SIZE,
    shapes: int | None = None,
) -> Scene:
    """What the images with these numbers show.

    Args:
        task: one of `names()`.
        indices: their numbers, from 0, in any order; or how many, beginning with number 0.
        seed: 0 to 2^63 - 1; other seeds give other images. Defaults to 0.
        split: `train`, `validation` or `test`: no random number is in two of them. Defaults to
            `train`.
        size: height and width, 96 to 1024 pixels. Defaults to 128.
        shapes: how many there are, for `odd_one_out`, `orientation_several`, `psvrt_same_four`,
            `checkerboard_five` and `checkerboard_five_rotated`. Default None: as many as the task
            has, 4 or 5.

    Returns:
        A `Layout`; `Patterns` or a `Board` where a task has no outlines. Image i is the same
        whichever others are asked for; its label is drawn, too.

    Raises:
        UsageError: the task is unknown, or an argument is out of its range.

    Example:

    >>> from tfcaps.datasets import abstract_shapes
    >>> layout = abstract_shapes.layouts("svrt_1", 10)
    >>> layout.render().shape
    (10, 128, 128, 1)

    Source: Fleuret et al., Comparing machines and humans on a visual categorization test, 2011.
    """
    check_options(task, split, size, shapes=shapes)
    draw, scene, _ = known_task(task)
    more = {} if shapes is None else {"shapes": shapes}
    numbers = _numbers(indices)
    draws = Draws(image_keys(seed, SPLITS.index(split), numbers))
    labels = draws.branch(0).integers(0, 1)

    def propose(draws: Draws, pending: np.ndarray) -> tuple:
        *arrays, accepted = draw(draws, labels[pending], size, **more)
        return tuple(arrays), accepted

    arrays, found = first_accepted(draws.branch(1), propose, attempts=_ATTEMPTS, at_once=_AT_ONCE)
    if not found.all():
        raise RuntimeError(f"no layout of {task} was found for image {numbers[~found][0]}")
    return scene(size, labels, *arrays, draws.keys)


def generate(
    task: str,
    count: int,
    *,
    seed: int = 0,
    split: str = "train",
    size: int = DEFAULT_SIZE,
    rendering: str = DEFAULT_RENDERING,
    channels: int | None = None,
    shapes: int | None = None,
) -> Split:
    """The first `count` images of a task with their labels.

    Args:
        task: as for `layouts`.
        count: how many images.
        seed: as for `layouts`.
        split: as for `layouts`.
        size: as for `layouts`.
        rendering: how they are drawn, one of `renderings()`; image i has the same geometry in
            all of them. Defaults to `outline`.
        channels: 1 or 3. Default None: 3 for `colour`, else 1.
        shapes: as for `layouts`.

    Raises:
        UsageError: as for `layouts`, or the rendering or the number of channels is unknown.

    Example:

    >>> from tfcaps.datasets import abstract_shapes
    >>> images = abstract_shapes.generate("svrt_1", 20)
    >>> images.images.shape, images.labels.shape
    ((20, 128, 128, 1), (20,))
    """
    count = positive_int("the number of images", count)
    check_options(task, split, size, rendering, channels, shapes)
    parts = [
        (part.render(rendering, channels=channels), part.labels)
        for start in range(0, count, _CHUNK)
        for part in [
            layouts(
                task,
                np.arange(start, min(start + _CHUNK, count)),
                seed=seed,
                split=split,
                size=size,
                shapes=shapes,
            )
        ]
    ]
    images, labels = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Split(images, labels)


def stream(
    task: str,
    *,
    seed: int = 0,
    split: str = "train",
    size: int = DEFAULT_SIZE,
    rendering: str = DEFAULT_RENDERING,
    channels: int | None = None,
    shapes: int | None = None,
) -> Iterator[tuple[np.ndarray, int]]:
    """Images (size, size, C) with their labels, without an end; arguments as for `generate`.

    Raises:
        UsageError: as for `generate`, at the first image.
    """
    start = 0
    while True:
        numbers = np.arange(start, start + _CHUNK)
        part = layouts(task, numbers, seed=seed, split=split, size=size, shapes=shapes)
        images = part.render(rendering, channels=channels)
        yield from zip(images, part.labels.tolist(), strict=True)
        start += _CHUNK


_MOST_DIGITS = 10  # of a number of shapes; Python reads no number of thousands


class NamedTask(NamedTuple):
    """What a name of images says: the arguments `task`, `rendering` and `shapes` of `generate`."""

    task: str
    rendering: str
    shapes: int | None


def read_name(name: str) -> NamedTask:
    """What `TASK`, `TASK/RENDERING`, `TASK/SHAPES` or `TASK/RENDERING/SHAPES` says.

    Whether there is such a task, rendering or number of shapes isn't looked at; see `check_name`.

    Raises:
        UsageError: the name has another form.

    Example:

    >>> read_name("odd_one_out/dots/6")
    NamedTask(task='odd_one_out', rendering='dots', shapes=6)
    """
    task, *parts = name.split("/")
    has_shapes = bool(parts) and parts[-1].isdecimal() and len(parts[-1]) < _MOST_DIGITS
    shapes = int(parts.pop()) if has_shapes else None
    rendering = parts.pop(0) if parts else DEFAULT_RENDERING
    if parts or not rendering:
        raise UsageError(
            "Expected an abstract task as TASK, TASK/RENDERING, TASK/SHAPES or "
            f"TASK/RENDERING/SHAPES. Received: {name}"
        )
    return NamedTask(task, rendering, shapes)


def check_name(name: str) -> None:
    """Checks that a name, as `read_name` takes it, is that of images which can be drawn.

    Raises:
        UsageError: it isn't.
    """
    task, rendering, shapes = read_name(name)
    check_options(task, "train", DEFAULT_SIZE, rendering, shapes=shapes)


def read_abstract(name: str, image_size: Size | None) -> tuple[Split, Split, tuple[str, ...]]:
    """The training and test images that all programs learn a task from, and its class names.

    Args:
        name: as `read_name` takes it.
        image_size: pixels; None: 128.

    Raises:
        UsageError: as for `read_name` and `generate`, or the images aren't to be square.
    """
    task, rendering, shapes = read_name(name)
    size = DEFAULT_SIZE if image_size is None else image_size
    if not isinstance(size, int):
        raise UsageError(
            "Expected --image_size to be one number for an abstract task, as it is square. "
            f"Received: {flag_value(size)}"
        )
    train, test = (
        generate(task, count, split=split, size=size, rendering=rendering, shapes=shapes)
        for split, count in (("train", TRAIN_IMAGES), ("test", TEST_IMAGES))
    )
    return train, test, CLASS_NAMES


def check_options(
    task: str,
    split: str,
    size: int,
    rendering: str = DEFAULT_RENDERING,
    channels: int | None = None,
    shapes: int | None = None,
) -> None:
    """Refuses what `layouts` and `Layout.render` can't do, before anything is drawn.

    Raises:
        UsageError: an argument is unknown or out of its range.
    """
    allowed = known_task(task).shapes
    if shapes is not None and allowed is None:
        raise UsageError(f"Expected no number of shapes for {task}. Received: {shapes!r}")
    if shapes is not None and allowed is not None and shapes not in allowed:
        raise UsageError(
            f"Expected {allowed[0]} to {allowed[-1]} shapes for {task}, as many as fit. "
            f"Received: {shapes!r}"
        )
    if split not in SPLITS:
        raise UsageError(f"Expected a split among {', '.join(SPLITS)}. Received: {split}")
    if not _SMALLEST <= size <= _LARGEST:
        raise UsageError(
            f"Expected a size of {_SMALLEST} to {_LARGEST} pixels for {task}. Received: {size}"
        )
    check_rendering(rendering, channels)


def _numbers(indices) -> np.ndarray:
    if isinstance(indices, (int, np.integer)):
        return np.arange(positive_int("the number of images", indices))
    numbers = np.asarray(indices)
    if numbers.ndim != 1 or not numbers.size or numbers.dtype.kind not in "iu" or numbers.min() < 0:
        raise UsageError(f"Expected numbers of images, each >= 0. Received: {indices!r}")
    return numbers
