"""Affine augmentation against an interpolation pixel by pixel in float64."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from tfcaps.datasets.affine import _affine, random_affine, random_erasing

IMAGE = np.random.default_rng(0).uniform(0.1, 1.0, (7, 6, 2)).astype("float32")


def transformed(image, angle, scale, offset):
    """The inverse map of each pixel: shift back, scale back, turn back; then four neighbours."""
    height, width, _ = image.shape
    centre = np.array([(height - 1) / 2, (width - 1) / 2])
    radians = math.radians(angle)
    # On (down, right); a counter-clockwise turn takes "right" to "up".
    turn = np.array(
        [[math.cos(radians), -math.sin(radians)], [math.sin(radians), math.cos(radians)]]
    )
    result = np.zeros(image.shape)
    for y, x in itertools.product(range(height), range(width)):
        position = np.array([y, x]) - centre - np.array(offset)
        source = np.linalg.solve(turn, position / np.array(scale)) + centre
        low = np.floor(source).astype(int)
        for corner in itertools.product((0, 1), repeat=2):
            row, column = low + corner
            if 0 <= row < height and 0 <= column < width:
                weight = np.prod(1.0 - np.abs(source - (row, column)))
                result[y, x] += weight * image[row, column]
    return result


@pytest.mark.parametrize(
    ("angle", "scale", "offset"),
    [
        (0.0, (1.0, 1.0), (0.0, 0.0)),
        (30.0, (1.0, 1.0), (0.0, 0.0)),
        (0.0, (1.3, 0.8), (0.0, 0.0)),
        (0.0, (1.0, 1.0), (1.25, -0.5)),
        (-17.0, (1.2, 0.7), (-0.75, 1.5)),
    ],
    ids=["identity", "rotation", "scaling", "shift", "all"],
)
def test_affine_is_the_interpolation(angle, scale, offset):
    actual = _affine(IMAGE, angle=angle, scale=scale, offset=offset)
    expected = transformed(IMAGE.astype("float64"), angle, scale, offset)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


def test_affine_by_hand():
    """A dot right of the centre goes up with a quarter turn, twice as far, then one row down."""
    image = np.zeros((7, 7, 1), "float32")
    image[3, 4] = 1.0
    moved = _affine(image, angle=90.0, scale=(2.0, 1.0), offset=(1.0, 0.0))[..., 0].numpy()
    assert np.unravel_index(np.argmax(moved), moved.shape) == (2, 3)
    np.testing.assert_allclose(moved[:, 3], [0, 0.5, 1, 0.5, 0, 0, 0], atol=1e-5)


def often(function, times: int = 300) -> np.ndarray:
    """The results with so many seeds, in a pipeline as training has it."""
    seeds = tf.data.Dataset.range(times).map(
        lambda n: function(tf.stack([tf.constant(5, tf.int64), n]))
    )
    return seeds.batch(times).get_single_element().numpy()


class TestRandomAffine:
    def test_no_change_is_the_image(self):
        np.testing.assert_allclose(random_affine(IMAGE, (0, 1)), IMAGE, atol=1e-6)

    def test_the_seed_decides(self):
        first, again, other = (
            random_affine(IMAGE, seed, rotation=30, shift=2) for seed in ((3, 4), (3, 4), (3, 5))
        )
        np.testing.assert_array_equal(first, again)
        assert np.max(np.abs(first - other)) > 0.01

    def test_angles(self):
        """A dot far right of the centre: where it goes says the angle, at most 30° each way."""
        image = np.zeros((101, 101, 1), "float32")
        image[49:52, 89:92] = 1.0
        images = often(lambda seed: random_affine(tf.constant(image), seed, rotation=30))
        rows, columns = np.arange(101) - 50.0, np.arange(101) - 50.0
        weights = images[..., 0] / images.sum(axis=(1, 2, 3))[:, None, None]
        down = np.einsum("nyx,y->n", weights, rows)
        right = np.einsum("nyx,x->n", weights, columns)
        angles = np.degrees(np.arctan2(-down, right))
        assert np.max(np.abs(angles)) <= 30.1
        assert abs(np.mean(angles)) < 2.0
        assert 8.5 < np.std(angles) < 11.0  # a third of 30, clipped

    def test_shifts(self):
        image = np.zeros((21, 21, 1), "float32")
        image[10, 10] = 1.0
        images = often(lambda seed: random_affine(tf.constant(image), seed, shift=4))[..., 0]
        np.testing.assert_allclose(images.sum(axis=(1, 2)), 1.0, atol=1e-5)
        down = images.sum(axis=2) @ (np.arange(21) - 10.0)
        right = images.sum(axis=1) @ (np.arange(21) - 10.0)
        for draws in (down, right):
            assert np.max(np.abs(draws)) <= 4.001
            assert abs(np.mean(draws)) < 0.3
            assert 1.1 < np.std(draws) < 1.5
        assert abs(np.corrcoef(down, right)[0, 1]) < 0.2

    def test_sizes(self):
        """Second moments of a rectangle about the centre grow with the square of a factor."""
        image = np.zeros((61, 61, 1), "float32")
        image[20:41, 20:41] = 1.0

        def factors(**limits):
            images = often(lambda seed: random_affine(tf.constant(image), seed, **limits))[..., 0]
            squares = (np.arange(61) - 30.0) ** 2
            total = images.sum(axis=(1, 2))
            reference = np.mean(squares[20:41])
            height = np.sqrt(images.sum(axis=2) @ squares / total / reference)
            width = np.sqrt(images.sum(axis=1) @ squares / total / reference)
            return height, width

        height, width = factors(zoom=0.25)
        np.testing.assert_allclose(height, width, atol=0.01)
        assert 0.74 < height.min() < 0.85 < 1.15 < height.max() < 1.26
        height, width = factors(squish=0.25)
        np.testing.assert_allclose(height, 1.0, atol=1e-3)
        assert 0.74 < width.min() < 0.85
        assert 0.98 < width.max() < 1.001


class TestRandomErasing:
    def test_a_square_inside(self):
        ones = tf.ones((9, 7, 2))
        images = often(lambda seed: random_erasing(ones, seed, size=3))
        places = set()
        for image in images:
            rows, columns = (np.flatnonzero(np.any(image[..., 0] == 0, axis=a)) for a in (1, 0))
            assert len(rows) == len(columns) == 3
            assert np.sum(image == 0) == 9 * 2
            places.add((rows[0], columns[0]))
        assert places == set(itertools.product(range(7), range(5)))

    @pytest.mark.parametrize(("size", "left"), [(0, 63), (7, 14)])
    def test_none_and_all_of_the_width(self, size, left):
        assert float(tf.reduce_sum(random_erasing(tf.ones((9, 7, 1)), (0, 1), size=size))) == left

    def test_the_rest_is_the_image(self):
        erased = random_erasing(IMAGE, (3, 4), size=2).numpy()
        assert np.all((erased == IMAGE) | (erased == 0.0))
