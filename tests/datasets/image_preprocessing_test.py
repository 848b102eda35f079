import json
import math

import numpy as np
import pytest
import tensorflow as tf

from tfcaps.datasets import Preprocessing
from tfcaps.errors import UsageError

EVERYTHING = Preprocessing(resize=20, crop=16, shift=2, flip=True, brightness=0.3, standardize=True)


def _images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _augment_often(preprocessing: Preprocessing, image: np.ndarray, times: int = 400):
    """(x, original) of so many seeds."""
    seeds = tf.stack([tf.zeros(times, tf.int64), tf.range(times, dtype=tf.int64)], axis=1)
    results = tf.data.Dataset.from_tensor_slices(seeds).map(
        lambda seed: preprocessing.augment(tf.constant(image), seed)
    )
    x, original = results.batch(times).get_single_element()
    return x.numpy(), original.numpy()


def _standardized(images: np.ndarray) -> np.ndarray:
    """The definition, per image, in float64."""
    result = []
    for image in images.astype(np.float64):
        smallest = 1 / math.sqrt(image.size)
        result.append((image - image.mean()) / max(image.std(), smallest))
    return np.stack(result)


class TestEvaluate:
    def test_nothing_but_the_scale(self):
        images = np.array([[[[0], [51]], [[204], [255]]]], np.uint8)
        x, original = Preprocessing().evaluate(images)
        np.testing.assert_allclose(x[0, ..., 0], [[0, 0.2], [0.8, 1]], rtol=1e-6)
        np.testing.assert_array_equal(x, original)
        assert x.dtype == tf.float32

    @pytest.mark.parametrize(
        ("height", "width", "top", "left"), [(28, 28, 2, 2), (24, 24, 0, 0), (27, 30, 1, 3)]
    )
    def test_the_centre_is_cropped(self, height, width, top, left):
        images = _images(3, height, width, 2)
        _, original = Preprocessing(crop=24).evaluate(images)
        expected = images[:, top : top + 24, left : left + 24] / 255
        np.testing.assert_allclose(original, expected, rtol=1e-6)

    def test_only_training_images_are_shifted(self):
        images = _images(2, 28, 31, 1)
        _, original = Preprocessing(shift=4).evaluate(images)
        np.testing.assert_allclose(original, images / 255, rtol=1e-6)

    def test_images_are_stretched_to_the_size(self):
        images = np.full((2, 96, 60, 1), 102, np.uint8)
        _, original = Preprocessing(resize=28).evaluate(images)
        assert original.shape == (2, 28, 28, 1)
        np.testing.assert_allclose(original, 0.4, rtol=1e-6)

    def test_standardized_images(self):
        images = _images(3, 6, 5, 2)
        images[1] //= 16
        x, original = Preprocessing(standardize=True).evaluate(images)
        np.testing.assert_allclose(original, images / 255, rtol=1e-6)
        np.testing.assert_allclose(x, _standardized(images / 255), atol=1e-5)

    def test_an_image_of_one_value_becomes_zeros(self):
        x, _ = Preprocessing(standardize=True).evaluate(np.full((1, 4, 4, 1), 77, np.uint8))
        np.testing.assert_allclose(x, np.zeros((1, 4, 4, 1)), atol=1e-5)

    def test_contrast_below_the_limit_is_not_blown_up(self):
        image = np.zeros((1, 10, 10, 1), np.uint8)
        image[0, 0, 0, 0] = 1
        # std is 0.1/255, far below 1/√100, so values are divided by 0.1: 10 · (1 - 0.01) / 255.
        x, _ = Preprocessing(standardize=True).evaluate(image)
        assert float(x[0, 0, 0, 0]) == pytest.approx(9.9 / 255, rel=1e-4)

    def test_neither_flip_nor_brightness(self):
        images = _images(2, 8, 8, 3)
        _, original = Preprocessing(flip=True, brightness=1.0).evaluate(images)
        np.testing.assert_allclose(original, images / 255, rtol=1e-6)

    def test_any_batch_size_in_a_saved_model(self, tmp_path):
        class Module(tf.Module):
            @tf.function(input_signature=[tf.TensorSpec((None, 26, 30, 3), tf.uint8)])
            def __call__(self, images):
                return EVERYTHING.evaluate(images)

        tf.saved_model.save(Module(), tmp_path)
        loaded = tf.saved_model.load(tmp_path)
        for size in (1, 5):
            images = _images(size, 26, 30, 3)
            x, original = loaded(images)
            expected_x, expected_original = EVERYTHING.evaluate(images)
            assert x.shape == (size, 16, 16, 3)
            np.testing.assert_allclose(x, expected_x, atol=1e-5)
            np.testing.assert_allclose(original, expected_original, atol=1e-6)


