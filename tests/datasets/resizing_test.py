import numpy as np
import PIL.Image

from tfcaps.datasets import resizing


def _random_images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_shrinking_averages_with_triangle_weights():
    stripes = np.tile(np.array([0, 255, 0, 255], np.uint8), (4, 1))[..., None]
    shrunk = resizing.resize_uint8(stripes, 2).numpy()[..., 0]
    # At half the size a pixel is 0.75, 0.75, 0.25 of its nearest three (the fourth is outside),
    # divided by 1.75: 255 · 0.75 / 1.75 = 109.3 and 255 · 1 / 1.75 = 145.7.
    assert shrunk.tolist() == [[109, 146]] * 2


def test_it_agrees_with_pillow():
    image = _random_images(40, 25, 3)
    expected = np.asarray(
        PIL.Image.fromarray(image).resize((16, 16), PIL.Image.Resampling.BILINEAR)
    )
    difference = resizing.resize_uint8(image, 16).numpy().astype(int) - expected
    # Pillow rounds between its two passes too.
    assert np.abs(difference).max() <= 1


def test_an_image_of_that_size_is_unchanged():
    image = _random_images(9, 9, 3)
    np.testing.assert_array_equal(resizing.resize_uint8(image, 9).numpy(), image)
    np.testing.assert_array_equal(resizing.resize(image, 9).numpy(), image)


def test_many_images_are_resized_as_one_by_one(monkeypatch):
    monkeypatch.setattr(resizing, "_CHUNK", 2)
    images = _random_images(5, 8, 6, 1)
    expected = np.stack([resizing.resize_uint8(image, 4).numpy() for image in images])
    np.testing.assert_array_equal(resizing.resize_all(images, 4), expected)
