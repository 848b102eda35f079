"""What data are known by again."""

import numpy as np
import pytest

from tfcaps import datasets
from tfcaps.datasets import Split, fingerprint


def of(folder):
    return fingerprint.of_files(folder, sorted(folder.iterdir()))


@pytest.mark.parametrize("size", [0, 3, 2**17, 2**18 + 5, 2**20])
def test_files(tmp_path, size):
    """Names, sizes and content count: the content at both ends and in the middle, at least."""
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        (folder / "a").write_bytes(bytes(size))
        (folder / "b").write_bytes(b"b")
    assert of(one) == of(two)
    seen = {of(one)}
    for place in {0, size // 2, size - 1} if size else ():
        changed = bytearray(size)
        changed[place] = 1
        (two / "a").write_bytes(changed)
        seen.add(of(two))
    (two / "a").write_bytes(bytes(size + 1))
    seen.add(of(two))
    (two / "a").rename(two / "c")
    seen.add(of(two))
    assert len(seen) == 3 + len({0, size // 2, size - 1} if size else ())


def test_splits():
    images = np.zeros((2, 1, 1, 1), np.uint8)
    split = Split(images, np.array([0, 1]))
    found = {
        fingerprint.of_splits(splits)
        for splits in (
            [split, None],
            [split, split],
            [split.take([0]), split.take([1])],
            [Split(images, np.array([1, 0]))],
            [Split(images + np.uint8(1), np.array([0, 1]))],
        )
    }
    assert len(found) == 5
    given = datasets.ImageDataset("mine", ("a", "b"), split, None, split)
    assert given.fingerprint == fingerprint.of_splits([split, split])
    assert datasets.load("mnist5k").fingerprint == "mnist5k"
