"""Abstract tasks: the classes are what the definitions say, and each image stands for itself."""

import dataclasses
import itertools

import numpy as np
import pytest

from tfcaps import datasets, training
from tfcaps.datasets import Preprocessing, abstract_shapes
from tfcaps.datasets.abstract_shapes import shapes
from tfcaps.errors import UsageError

TASKS = abstract_shapes.names()


def test_names():
    assert tuple(f"svrt_{number}" for number in range(1, 24)) == TASKS[:23]


@pytest.mark.parametrize("task", TASKS)
def test_the_geometry_of_a_thousand_images_gives_their_classes(task):
    layout = abstract_shapes.layouts(task, 1000, seed=3)
    np.testing.assert_array_equal(abstract_shapes.decide(task, layout), layout.labels)
    # Drawn, not alternating: five standard deviations around a half
    assert abs(layout.labels.mean() - 0.5) < 5 * 0.5 / np.sqrt(1000)


@pytest.mark.parametrize("task", TASKS)
def test_an_image_is_the_same_made_alone(task):
    some = abstract_shapes.layouts(task, [4, 0, 11])
    alone = abstract_shapes.layouts(task, [11])
    np.testing.assert_array_equal(some.render()[2], alone.render()[0])
    assert some.labels[2] == alone.labels[0]


def test_the_checker_sees_another_shape():
    layout = abstract_shapes.layouts("svrt_1", 50)
    changed = layout.outlines.copy()
    changed[:, 1] *= 0.9
    moved = dataclasses.replace(layout, outlines=changed)
    assert (abstract_shapes.decide("svrt_1", moved) == 0).all()


def test_the_checker_sees_what_touches():
    layout = abstract_shapes.layouts("svrt_1", 50)
    centres = layout.centres.copy()
    centres[:, 1] = centres[:, 0]
    moved = dataclasses.replace(layout, centres=centres)
    assert (abstract_shapes.decide("svrt_1", moved)[layout.labels == 1] == -1).all()


def test_the_checker_sees_what_leaves_the_picture():
    layout = abstract_shapes.layouts("svrt_1", 20)
    moved = dataclasses.replace(layout, centres=layout.centres + np.array([128, 0]))
    assert (abstract_shapes.decide("svrt_1", moved) == -1).all()


@pytest.mark.parametrize(
    "task", ["svrt_14", "svrt_1_clean", "odd_one_out", "symmetric", "psvrt_same", "psvrt_arranged"]
)
def test_seeds_and_splits_have_no_image_in_common(task):
    sets = [
        {image.tobytes() for image in abstract_shapes.generate(task, 200, **choice).images}
        for choice in ({}, {"split": "validation"}, {"split": "test"}, {"seed": 1})
    ]
    assert [len(images) for images in sets] == [200] * 4
    assert not any(a & b for a, b in itertools.combinations(sets, 2))


def test_outlines_are_closed_lines_of_white_on_black():
    image = abstract_shapes.generate("svrt_4", 1).images[0, ..., 0]
    assert set(np.unique(image)) == {0, 255}
    # Each white pixel has two white neighbours at least, on a closed line.
    white = np.argwhere(image == 255)
    for y, x in white:
        assert (image[y - 1 : y + 2, x - 1 : x + 2] == 255).sum() >= 2


def test_a_filled_square():
    corners = np.array([[-2, -2], [2, -2], [2, 2], [-2, 2]], np.float32)
    square = shapes.Shapes(corners[None, None])
    mask = shapes.filled(square.dense[:, 0], np.array([[5, 4]]), 10)[0]
    expected = np.zeros((10, 10), bool)
    expected[2:7, 3:8] = True
    np.testing.assert_array_equal(mask, expected)


def test_the_stream_is_the_numbered_images():
    expected = abstract_shapes.generate("svrt_22", 3)
    streamed = list(itertools.islice(abstract_shapes.stream("svrt_22"), 3))
    np.testing.assert_array_equal(np.stack([image for image, _ in streamed]), expected.images)
    assert [label for _, label in streamed] == expected.labels.tolist()


def test_other_sizes_keep_the_definitions():
    for task, size in (("svrt_2", 160), ("svrt_3", 100), ("svrt_11", 200)):
        layout = abstract_shapes.layouts(task, 20, size=size)
        assert layout.render().shape == (20, size, size, 1)
        np.testing.assert_array_equal(abstract_shapes.decide(task, layout), layout.labels)


def test_as_a_data_set(monkeypatch):
    from tfcaps.datasets.abstract_shapes import generator

    monkeypatch.setattr(generator, "TRAIN_IMAGES", 60)
    monkeypatch.setattr(generator, "TEST_IMAGES", 20)
    data = datasets.load("abstract:svrt_10", validation_fraction=0.1)
    assert (len(data.train), len(data.validation), len(data.test)) == (54, 6, 20)
    assert (data.image_shape, data.class_names) == ((128, 128, 1), ("without", "with"))
    assert datasets.preprocessing("abstract:svrt_10", "paper") == Preprocessing()


