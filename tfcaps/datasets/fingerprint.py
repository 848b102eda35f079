"""What data are known by again: whoever changes a file, a name or an order changes it."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tfcaps.datasets.split import Split

# Bytes that are read at the start, in the middle and at the end of a file: most pictures are read
# as a whole, and a data set of many gigabytes is not.
_SAMPLE = 2**17


def of_files(root: Path, files: Iterable[Path]) -> str:
    """The fingerprint of some files: their names below a folder, sizes, and samples of the content.

    Args:
        root: The folder; where it lies doesn't matter.
        files: In an order that doesn't depend on the machine.
    """
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        name = str(path.relative_to(root)).encode("utf-8", "surrogateescape")
        digest.update(name + b"\0" + str(size).encode() + b"\0")
        with path.open("rb") as file:
            for start in (0, size // 2, size - _SAMPLE):
                file.seek(max(start, file.tell()))  # nothing twice
                digest.update(file.read(_SAMPLE))
    return digest.hexdigest()


def of_texts(parts: Iterable[Any]) -> str:
    """The fingerprint of texts in memory, `TextExamples`: all of them, and their labels."""
    digest = hashlib.sha256()
    for part in parts:
        if part is not None:
            digest.update(np.ascontiguousarray(part.labels).data)
            for column in part.texts:
                for text in column:
                    digest.update(text.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def of_splits(splits: Iterable[Split | None]) -> str:
    """The fingerprint of examples in memory: shapes, labels and all pixels."""
    digest = hashlib.sha256()
    for split in splits:
        if split is not None:
            digest.update(str(split.images.shape).encode())
            digest.update(np.ascontiguousarray(split.labels).data)
            digest.update(np.ascontiguousarray(split.images).data)
    return digest.hexdigest()
