"""tensorflow_datasets knows the tasks once tfcaps is imported, and tfcaps doesn't import it."""

import pytest

from tests import runs
from tfcaps.datasets import abstract_shapes


@pytest.mark.parametrize("imports", ["tfcaps, tensorflow_datasets", "tensorflow_datasets, tfcaps"])
def test_it_is_known_in_either_order(imports):
    code = f"""
import {imports}
print(tensorflow_datasets.builder_cls("abstract_shapes").__module__)
"""
    status, output, errors = runs.finish(runs.start_code(code))
    assert status == 0, errors
    assert output.split()[-1] == "tfcaps.datasets.abstract_shapes.builder"


def test_its_images_are_those_of_the_task(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    from tfcaps.datasets.abstract_shapes import builder

    monkeypatch.setattr(builder, "TRAIN_IMAGES", 7)
    monkeypatch.setattr(builder, "TEST_IMAGES", 5)
    made = tfds.builder("abstract_shapes/svrt_14", data_dir=tmp_path)
    made.download_and_prepare()
    assert {name: split.num_examples for name, split in made.info.splits.items()} == {
        "train": 7,
        "test": 5,
    }
    assert made.info.features["label"].names == ["without", "with"]
    seen = {
        (example["image"].tobytes(), int(example["label"]))
        for example in tfds.as_numpy(made.as_dataset("test"))
    }
    expected = abstract_shapes.generate("svrt_14", 5, split="test")
    assert seen == {
        (image.tobytes(), int(label))
        for image, label in zip(expected.images, expected.labels, strict=True)
    }


def test_each_task_is_a_configuration():
    names = [config.name for config in abstract_shapes.AbstractShapes.BUILDER_CONFIGS]
    tasks = abstract_shapes.names()
    assert tuple(names[: len(tasks)]) == tasks
    # 5, 9, 9, 6 and 6 numbers of shapes, see the tests of `layouts`.
    assert len(names) == len(set(names)) == len(tasks) + 35
    assert {"odd_one_out_3", "odd_one_out_7", "psvrt_same_four_10"} < set(names)


def test_another_number_of_shapes(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    from tfcaps.datasets.abstract_shapes import builder

    monkeypatch.setattr(builder, "TRAIN_IMAGES", 2)
    monkeypatch.setattr(builder, "TEST_IMAGES", 1)
    made = tfds.builder("abstract_shapes/odd_one_out_6", data_dir=tmp_path)
    made.download_and_prepare()
    (example,) = tfds.as_numpy(made.as_dataset("test"))
    expected = abstract_shapes.generate("odd_one_out", 1, split="test", shapes=6)
    assert example["image"].tobytes() == expected.images.tobytes()
