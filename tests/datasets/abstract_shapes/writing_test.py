"""Folders of pictures and TFRecord: they hold what `generate` gives, and nothing is overwritten."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tfcaps import datasets
from tfcaps.datasets import abstract_shapes
from tfcaps.errors import UsageError

COUNTS = {"train": 12, "test": 8}
WRITERS = (abstract_shapes.write_pictures, abstract_shapes.write_records)


def test_pictures_are_a_data_set(tmp_path):
    folder = abstract_shapes.write_pictures("svrt_1", tmp_path / "set", COUNTS, seed=4)
    data = datasets.load(f"images:{folder}", image_size=128)
    assert (len(data.train), len(data.test)) == (12, 8)
    assert data.class_names == ("with", "without")
    expected = abstract_shapes.generate("svrt_1", 8, seed=4, split="test")
    for number, (image, label) in enumerate(zip(expected.images, expected.labels, strict=True)):
        path = folder / "test" / ("without", "with")[label] / f"{number:08d}.png"
        np.testing.assert_array_equal(tf.io.decode_png(path.read_bytes()), image)


def test_pictures_have_their_geometry(tmp_path):
    folder = abstract_shapes.write_pictures("svrt_6_clean", tmp_path / "set", COUNTS)
    with np.load(folder / "train-00000-of-00001.npz") as arrays:
        size = int(arrays["size"])
        fields = {name: arrays[name] for name in ("labels", "outlines", "centres", "keys")}
    layout = abstract_shapes.Layout(size, **fields)
    np.testing.assert_array_equal(abstract_shapes.decide("svrt_6_clean", layout), layout.labels)
    expected = abstract_shapes.generate("svrt_6_clean", 12, rendering="colour").images
    np.testing.assert_array_equal(layout.render("colour"), expected)


def test_records(tmp_path, monkeypatch):
    from tfcaps.datasets.abstract_shapes import writing

    monkeypatch.setattr(writing, "_SHARD", 5)
    folder = abstract_shapes.write_records(
        "same", tmp_path / "set", COUNTS, size=96, rendering="colour"
    )
    assert sorted(path.name for path in folder.glob("train*")) == [
        f"train-0000{shard}-of-00003.tfrecord" for shard in range(3)
    ]
    expected = abstract_shapes.generate("same", 12, size=96, rendering="colour")
    read = list(abstract_shapes.read_records(folder, "train").as_numpy_iterator())
    np.testing.assert_array_equal(np.stack([image for image, _ in read]), expected.images)
    assert [label for _, label in read] == expected.labels.tolist()
    layout = abstract_shapes.layouts("same", 12, size=96)
    paths = sorted(map(str, folder.glob("train*")))
    for row, record in enumerate(tf.data.TFRecordDataset(paths).as_numpy_iterator()):
        values = tf.train.Example.FromString(record).features.feature
        assert list(values["number"].int64_list.value) == [row]
        outlines = np.array(values["outlines"].float_list.value, np.float32)
        np.testing.assert_array_equal(outlines, layout.outlines[row].ravel())


@pytest.mark.parametrize("write", WRITERS)
def test_the_same_set_again_changes_nothing(write, tmp_path):
    folder = write("svrt_1", tmp_path / "set", COUNTS)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert write("svrt_1", tmp_path / "set", COUNTS) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize("write", WRITERS)
def test_another_set_is_refused(write, tmp_path):
    write("svrt_1", tmp_path / "set", COUNTS)
    with pytest.raises(UsageError, match=r"or one that holds the same set.*'task': 'svrt_1'"):
        write("svrt_5", tmp_path / "set", COUNTS)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"which holds something else$"):
        write("svrt_5", tmp_path / "notes", COUNTS)
    assert (tmp_path / "notes" / "a.txt").read_text() == "mine"


@pytest.mark.parametrize("write", WRITERS)
def test_what_was_broken_off_leaves_no_folder(write, tmp_path, monkeypatch):
    from tfcaps.datasets.abstract_shapes import writing

    def fails(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "layouts", fails)
    with pytest.raises(KeyboardInterrupt):
        write("svrt_1", tmp_path / "set", COUNTS)
    assert list(tmp_path.iterdir()) == []


def test_the_set_is_described(tmp_path):
    folder = abstract_shapes.write_pictures("inside", tmp_path / "set", {"train": 2}, size=96)
    assert json.loads((folder / "set.json").read_text()) == {
        "form": "pictures",
        "task": "inside",
        "seed": 0,
        "size": 96,
        "rendering": "outline",
        "counts": {"train": 2},
    }


@pytest.mark.parametrize("write", WRITERS)
def test_number_of_shapes(write, tmp_path):
    folder = write("odd_one_out", tmp_path / "set", {"test": 3}, shapes=6)
    assert json.loads((folder / "set.json").read_text())["shapes"] == 6
    if write is abstract_shapes.write_records:
        images = [image for image, _ in abstract_shapes.read_records(folder, "test")]
    else:
        files = sorted(folder.glob("test/*/*.png"), key=lambda path: path.name)
        images = [tf.io.decode_png(path.read_bytes()) for path in files]
    expected = abstract_shapes.layouts("odd_one_out", 3, split="test", shapes=6).render()
    np.testing.assert_array_equal(np.stack(images), expected)
    with pytest.raises(UsageError, match=r"or one that holds the same set.*'shapes': 6"):
        write("odd_one_out", tmp_path / "set", {"test": 3})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "svrt_0"}, r"Expected an abstract task among .* Received: svrt_0$"),
        ({"counts": {}}, r"Expected a number of images for a split. Received: none$"),
        ({"counts": {"train": 0}}, r"images for train to be a positive integer. Received: 0$"),
        ({"counts": {"dev": 3}}, r"Expected a split among .* Received: dev$"),
        ({"size": 90}, r"Expected a size of 96 to 1024 pixels .* Received: 90$"),
        ({"shapes": 3}, r"Expected no number of shapes for svrt_1. Received: 3$"),
        ({"rendering": "neon"}, r"Expected a rendering among .* Received: neon$"),
    ],
)
@pytest.mark.parametrize("write", WRITERS)
def test_wrong_input(write, arguments, message, tmp_path):
    given = {"task": "svrt_1", "folder": tmp_path / "set", "counts": COUNTS} | arguments
    with pytest.raises(UsageError, match=message):
        write(**given)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_records(tmp_path):
    with pytest.raises(UsageError, match=r"Expected a folder with test-\*.tfrecord. Received: "):
        abstract_shapes.read_records(tmp_path, "test")
