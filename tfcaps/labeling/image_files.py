"""The pictures of a folder: found, scaled once, and compared."""

import os
import pathlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from tfcaps import files
from tfcaps.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
_THUMBNAIL = 160  # pixels: twice what the grid shows, for sharp screens
COMPARED = 32  # side that images are compared in
_HASH_SIDE = 8
_NEAR = 2  # bits of 64 that may differ
_SAMPLE = 256  # of the values of an image
_NEAR_PIXELS = 8.0  # of 255, in the mean: simple drawings share their hashes


def find_images(folder: str | os.PathLike) -> list[str]:
    """The images of a folder and those below it, as sorted paths relative to it.

    Raises:
        UsageError: there is no such folder, or no image in it, or a name is no text.
    """
    root = pathlib.Path(folder)
    if not root.is_dir():
        raise UsageError(f"Expected --images with a folder. Received: {folder}")
    found = []
    for parent, below, names in os.walk(root):
        below[:] = [name for name in below if not name.startswith(".")]
        inside = os.path.relpath(parent, root)
        prefix = "" if inside == os.curdir else os.path.join(inside, "")
        for name in names:
            if name.lower().endswith(_ENDINGS) and not name.startswith("."):
                found.append(prefix + name)
    if not found:
        raise UsageError(
            f"Expected --images with images ({' '.join(_ENDINGS)}). Received: {folder}, with none"
        )
    for name in found:
        if not _is_text(name):
            raise UsageError(f"Expected names of images in UTF-8. Received: {name!r} in {folder}")
    return sorted(found)


def _is_text(name: str) -> bool:
    """Whether a file's name, which may be any bytes, can be written down."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def fingerprint(path: str | os.PathLike) -> str | None:
    """What a file is known by: its size, and when it was written; None where there is none.

    So a file that was replaced under its name is another one, and so is one that was only copied
    without its time.
    """
    try:
        found = os.stat(path)
    except OSError:
        return None
    return f"{found.st_size}-{found.st_mtime_ns}"


def fingerprints(root: str | os.PathLike, names: Iterable[str]) -> dict[str, str | None]:
    """The fingerprints of a folder's files, by name."""
    return {name: fingerprint(os.path.join(root, name)) for name in names}


def thumbnail(source: str | os.PathLike, target: str | os.PathLike) -> pathlib.Path | None:
    """Scales an image once, and again where its file is another one.

    Returns:
        The scaled one's file, also of an image that is gone; None where it can't be read.
    """
    from PIL import Image

    target = pathlib.Path(target)
    version = fingerprint(source)
    if _is_of(version, target):
        return target
    try:
        with Image.open(source) as image:
            image.draft("RGB", (_THUMBNAIL, _THUMBNAIL))
            small = _upright(image).convert("RGB")
    # Pillow's decoders raise whatever a broken file leads them to.
    except Exception:
        return None
    scale = max(1, _THUMBNAIL // max(small.size))  # small images: sharp pixels
    if scale > 1:
        small = small.resize((small.width * scale, small.height * scale), Image.Resampling.NEAREST)
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    with files.replacing(target, durable=False) as temporary:
        small.save(temporary, "JPEG", quality=88, comment=version or "")
    return target


def _upright(image: "Image.Image") -> "Image.Image":
    """Turned as the camera was held, if the file says so in a way that can be read."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # what is said of the pixels is damaged, and not they
        return image


def _is_of(version: str | None, path: pathlib.Path) -> bool:
    """Whether a thumbnail is of this version of its image; None: of whichever there was last."""
    from PIL import Image

    try:
        with Image.open(path) as image:  # reads what stands before the pixels
            return version is None or image.info.get("comment") == version.encode()
    except OSError:  # none, or the end of the power has left one without content
        return False


def read_stretched(path: str | os.PathLike, height: int, width: int) -> np.ndarray:
    """A thumbnail in another size, uint8, `(height, width, 3)`."""
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((width, height)), np.uint8)


def difference_hash(image: np.ndarray) -> int:
    """64 bits: whether each of 8 × 8 places is brighter than its neighbour to the right.

    >>> difference_hash(np.zeros((32, 32, 3), np.uint8))
    0
    """
    from PIL import Image

    small = Image.fromarray(image).convert("L").resize((_HASH_SIDE + 1, _HASH_SIDE))
    pixels = np.asarray(small, np.int16)
    return int(
        "".join("01"[bit] for bit in (pixels[:, :-1] > pixels[:, 1:]).ravel().astype(int)), 2
    )


def near_duplicates(hashes: np.ndarray, images: np.ndarray) -> list[list[int]]:
    """Groups of images that differ little from the group's first one.

    Args:
        hashes: uint64, `(N,)`, of which at most 2 bits differ.
        images: uint8, `(N, ...)`, which differ by at most 8 in the mean.

    >>> images = np.zeros((4, 2, 2), np.uint8)
    >>> images[3] = 100
    >>> near_duplicates(np.array([1, 240, 3, 1], np.uint64), images)
    [[0, 2]]
    """
    pixels = images.reshape(len(images), -1)
    drawn = np.random.default_rng(0).integers(pixels.shape[1], size=min(_SAMPLE, pixels.shape[1]))
    samples = np.ascontiguousarray(pixels[:, drawn])
    left, groups = np.ones(len(hashes), bool), []
    for first in range(len(hashes)):
        if not left[first]:
            continue
        near = np.flatnonzero(left & (np.bitwise_count(hashes ^ hashes[first]) <= _NEAR))
        # Where thousands share a hash, few of the pixels tell most of them apart.
        near = near[_mean_distances(samples, near, first) <= 2 * _NEAR_PIXELS]
        near = near[_mean_distances(pixels, near, first) <= _NEAR_PIXELS]
        left[near] = False
        if len(near) > 1:
            groups.append(near.tolist())
    return groups


def _mean_distances(pixels: np.ndarray, rows: np.ndarray, first: int) -> np.ndarray:
    """The mean absolute difference of each of some rows of uint8, `(N, D)`, to one row."""
    values = pixels[rows]
    apart = np.maximum(values, pixels[first]) - np.minimum(values, pixels[first])
    return apart.sum(axis=1, dtype=np.uint32) / pixels.shape[1]
