"""What images are compared by: any Keras model by its file, and one sentence where it is none."""

import os

import keras
import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.labeling import pages
from tfcaps import files
from tfcaps.errors import UsageError
from tfcaps.labeling import image_files, network_features, pixel_features, ranking
from tfcaps.labeling.features import Extractor
from tfcaps.labeling.image_files import near_duplicates


@pytest.fixture(scope="module")
def weights():
    return np.random.default_rng(0).normal(size=(48, 5)).astype(np.float32)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory, weights):
    """A network of images (6, 8, 1) whose last features are a product with weights."""
    inputs = keras.Input((6, 8, 1))
    inner = keras.layers.Dense(5, use_bias=False, name="inner")
    outputs = keras.layers.Dense(2)(inner(keras.layers.Flatten()(inputs)))
    model = keras.Model(inputs, outputs)
    outputs = keras.layers.Softmax()(outputs)
    inner.set_weights([weights])
    path = tmp_path_factory.mktemp("model") / "model.keras"
    model.save(path)
    return path


def test_a_network_of_another_size_and_of_grey_images(tmp_path, model_file, weights):
    folder = pages.pictures(tmp_path / "pictures", 4)
    (folder / "00002.png").write_bytes(b"no picture")
    store = tmp_path / "store"
    (store / "thumbnails").mkdir(parents=True)
    names = {number: f"{number:05}.png" for number in range(4)}
    prepared = ranking.prepare(str(store), str(folder), names, str(model_file))
    assert prepared.unreadable == [2]
    found = files.read_arrays(store / "features.npz", ("numbers", "features", "pixels"))
    assert found["features"].shape == (4, 5)
    assert not found["features"][2].any()
    thumbnail = ranking.read_stretched(ranking.thumbnail_file(store, 1), 6, 8)
    # ITU-R BT.601, and how TensorFlow makes whole numbers of parts of 255.
    grey = np.floor(thumbnail @ [0.2989, 0.587, 0.114] / 255 * 255.5) / 255
    np.testing.assert_allclose(found["features"][1], grey.reshape(-1) @ weights, rtol=1e-4)


def test_images_of_the_networks_size(model_file, weights):
    model = keras.models.load_model(model_file)
    images = np.random.default_rng(1).random((3, 6, 8, 1)).astype(np.float32)
    expected = images.reshape(3, -1) @ weights
    np.testing.assert_allclose(network_features(model, images), expected, rtol=1e-4)
    with pytest.raises(UsageError, match=r"Expected images as the network takes them, \(6, 8, 1\)"):
        network_features(model, images[:, :5])


def of_two_inputs(path):
    inputs = [keras.Input((2, 2, 1)), keras.Input((2, 2, 1))]
    joined = keras.layers.Flatten()(keras.layers.Concatenate()(inputs))
    keras.Model(inputs, keras.layers.Dense(2)(joined)).save(path)


def of_one_layer(path):
    inputs = keras.Input((2, 2, 1))
    keras.Model(inputs, keras.layers.Flatten()(inputs)).save(path)


def of_numbers(path):
    inputs = keras.Input((3,))
    keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Dense(2)(inputs))).save(path)


@pytest.mark.parametrize(
    "write, sentence",
    [
        (lambda path: None, "Expected --features with a Keras model (.keras). Received: {}"),
        (lambda path: path.write_text("a letter"),
         "Expected --features with a Keras model (.keras). Received: {}"),
        (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)),
         "Expected --features with a Keras model (.keras). Received: {}"),
        (lambda path: path.mkdir(),
         "Expected --log_dir to be the directory of a run. Received: {}, which has no run.json"),
        (of_one_layer, "Expected a network with a layer before its last one. Received: 1 layers"),
        (of_two_inputs, "Expected --features with a network of one input, images (height, width, "
                        "1 or 3). Received: {}, whose inputs have the shapes (2, 2, 1), (2, 2, 1)"),
        (of_numbers, "Expected --features with a network of one input, images (height, width, "
                     "1 or 3). Received: {}, whose inputs have the shapes (3,)"),
    ],
)  # fmt: skip
def test_wrong_file(tmp_path, write, sentence):
    path = tmp_path / "file.keras"
    write(path)
    with pytest.raises(UsageError) as caught:
        Extractor(path)
    assert str(caught.value) == sentence.format(path)


def test_components_of_many_images_are_learned_from_some(monkeypatch):
    """Images on a line have one component, whichever of them it is learned from."""
    monkeypatch.setattr("tfcaps.labeling.features._LEARNED", 7)
    steps = np.arange(20)
    images = (np.arange(4).reshape(1, 2, 2, 1) * steps[:, None, None, None]).astype(np.uint8)
    found = pixel_features(images, components=2)
    assert found.shape == (20, 2)
    along = found[:, 0] * np.sign(found[-1, 0])
    np.testing.assert_allclose(np.diff(along), np.sqrt(14) / 255, rtol=1e-4)