class TestAugment:
    def test_nothing_to_do_is_the_evaluation(self):
        image = _images(9, 7, 3)
        x, original = Preprocessing(standardize=True).augment(image, (0, 1))
        expected_x, expected_original = Preprocessing(standardize=True).evaluate(image[None])
        np.testing.assert_allclose(x, expected_x[0], atol=1e-6)
        np.testing.assert_array_equal(original, expected_original[0])

    def test_the_seed_decides(self):
        image = _images(28, 28, 1)
        first, again, other, third = (
            EVERYTHING.augment(image, seed)[1].numpy() for seed in ((3, 4), (3, 4), (3, 5), (4, 4))
        )
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)
        assert not np.array_equal(first, third)

    def test_every_place_is_cropped_equally_often(self):
        # A pixel's value is its place, so the first one of a crop tells where it was cut.
        image = np.arange(7 * 6, dtype=np.uint8).reshape(7, 6, 1)
        _, crops = _augment_often(Preprocessing(crop=5), image, times=1200)
        places = np.round(crops[:, 0, 0, 0] * 255).astype(int)
        counts = {place: int((places == place).sum()) for place in np.unique(places)}
        assert set(counts) == {0, 1, 6, 7, 12, 13}
        # 1200 / 6 = 200 with a standard deviation of 13.
        assert all(140 < count < 260 for count in counts.values())
        for place, crop in zip(places[:20], crops, strict=False):
            top, left = divmod(int(place), 6)
            expected = image[top : top + 5, left : left + 5] / 255
            np.testing.assert_allclose(crop, expected, rtol=1e-6)

    def test_images_move_over_their_border(self):
        image = np.full((4, 4, 1), 255, np.uint8)
        _, crops = _augment_often(Preprocessing(shift=1), image, times=100)
        assert {int(crop.sum()) for crop in crops} == {9, 12, 16}

    def test_every_second_image_is_mirrored(self):
        image = _images(4, 5, 3)
        _, results = _augment_often(Preprocessing(flip=True), image)
        plain = np.isclose(results, image / 255).all(axis=(1, 2, 3))
        mirrored = np.isclose(results, image[:, ::-1] / 255).all(axis=(1, 2, 3))
        assert (plain ^ mirrored).all()
        # 400 / 2 with a standard deviation of 10.
        assert 150 < plain.sum() < 250

    def test_brightness_changes_the_whole_image_evenly(self):
        image = np.full((3, 3, 1), 102, np.uint8)
        image[0, 0] = 127
        _, results = _augment_often(Preprocessing(brightness=0.25), image)
        offsets = results[:, 1:, 1:, 0] - 0.4
        assert np.ptp(offsets, axis=(1, 2)).max() < 1e-6
        offsets = offsets[:, 0, 0]
        np.testing.assert_allclose(results[:, 0, 0, 0] - 127 / 255, offsets, atol=1e-6)
        assert np.abs(offsets).max() <= 0.25 + 1e-6
        # U(-0.25, 0.25): standard deviation 0.25/√3 = 0.144, of the mean of 400 0.0072.
        assert abs(offsets.mean()) < 0.03
        assert offsets.std() == pytest.approx(0.144, abs=0.02)

    def test_brightness_stays_in_the_range(self):
        _, results = _augment_often(Preprocessing(brightness=0.5), _images(6, 6, 3), times=50)
        assert results.min() == 0
        assert results.max() == 1

    def test_the_original_is_what_was_standardized(self):
        x, original = _augment_often(EVERYTHING, _images(24, 22, 3), times=30)
        assert original.shape == (30, 16, 16, 3)
        assert original.min() >= 0
        assert original.max() <= 1
        np.testing.assert_allclose(x, _standardized(original), atol=1e-4)

    def test_place_flip_and_brightness_are_independent(self):
        image = np.full((2, 9, 1), 128, np.uint8)
        image[:, 0], image[:, 8] = 64, 192
        _, results = _augment_often(Preprocessing(crop=2, flip=True, brightness=0.2), image)
        assert len(np.unique(results[:, 0, 0, 0])) > 300


