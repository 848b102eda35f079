from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from tfcaps import datasets
from tfcaps.errors import UsageError

RED, GREEN, GREY = (255, 0, 0), (0, 255, 0), (90, 90, 90)


def _save(path: Path, color: tuple | int, *, size: tuple[int, int] = (8, 8), mode: str = "RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new(mode, size, color).save(path)


def _two_classes(root: Path, count: int = 10) -> None:
    """`apple` is red, `pear` green, and the blue channel is the image's number."""
    for index in range(count):
        _save(root / "apple" / f"{index}.png", (255, 0, index))
        _save(root / "pear" / f"{index}.png", (0, 255, index))


def _load(root: Path, **arguments) -> datasets.ImageDataset:
    return datasets.load(f"images:{root}", **arguments)


def _pixels(split: datasets.Split) -> list[tuple[int, ...]]:
    """Each image's one colour."""
    assert (split.images == split.images[:, :1, :1]).all()
    return [tuple(pixel) for pixel in split.images[:, 0, 0].tolist()]


class TestOneFolder:
    def test_a_fifth_of_each_class_is_the_test_set(self, tmp_path):
        _two_classes(tmp_path)
        dataset = _load(tmp_path)
        assert dataset.class_names == ("apple", "pear")
        assert dataset.train.labels.tolist() == [0] * 8 + [1] * 8
        assert dataset.test.labels.tolist() == [0] * 2 + [1] * 2
        everything = [(255, 0, i) for i in range(10)] + [(0, 255, i) for i in range(10)]
        assert sorted(_pixels(dataset.train) + _pixels(dataset.test)) == sorted(everything)

    def test_labels_belong_to_their_images(self, tmp_path):
        _two_classes(tmp_path)
        dataset = _load(tmp_path)
        for split in (dataset.train, dataset.test):
            reds = [pixel[0] for pixel in _pixels(split)]
            assert reds == [255 if label == 0 else 0 for label in split.labels]

    def test_the_test_set_does_not_follow_the_seed(self, tmp_path):
        _two_classes(tmp_path)
        first, second = (_load(tmp_path, seed=seed).test.images for seed in (0, 1))
        np.testing.assert_array_equal(first, second)

    def test_one_image_a_class_still_gives_a_test_image(self, tmp_path):
        _two_classes(tmp_path, count=1)
        dataset = _load(tmp_path)
        assert (len(dataset.train), len(dataset.test)) == (1, 1)

    def test_a_folder_in_the_home_folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        _two_classes(tmp_path / "fruit")
        assert datasets.load("images:~/fruit").class_names == ("apple", "pear")


class TestTrainAndTestFolders:
    def test_they_are_the_two_parts(self, tmp_path):
        _two_classes(tmp_path / "train", count=3)
        _two_classes(tmp_path / "test", count=2)
        dataset = _load(tmp_path)
        assert dataset.class_names == ("apple", "pear")
        assert _pixels(dataset.train) == [(255, 0, i) for i in range(3)] + [
            (0, 255, i) for i in range(3)
        ]
        assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
        assert dataset.test.labels.tolist() == [0, 0, 1, 1]

    def test_they_are_classes_when_only_one_of_them_is_a_part(self, tmp_path):
        _save(tmp_path / "train" / "0.png", RED)
        _save(tmp_path / "bus" / "0.png", GREEN)
        assert _load(tmp_path).class_names == ("bus", "train")

    def test_other_classes_in_one_of_them(self, tmp_path):
        _two_classes(tmp_path / "train", count=1)
        _two_classes(tmp_path / "test", count=1)
        _save(tmp_path / "test" / "plum" / "0.png", RED)
        with pytest.raises(UsageError, match=r"same class folders .* Only in one of them: plum"):
            _load(tmp_path)

    def test_a_colour_in_one_of_them_gives_both_three_channels(self, tmp_path):
        for part, color in (("train", GREY), ("test", RED)):
            for name in ("a", "b"):
                _save(tmp_path / part / name / "0.png", color)
        dataset = _load(tmp_path)
        assert dataset.train.images.shape == (2, 32, 32, 3)
        assert _pixels(dataset.train) == [GREY, GREY]
        assert _pixels(dataset.test) == [RED, RED]


class TestPixels:
    @pytest.mark.parametrize("ending", ["png", "jpg", "jpeg", "bmp", "gif", "PNG", "JPG"])
    def test_every_format_is_read(self, tmp_path, ending):
        for name, color in (("a", RED), ("b", GREEN)):
            _save(tmp_path / name / f"0.{ending}", color)
            _save(tmp_path / name / f"1.{ending}", color)
        dataset = _load(tmp_path, image_size=8)
        images = np.concatenate([dataset.train.images, dataset.test.images])
        labels = np.concatenate([dataset.train.labels, dataset.test.labels])
        expected = np.array([RED, GREEN])[labels][:, None, None]
        # JPEG is not exact.
        assert np.abs(images - expected).max() <= 2

    def test_any_size_is_stretched(self, tmp_path):
        for name, size in (("a", (50, 8)), ("b", (3, 200))):
            _save(tmp_path / name / "0.png", RED, size=size)
        path = tmp_path / "a" / "1.png"
        # Left half black: stretched, the border stays in the middle.
        halves = np.zeros((10, 40, 3), np.uint8)
        halves[:, 20:] = RED
        PIL.Image.fromarray(halves).save(path)
        dataset = _load(tmp_path, image_size=20)
        assert dataset.image_shape == (20, 20, 3)
        images = np.concatenate([dataset.train.images, dataset.test.images])
        (stretched,) = [image for image in images if not image.all(axis=(0, 1))[0]]
        np.testing.assert_array_equal(stretched[:, :9], np.zeros((20, 9, 3)))
        np.testing.assert_array_equal(stretched[:, 11:], np.broadcast_to(RED, (20, 9, 3)))

    def test_to_a_size_that_is_no_square(self, tmp_path):
        halves = np.zeros((10, 40, 3), np.uint8)
        halves[:, 20:] = RED
        for name in ("a", "b"):
            _save(tmp_path / name / "0.png", RED)
            PIL.Image.fromarray(halves).save(tmp_path / name / "1.png")
        images = _load(tmp_path, image_size=(6, 20)).train.images
        assert images.shape[1:] == (6, 20, 3)
        (stretched, *_) = [image for image in images if not image.all(axis=(0, 1))[0]]
        np.testing.assert_array_equal(stretched[:, :9], np.zeros((6, 9, 3)))
        np.testing.assert_array_equal(stretched[:, 11:], np.broadcast_to(RED, (6, 9, 3)))

    def test_the_default_size(self, tmp_path):
        _two_classes(tmp_path, count=2)
        assert _load(tmp_path).image_shape == (32, 32, 3)

    @pytest.mark.parametrize(("mode", "color"), [("L", 90), ("LA", (90, 10)), ("RGB", GREY)])
    def test_images_without_colour_have_one_channel(self, tmp_path, mode, color):
        for name in ("a", "b"):
            _save(tmp_path / name / "0.png", color, mode=mode)
        dataset = _load(tmp_path)
        assert dataset.image_shape == (32, 32, 1)
        assert _pixels(dataset.train) == [(90,)]

    def test_one_image_with_colour_gives_all_three_channels(self, tmp_path):
        _save(tmp_path / "a" / "0.png", 90, mode="L")
        _save(tmp_path / "b" / "0.png", (255, 0, 0, 7), mode="RGBA")
        dataset = _load(tmp_path)
        assert sorted(_pixels(dataset.train) + _pixels(dataset.test)) == [GREY, RED]

    def test_an_animation_gives_its_first_picture(self, tmp_path):
        red, green = PIL.Image.new("RGB", (8, 8), RED), PIL.Image.new("RGB", (8, 8), GREEN)
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            red.save(tmp_path / name / "0.gif", save_all=True, append_images=[green])
        dataset = _load(tmp_path)
        assert _pixels(dataset.train) + _pixels(dataset.test) == [RED, RED]

    def test_sixteen_bits_become_eight(self, tmp_path):
        deep = np.full((8, 8), 90 * 257, np.uint16)
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            PIL.Image.fromarray(deep).save(tmp_path / name / "0.png")
        assert _pixels(_load(tmp_path).train) == [(90,)]


class TestBadFolders:
    @pytest.mark.parametrize("folder", ["", "/no/such/folder"])
    def test_no_folder(self, folder):
        with pytest.raises(UsageError, match=f"Received: images:{folder}, and there is no such"):
            datasets.load(f"images:{folder}")

    def test_a_file_is_no_folder(self, tmp_path):
        path = tmp_path / "a.png"
        _save(path, RED)
        with pytest.raises(UsageError, match="there is no such folder"):
            _load(path)

    def test_an_empty_folder(self, tmp_path):
        with pytest.raises(UsageError, match=f"2 class folders in {tmp_path} .* Received: none"):
            _load(tmp_path)

    def test_one_class(self, tmp_path):
        _save(tmp_path / "apple" / "0.png", RED)
        (tmp_path / ".cache").mkdir()
        with pytest.raises(UsageError, match=r"Expected at least 2 class folders .*: apple$"):
            _load(tmp_path)

    def test_a_class_without_images(self, tmp_path):
        _two_classes(tmp_path)
        (tmp_path / "plum").mkdir()
        (tmp_path / "plum" / "notes.txt").write_text("none yet")
        (tmp_path / "plum" / "._0.png").write_text("what a file manager leaves")
        with pytest.raises(UsageError, match=f"Received: none in {tmp_path / 'plum'}$"):
            _load(tmp_path)

    @pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "gif"])
    @pytest.mark.parametrize("kept", [0, 0.1, 0.7])
    def test_a_truncated_image_is_named(self, tmp_path, ending, kept):
        _two_classes(tmp_path, count=3)
        path = tmp_path / "pear" / f"broken.{ending}"
        noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        PIL.Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
        with pytest.raises(UsageError, match=rf"can be read \(PNG, .*\). Received: {path}$"):
            _load(tmp_path)

    def test_a_text_named_as_an_image_is_named(self, tmp_path):
        _two_classes(tmp_path, count=3)
        path = tmp_path / "apple" / "story.png"
        path.write_text("once upon a time")
        with pytest.raises(UsageError, match=f"Received: {path}$"):
            _load(tmp_path)
