"""A user's own pictures in class folders."""

import concurrent.futures
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfcaps import pictures
from tfcaps.datasets import fingerprint
from tfcaps.datasets.resizing import resize_uint8, sides
from tfcaps.datasets.sampling import hold_out
from tfcaps.datasets.split import Split
from tfcaps.errors import UsageError
from tfcaps.options import Size

_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
_TEST_FRACTION = 0.2
# Never changes, whatever --seed: accuracies are comparable on one and the same test set only.
_SPLIT_SEED = 0


def read_folder(folder: str, image_size: Size) -> tuple[Split, Split, tuple[str, ...]]:
    """Reads `FOLDER/class/*.png` or, if both exist, `FOLDER/train/class/` and `FOLDER/test/class/`.

    Without `train` and `test`, a fifth of each class, always the same, becomes the test set. The
    images are stretched to one size; transparency is dropped, and an animation gives its first
    picture. There is one channel when no image has any colour, and three otherwise.

    Args:
        folder: The path; `~` is the home folder.
        image_size: Height and width of the result, in pixels, or one number for both.

    Returns:
        Training and test examples, (N, h, w, 1 or 3), and the folders' names,
        sorted: the classes.

    Raises:
        UsageError: A folder is missing, there are fewer than two classes, a class has no images,
            train and test have other classes, or an image can't be read.
    """
    root, train_root, test_root = _roots(folder)
    if train_root == root:
        files, labels, class_names = _list(root)
        images = _as_grey_where_possible(_read(files, image_size))
        everything = Split(images, labels)
        count = max(1, round(_TEST_FRACTION * len(everything)))
        return *hold_out(everything, count, seed=_SPLIT_SEED), class_names

    train_files, train_labels, class_names = _list(train_root)
    test_files, test_labels, test_names = _list(test_root)
    if class_names != test_names:
        differing = ", ".join(sorted(set(class_names) ^ set(test_names)))
        raise UsageError(
            f"Expected the same class folders in {train_root} and {test_root}. "
            f"Only in one of them: {differing}"
        )
    images = _as_grey_where_possible(_read(train_files + test_files, image_size))
    train_size = len(train_files)
    train = Split(images[:train_size], train_labels)
    return train, Split(images[train_size:], test_labels), class_names


def folder_fingerprint(folder: str) -> str:
    """What the pictures that `read_folder` reads are known by again, see `fingerprint.of_files`."""
    root, *parts = _roots(folder)
    files = [file for part in sorted(set(parts)) for file in _list(part)[0]]
    return fingerprint.of_files(root, files)


def _roots(folder: str) -> tuple[Path, Path, Path]:
    """The folder, and where its training and test images are: the same where it has no such."""
    root = Path(folder).expanduser()
    if not folder or not root.is_dir():
        raise UsageError(
            "Expected images:FOLDER with the path of a folder that has one folder of images for "
            f"each class. Received: images:{folder}, and there is no such folder"
        )
    train_root, test_root = root / "train", root / "test"
    if train_root.is_dir() and test_root.is_dir():
        return root, train_root, test_root
    return root, root, root


def _list(root: Path) -> tuple[list[Path], np.ndarray, tuple[str, ...]]:
    """The image files below a folder of class folders, their labels, and the classes."""
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(folders) < 2:
        found = ", ".join(folder.name for folder in folders) or "none"
        raise UsageError(
            f"Expected at least 2 class folders in {root} (or in its folders train and test). "
            f"Received: {found}"
        )
    files, labels = [], []
    for label, folder in enumerate(folders):
        images = sorted(
            p
            for p in folder.iterdir()
            if p.suffix.lower() in _ENDINGS and not p.name.startswith(".")
        )
        if not images:
            raise UsageError(
                f"Expected images ({' '.join(_ENDINGS)}) in each class folder. "
                f"Received: none in {folder}"
            )
        files += images
        labels += [label] * len(images)
    return files, np.array(labels, np.int64), tuple(folder.name for folder in folders)


def _read(files: list[Path], image_size: Size) -> np.ndarray:
    """The images of these files as RGB, (N, h, w, 3)."""
    images = np.empty((len(files), *sides(image_size), 3), np.uint8)
    with concurrent.futures.ThreadPoolExecutor() as executor:
        decoded = executor.map(lambda file: _read_image(file, image_size), files)
        for index, image in enumerate(decoded):
            images[index] = image
    return images


def _read_image(file: Path, image_size: Size) -> np.ndarray:
    """One image, (h, w, 3)."""
    try:
        image = pictures.decode(tf.io.read_file(str(file)))
    except tf.errors.PermissionDeniedError:
        raise UsageError(f"Cannot read {file}: Permission denied") from None
    except tf.errors.OpError as error:
        allowed = pictures.expected(error).replace("a file", "an image")
        raise UsageError(f"Expected {allowed}. Received: {file}") from error
    # A single grey channel spreads over all three.
    return resize_uint8(image, image_size).numpy()


def _as_grey_where_possible(images: np.ndarray) -> np.ndarray:
    """Keeps one channel when all three are equal everywhere, i.e. without any colour."""
    grey = images[..., :1]
    return grey if (images[..., 1:] == grey).all() else images