class TestDistortions:
    def test_rotated_images_keep_their_middle_and_lose_their_corners(self):
        white = np.full((21, 21, 1), 255, np.uint8)
        _, found = _augment_often(Preprocessing(rotation=45), white)
        assert (found[:, 10, 10] == 1).all()
        # A quarter of a standard deviation of 15 degrees turns a corner out of the image.
        assert (found[:, 0, 0, 0] < 1).mean() > 0.8
        assert len(np.unique(found.sum(axis=(1, 2, 3)).round(2))) > 100

    def test_squished_images_lose_columns_only(self):
        white = np.full((20, 20, 1), 255, np.uint8)
        _, found = _augment_often(Preprocessing(squish=0.5), white)
        widths = (found[:, 10, :, 0] > 0.5).sum(axis=1)
        assert (found[:, :, 10] == 1).all()
        # Half of the width goes at three standard deviations.
        assert widths.max() == 20
        assert 10 <= widths.min() <= 14

    def test_zoomed_images_are_smaller_or_larger(self):
        image = np.zeros((21, 21, 1), np.uint8)
        image[5:16, 5:16] = 255
        _, found = _augment_often(Preprocessing(zoom=0.5), image)
        widths = (found[:, 10, :, 0] > 0.5).sum(axis=1)
        assert widths.min() < 9
        assert widths.max() > 13

    def test_a_square_is_erased_of_what_the_network_sees(self):
        white = np.full((12, 12, 1), 255, np.uint8)
        x, found = _augment_often(Preprocessing(crop=8, erase=3), white)
        np.testing.assert_array_equal(x, found)
        assert (found.sum(axis=(1, 2, 3)) == 64 - 9).all()
        assert ((found == 0).any(axis=0)).all()  # any place may be hit

    def test_an_image_smaller_than_what_is_erased(self):
        with pytest.raises(UsageError, match=r"at least 9x9 pixels.*Received: 8x20"):
            Preprocessing(erase=9).output_shape((8, 20, 1))

    def test_none_of_it_is_done_at_test_time(self):
        images = _images(3, 12, 12, 1)
        distorted = Preprocessing(rotation=30, zoom=0.1, squish=0.2, erase=4)
        for found, expected in zip(
            distorted.evaluate(images), Preprocessing().evaluate(images), strict=True
        ):
            np.testing.assert_array_equal(found, expected)


class TestShapes:
    @pytest.mark.parametrize(
        ("preprocessing", "image_shape", "expected"),
        [
            (Preprocessing(), (28, 30, 1), (28, 30, 1)),
            (Preprocessing(resize=28), (96, 90, 1), (28, 28, 1)),
            (Preprocessing(resize=28, crop=24), (96, 96, 2), (24, 24, 2)),
            (Preprocessing(shift=4), (32, 30, 3), (32, 30, 3)),
            (EVERYTHING, (8, 100, 3), (16, 16, 3)),
        ],
    )
    def test_it_is_what_comes_out(self, preprocessing, image_shape, expected):
        assert preprocessing.output_shape(image_shape) == expected
        for image in (
            *preprocessing.augment(_images(*image_shape), (1, 2)),
            *(result[0] for result in preprocessing.evaluate(_images(1, *image_shape))),
        ):
            assert image.shape == expected

    @pytest.mark.parametrize("image_shape", [(23, 40, 1), (40, 23, 1)])
    def test_images_smaller_than_the_crop(self, image_shape):
        crops = Preprocessing(crop=24)
        sentence = f"at least 24x24 pixels, .* Received: {image_shape[0]}x{image_shape[1]}$"
        for use in (
            lambda: crops.output_shape(image_shape),
            lambda: crops.augment(_images(*image_shape), (0, 0)),
            lambda: crops.evaluate(_images(1, *image_shape)),
        ):
            with pytest.raises(UsageError, match=sentence):
                use()


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"resize": 0}, "Expected resize >= 1 or None. Received: 0"),
            ({"crop": -3}, "Expected crop >= 1 or None. Received: -3"),
            ({"shift": -1}, "Expected shift >= 0. Received: -1"),
            ({"erase": -1}, "Expected erase >= 0. Received: -1"),
            ({"rotation": 181}, "Expected rotation between 0 and 180. Received: 181"),
            ({"rotation": -1}, "Received: -1"),
            ({"zoom": 1.0}, r"Expected zoom in \[0, 1\). Received: 1.0"),
            ({"squish": math.nan}, r"Expected squish in \[0, 1\). Received: nan"),
            ({"brightness": 1.5}, "Expected brightness between 0 and 1. Received: 1.5"),
            ({"brightness": -0.1}, "Received: -0.1"),
            ({"brightness": math.nan}, "Received: nan"),
        ],
    )
    def test_out_of_range(self, arguments, message):
        with pytest.raises(UsageError, match=message):
            Preprocessing(**arguments)

    @pytest.mark.parametrize("preprocessing", [Preprocessing(), EVERYTHING])
    def test_json_keeps_it(self, preprocessing):
        stored = json.loads(json.dumps(preprocessing.to_dict()))
        assert Preprocessing.from_dict(stored) == preprocessing