def test_as_a_data_set_in_another_rendering(monkeypatch):
    from tfcaps.datasets.abstract_shapes import generator

    monkeypatch.setattr(generator, "TRAIN_IMAGES", 6)
    monkeypatch.setattr(generator, "TEST_IMAGES", 4)
    data = datasets.load("abstract:svrt_10/colour")
    assert data.image_shape == (128, 128, 3)
    expected = abstract_shapes.generate("svrt_10", 4, split="test", rendering="colour")
    np.testing.assert_array_equal(data.test.images, expected.images)
    with pytest.raises(UsageError, match=r"Expected a rendering among .* Received: neon$"):
        datasets.load("abstract:svrt_10/neon")


def test_a_run_is_named_after_task_and_rendering():
    config = training.BlockNetworkConfig(
        log_dir="", dataset="abstract:svrt_1/thick", model="resnet"
    )
    assert config.run_name == "svrt_1-thick-resnet"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "svrt_24"}, "svrt_1 to svrt_23, svrt_N_clean .*, perhaps svrt_.*: svrt_24$"),
        ({"task": "svrt_4_clean"}, r"svrt_N_clean \(N: 1, 5, .*, 22\), .*: svrt_4_clean$"),
        ({"task": "odd_one"}, ", perhaps odd_one_out. Received: odd_one$"),
        ({"task": "circles"}, "checkerboard_five_rotated. Received: circles$"),
        ({"indices": 0}, "Expected the number of images to be a positive integer. Received: 0"),
        ({"indices": [-1]}, r"Expected numbers of images, each >= 0. Received: \[-1\]"),
        ({"indices": []}, r"each >= 0. Received: \[\]"),
        ({"seed": -1}, "Expected a seed between 0 and .* Received: -1"),
        ({"split": "dev"}, "among train, validation, test. Received: dev"),
        ({"size": 64}, "Expected a size of 96 to 1024 pixels for svrt_2. Received: 64"),
    ],
)
def test_wrong_input(arguments, message):
    given = {"task": "svrt_2", "indices": 2} | arguments
    with pytest.raises(UsageError, match=message):
        abstract_shapes.layouts(given.pop("task"), given.pop("indices"), **given)


def test_a_wrong_task_of_a_data_set():
    with pytest.raises(UsageError, match=r"perhaps svrt_1.* Received: svrt1$"):
        datasets.load("abstract:svrt1")


@pytest.mark.parametrize(
    ("task", "fewest", "most"),
    [
        ("odd_one_out", 3, 7),
        ("orientation_several", 1, 9),
        ("psvrt_same_four", 2, 10),
        ("checkerboard_five", 1, 6),
        ("checkerboard_five_rotated", 1, 6),
    ],
)
def test_numbers_of_shapes(task, fewest, most):
    for count in (fewest, most):
        scene = abstract_shapes.layouts(task, 30, shapes=count)
        np.testing.assert_array_equal(abstract_shapes.decide(task, scene), scene.labels)
        images = abstract_shapes.generate(task, 30, shapes=count).images
        np.testing.assert_array_equal(scene.render(), images)
    message = rf"Expected {fewest} to {most} shapes for {task}, as many as fit. Received: "
    for count in (fewest - 1, most + 1):
        with pytest.raises(UsageError, match=message + f"{count}$"):
            abstract_shapes.layouts(task, 1, shapes=count)


def test_a_task_with_its_own_number_of_shapes():
    with pytest.raises(UsageError, match=r"Expected no number of shapes for svrt_1. Received: 3$"):
        abstract_shapes.layouts("svrt_1", 1, shapes=3)


class TestNames:
    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("svrt_1", ("svrt_1", "outline", None)),
            ("svrt_1/dots", ("svrt_1", "dots", None)),
            ("odd_one_out/6", ("odd_one_out", "outline", 6)),
            ("odd_one_out/dots/6", ("odd_one_out", "dots", 6)),
        ],
    )
    def test_what_they_say(self, name, said):
        assert abstract_shapes.read_name(name) == said

    @pytest.mark.parametrize("name", ["same/6/dots", "same/dots/thick", "same/", "same/a/b/3"])
    def test_other_forms(self, name):
        sentence = rf"as TASK, TASK/RENDERING, .*TASK/RENDERING/SHAPES. Received: {name}$"
        with pytest.raises(UsageError, match=sentence):
            datasets.load(f"abstract:{name}")

    def test_no_number_that_anybody_draws(self):
        with pytest.raises(UsageError, match=r"Expected a rendering among .* Received: 9999"):
            datasets.load(f"abstract:odd_one_out/{'9' * 5000}")

    def test_number_of_shapes_of_a_data_set(self, monkeypatch):
        from tfcaps.datasets.abstract_shapes import generator

        monkeypatch.setattr(generator, "TRAIN_IMAGES", 6)
        monkeypatch.setattr(generator, "TEST_IMAGES", 4)
        data = datasets.load("abstract:odd_one_out/thick/6")
        expected = abstract_shapes.layouts("odd_one_out", 4, split="test", shapes=6)
        np.testing.assert_array_equal(data.test.images, expected.render("thick"))
        with pytest.raises(UsageError, match=r"Expected 3 to 7 shapes .* Received: 30$"):
            datasets.load("abstract:odd_one_out/30")

    def test_of_a_run(self):
        config = training.BlockNetworkConfig(
            log_dir="", dataset="abstract:odd_one_out/dots/6", model="resnet"
        )
        assert config.run_name == "odd_one_out-dots-6-resnet"