def test_near_duplicates_by_a_plain_loop():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 30, (40, 8, 8, 3)).astype(np.uint8)
    images[20:] = images[:20] + generator.integers(0, 2, (20, 1, 1, 1)).astype(np.uint8) * 7
    hashes = generator.integers(0, 4, 40).astype(np.uint64)
    expected, taken = [], set()
    for first in range(40):
        group = [
            second
            for second in range(40)
            if second not in taken
            and first not in taken
            and bin(int(hashes[first]) ^ int(hashes[second])).count("1") <= 2
            and np.mean(np.abs(images[first].astype(float) - images[second])) <= 8
        ]
        taken |= set(group)
        expected += [group] if len(group) > 1 else []
    assert near_duplicates(hashes, images) == expected
    assert len(expected) > 5


def test_thumbnails_are_made_once_for_each_file(tmp_path):
    source, target = tmp_path / "picture.bmp", tmp_path / "small.jpg"
    Image.new("RGB", (4, 4), "red").save(source)
    os.utime(source, ns=(0, 10**9))
    assert image_files.thumbnail(source, target) == target
    made = target.stat().st_ino
    assert image_files.thumbnail(source, target) == target
    assert target.stat().st_ino == made
    # Archives give all files the same time: the size tells, or the time alone.
    Image.new("RGB", (400, 4), "blue").save(source)
    os.utime(source, ns=(0, 10**9))
    image_files.thumbnail(source, target)
    assert image_files.read_stretched(target, 1, 1)[0, 0, 2] > 200
    before = source.stat().st_size
    Image.new("RGB", (400, 4), "lime").save(source)
    assert source.stat().st_size == before
    image_files.thumbnail(source, target)
    assert image_files.read_stretched(target, 1, 1)[0, 0, 1] > 200
    # One without content, as the end of the power leaves it; and one whose image is gone.
    target.write_bytes(b"")
    image_files.thumbnail(source, target)
    assert image_files.read_stretched(target, 1, 1)[0, 0, 1] > 200
    source.unlink()
    assert image_files.thumbnail(source, target) == target
    target.unlink()
    assert image_files.thumbnail(source, target) is None


@pytest.mark.parametrize("orientation", [None, 1, 2, 3, 4, 5, 6, 7, 8, 99, "damaged"])
def test_photographs_are_shown_upright(tmp_path, orientation):
    """As Pillow turns them, where it can."""
    corners = [[(200, 0, 0), (0, 200, 0)], [(0, 0, 200), (99, 99, 99)], [(0, 0, 0), (200, 200, 0)]]
    image = Image.fromarray(np.array(corners, np.uint8))
    exif = Image.Exif()
    if isinstance(orientation, int):
        exif[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*\xff" if orientation == "damaged" else exif)
    image_files.thumbnail(tmp_path / "a.png", tmp_path / "small.jpg")
    with Image.open(tmp_path / "a.png") as opened:
        expected = image if orientation == "damaged" else ImageOps.exif_transpose(opened)
    height, width = expected.height, expected.width
    found = image_files.read_stretched(tmp_path / "small.jpg", 53 * height, 53 * width)
    middles = found[26::53, 26::53].astype(int)
    np.testing.assert_allclose(middles, np.asarray(expected.convert("RGB")), atol=12)


def test_images_are_looked_at_once(tmp_path, monkeypatch, model_file):
    folder = pages.pictures(tmp_path / "pictures", 4)
    (folder / "00003.png").write_bytes((folder / "00001.png").read_bytes())
    store = tmp_path / "store"
    (store / "thumbnails").mkdir(parents=True)
    names = {number: f"{number:05}.png" for number in range(4)}
    first = ranking.prepare(str(store), str(folder), names, None)
    assert first.duplicates == [[1, 3]]
    features = (store / "features.npz").read_bytes()

    def never(*arguments):
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(ranking, "read_stretched", never)
        assert ranking.prepare(str(store), str(folder), names, None) == first
        assert (store / "features.npz").read_bytes() == features
    # So are files that were replaced under their names, other images, or another network.
    (folder / "00003.png").write_bytes((folder / "00002.png").read_bytes())
    assert ranking.prepare(str(store), str(folder), names, None).duplicates == [[2, 3]]
    assert (store / "features.npz").read_bytes() != features
    assert ranking.prepare(str(store), str(folder), {0: "00000.png"}, None).duplicates == []
    ranking.prepare(str(store), str(folder), names, str(model_file))
    assert files.read_arrays(store / "features.npz", ("numbers", "features", "pixels"))[
        "features"
    ].shape == (
        4,
        5,
    )
