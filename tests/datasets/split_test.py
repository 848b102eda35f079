import numpy as np
import pytest

from tfcaps.datasets import ImageDataset, Split


def _split(size: int) -> Split:
    images = np.arange(size, dtype=np.uint8).reshape(-1, 1, 1, 1) * np.ones((1, 2, 3, 1), np.uint8)
    return Split(images, np.arange(size) * 10)


def test_take_keeps_images_and_labels_together_in_the_given_order():
    taken = _split(5).take([4, 0, 2])
    assert len(taken) == 3
    assert taken.labels.tolist() == [40, 0, 20]
    assert taken.images[:, 1, 2, 0].tolist() == [4, 0, 2]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 3, 3), np.uint8), r"Received: uint8, \(2, 3, 3\)"),
        (np.zeros((2, 3, 3, 1), np.float32), r"Received: float32, \(2, 3, 3, 1\)"),
    ],
)
def test_other_images_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        Split(images, np.zeros(2, np.int64))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(3, np.int64), r"Expected 2 int64 labels. Received: int64, \(3,\)"),
        (np.zeros((2, 10), np.int64), r"Received: int64, \(2, 10\)"),
        (np.zeros(2, np.uint8), r"Received: uint8, \(2,\)"),
    ],
)
def test_other_labels_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        Split(np.zeros((2, 3, 3, 1), np.uint8), labels)


def test_a_dataset_has_the_shape_of_its_images():
    dataset = ImageDataset("own", ("a", "b"), _split(4), None, _split(2))
    assert dataset.image_shape == (2, 3, 1)
