"""One prediction explained: files, numbers and wrong input."""

import csv
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests import runs
from tfcaps import datasets, training
from tfcaps.errors import UsageError
from tfcaps.explanation import explain, read_image


@pytest.fixture(scope="module")
def explained(full_run, tmp_path_factory):
    """A copy of a run whose test image 5 has been explained."""
    run = shutil.copytree(full_run, tmp_path_factory.mktemp("explained") / "run")
    return run, explain(run, test_image=5)


def write_png(path, pixels):
    path.write_bytes(tf.io.encode_png(pixels).numpy())
    return path


class TestExplain:
    def test_numbers(self, explained):
        run, found = explained
        loaded = training.load_run(run)
        test = datasets.load("mnist5k").test
        inputs, _ = loaded.preprocessing.evaluate(test.images[5:6])
        scores = np.asarray(loaded.model.classifier(inputs))[0]
        np.testing.assert_allclose(list(found["lengths"].values()), scores, atol=1e-5)
        assert found["predicted"] == loaded.class_names[scores.argmax()]
        assert found["truth"] == loaded.class_names[test.labels[5]]
        assert found["has_decoder"]
        # 24 pixels: (24 − 16 + 1)//2 = 4 places a side.
        assert found["receptive_field"]["places"] == [4, 4]
        assert len(found["relevance"]["primary_capsules"]) == 16

    def test_files(self, explained):
        run, found = explained
        folder = run / "explanation" / "test-5"
        assert found["folder"] == str(folder)
        assert sorted(path.name for path in folder.iterdir()) == [
            *("branches.csv", "dimensions.png", "explanation.json", "places.csv"),
            "routing_tree.png",
        ]
        stored = json.loads((folder / "explanation.json").read_text())
        assert {**stored, "folder": str(folder)} == found
        with (folder / "places.csv").open() as file:
            places = {
                (int(row["row"]), int(row["column"])): float(row["relevance"])
                for row in csv.DictReader(file)
            }
        assert len(places) == 16
        assert sum(places.values()) == pytest.approx(1, abs=1e-4)
        with (folder / "branches.csv").open() as file:
            rows = list(csv.DictReader(file))
        top = [row for row in rows if row["upper"] == "capsules_2"]
        assert {row["upper_node"] for row in top} == {found["predicted"]}
        assert sum(float(row["relevance"]) for row in top) == pytest.approx(1, abs=1e-4)

    def test_another_class_of_a_file(self, small_run, tmp_path):
        run = shutil.copytree(small_run, tmp_path / "run")
        image = datasets.load("mnist5k").test.images[0]
        found = explain(run, image=write_png(tmp_path / "digit.png", image), capsule="3")
        assert (found["capsule"], found["truth"], found["has_decoder"]) == ("3", None, False)
        assert found["relevance"]["capsules_2"] == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        names = {path.name for path in (run / "explanation" / "digit").iterdir()}
        assert "dimensions.png" not in names
        assert "routing_tree.png" in names


class TestReadImage:
    @pytest.fixture
    def run(self, small_run):
        return training.load_run(small_run)

    def test_colour_and_transparency(self, run, tmp_path):
        grey = np.random.default_rng(0).integers(0, 256, (28, 28, 1), np.uint8)
        opaque = np.full_like(grey, 255)
        for name, pixels in {
            "grey": grey,
            "grey and alpha": np.concatenate([grey, opaque], axis=-1),
            "rgb": np.repeat(grey, 3, axis=-1),
            "rgb and alpha": np.concatenate([grey, grey, grey, opaque], axis=-1),
        }.items():
            read = read_image(write_png(tmp_path / f"{name}.png", pixels), run)
            assert read.shape == (28, 28, 1)
            # The weights of red, green and blue sum to 0.9999.
            np.testing.assert_allclose(read, grey, atol=1, err_msg=name)

    def test_another_size(self, run, tmp_path):
        path = write_png(tmp_path / "large.png", np.full((30, 56, 1), 77, np.uint8))
        with pytest.raises(UsageError) as caught:
            read_image(path, run)
        assert str(caught.value) == (
            "Expected an image of 28×28 pixels, as in the training, or --resize to stretch it. "
            f"Received: {path}, of 30×56"
        )
        np.testing.assert_array_equal(read_image(path, run, resize=True), np.full((28, 28, 1), 77))

    def test_no_image(self, run, tmp_path):
        text = tmp_path / "text.png"
        text.write_text("no picture")
        for path in (text, tmp_path / "missing.png", tmp_path):
            with pytest.raises(UsageError, match=r"Expected --image to be a file that can be read"):
                read_image(path, run)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "Expected one of --image and --test_image. Received: none"),
        ({"image": "a.png", "test_image": 1}, "Received: both"),
        ({"test_image": 1000}, "between 0 and 999, as the test set has 1000 images. Received"),
        ({"test_image": -1}, "Received: -1"),
        ({"test_image": 1, "capsule": "ten"}, "one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9. Received: ten"),
        ({"test_image": 1, "most_relevant": 0}, "Expected --most_relevant >= 1. Received: 0"),
    ],
)
def test_wrong_input(small_run, arguments, sentence):
    before = runs.snapshot(small_run)
    with pytest.raises(UsageError) as caught:
        explain(small_run, **arguments)
    assert sentence in str(caught.value)
    assert runs.snapshot(small_run) == before


def test_wrong_network(tmp_path, quick):
    with pytest.raises(UsageError, match=r"which has no run\.json"):
        explain(tmp_path, test_image=0)
