"""The experiment on abstract classes: its grid, images, tables, resuming, and wrong input."""

import csv
import dataclasses
import json
import math

import keras
import numpy as np
import pytest

from tests import runs
from tfcaps import training
from tfcaps.datasets import abstract_shapes
from tfcaps.errors import NotFiniteError, UsageError
from tfcaps.experiments import (
    AbstractClassExperiment,
    DepthExperiment,
    Training,
    abstract_class_experiment,
    abstract_report,
    abstract_trainings,
    efficiency_rows,
    size_rows,
)

TINY = {
    "tasks": ("svrt_14",),
    "sizes": (20, 60),
    "seeds": (0,),
    "image_size": 96,
    "renderings": ("outline",),
    "validation_images": 20,
    "test_images": 50,
    "blocks": (1,),
    "widths": (2,),
    "steps": 4,
    "steps_per_epoch": 2,
    "batch_size": 16,
    "learning_rate": 0.01,
    "workers": 1,
}


def experiment(log_dir, **changes) -> AbstractClassExperiment:
    return AbstractClassExperiment(log_dir=str(log_dir), **{**TINY, **changes})


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def trained(monkeypatch):
    """Replaces trainings by what they leave; gives those that there were."""
    cells = []

    def train(config, cell):
        cells.append(cell)
        labels = np.arange(config.test_images) % 2
        # Of larger sets more answers are right: all but 20 of size 20, all but 10 of 60.
        scores = np.where(labels, 1.0, -1.0)
        scores[: 400 // cell.size + 10 * cell.seed] *= -1
        record = {
            "labels": labels.tolist(),
            "scores": {way: scores.tolist() for way in config.measured(cell)},
            "transfer": {
                # One of two answers is right.
                task: {"labels": [0, 1], "scores": [1.0, 2.0]}
                for task in config.others(cell)
            },
            "epoch": 1,
            "steps": 2,
            "validation_accuracy": 0.5,
            "parameters": 7,
            "seconds": 1.0,
        }
        if cell.network == "fnn":
            record = {"failed": "Expected finite numbers. Received: the loss nan"}
        path = abstract_trainings._record_path(config, cell)
        path.write_text(json.dumps(record))

    monkeypatch.setattr(abstract_trainings, "train", train)
    return cells


class TestGrid:
    def test_order(self):
        """A stopped experiment has something of everything: seeds come last, then sizes."""
        config = AbstractClassExperiment(log_dir="x", networks=("resnet", "lenet"))
        cells = config.trainings()
        assert len(cells) == len(set(cells)) == 23 * 2 * 7 * 2
        assert [cell.seed for cell in cells] == [0] * 322 + [1] * 322
        assert [cell.size for cell in cells[:322:46]] == [20, 10_000, 200, 50, 500, 100, 1_000]

    def test_every_kind_of_network(self):
        names = ("resnet", "lenet", "MobileNetV2", "EfficientCapsNet")
        config = experiment("x", networks=names, layers=(16, 2), dimensions=(8, 4))
        block, lenet, mobile, capsules = (Training("svrt_1", n, 20, 3).run(config) for n in names)
        assert (block.kind, block.blocks, block.widths) == ("block_network", (1,), (2,))
        assert (lenet.kind, mobile.kind) == ("image_classifier", "image_classifier")
        assert (capsules.layers, capsules.dimensions) == ((16, 2), (8, 4))
        assert not capsules.use_reconstruction
        for run in (block, lenet, mobile, capsules):
            # Nothing changes an image, and the test images are looked at by the experiment.
            assert (run.augmentation, run.test, run.seed) == ("none", False, 3)
            assert run.epochs * run.steps_per_epoch == 4

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"sizes": ("0",)}, "--sizes to be distinct positive integers. Received: 0"),
            ({"sizes": ()}, "--sizes to be distinct positive integers. Received: "),
            ({"networks": ("lenet5",)}, "--networks to be distinct ones of fnn, vgg, resnet, "),
            ({"renderings": ("bold",)}, "--renderings to be distinct ones of outline, thick, "),
            ({"steps": 5}, "--steps to be a multiple of --steps_per_epoch=2. Received: 5"),
            ({"test_images": 10}, "--test_images >= 50. Received: 10"),
            ({"weights": "none.h5"}, "--weights to be a file. Received: none.h5"),
            ({"layers": (4, 10)}, "--layers to end in 2, the number of classes. Received: 4,10"),
            ({"blocks": (1, 1)}, "Expected as many entries in --widths as in --blocks=1,1."),
            (
                {"networks": ("CapsNet",), "layers": (4, 2), "dimensions": (3, 4, 5)},
                "Expected as many entries in --dimensions as in --layers.",
            ),
        ],
    )
    def test_wrong_values(self, changes, sentence):
        with pytest.raises(UsageError) as caught:
            experiment("x", **changes)
        assert sentence in str(caught.value)

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"tasks": ("svrt_14", "srvt_3")}, r"perhaps svrt_3.*Received: srvt_3$"),
            ({"tasks": ("svrt_14/bold",)}, r"outline.*Received: bold$"),
            ({"transfer": ("svrt_14", "same/bold")}, r"outline.*Received: bold$"),
            ({"tasks": ("odd_one_out/9",)}, r"Expected 3 to 7 shapes .* Received: 9$"),
            ({"transfer": ("svrt_14/3",)}, r"no number of shapes for svrt_14. Received: 3$"),
            ({"tasks": ("same/3/dots",)}, r"TASK/RENDERING/SHAPES. Received: same/3/dots$"),
            ({"image_size": 64}, r"96 to 1024 pixels.*Received: 64$"),
        ],
    )
    def test_what_cannot_be_drawn_leaves_nothing(self, changes, sentence, tmp_path):
        with pytest.raises(UsageError, match=sentence):
            abstract_class_experiment(experiment(tmp_path / "x", **changes))
        assert not (tmp_path / "x").exists()


class TestImages:
    def data(self, size, **changes):
        task = changes.pop("task", "svrt_14")
        config, cell = experiment("x", **changes), Training(task, "resnet", size, 5)
        (test,) = abstract_trainings.test_images(config, cell, [cell.rendering]).values()
        return abstract_trainings._load_data(config, cell, test)

    def test_number_of_shapes(self):
        """Of what is learnt and tested, and of what is shown beside."""
        config = experiment("x", renderings=(), test_images=50)
        cell = Training("odd_one_out/thick/6", "resnet", 20, 5)
        assert config.measured(cell)[:2] == ("thick", "outline")
        data = self.data(20, task=cell.task)
        choices = {"size": 96, "rendering": "thick"}
        for split, seed, of in ((data.train, 5, "train"), (data.test, 0, "test")):
            expected = abstract_shapes.generate(
                "odd_one_out", 20, seed=seed, split=of, shapes=6, **choices
            )
            np.testing.assert_array_equal(split.images[:20], expected.images)
        shown = abstract_trainings.test_images(
            config, cell, ["dots"], task="odd_one_out/3", count=4
        )
        expected = abstract_shapes.layouts("odd_one_out", 4, split="test", shapes=3, size=96)
        np.testing.assert_array_equal(shown["dots"].images, expected.render("dots"))

    def test_smaller_sets_are_parts_of_larger_ones(self):
        """An epoch has 2·16 images: two copies of 20, and 60 as they are."""
        small, large = self.data(20), self.data(60)
        expected = abstract_shapes.generate("svrt_14", 60, seed=5, size=96)
        np.testing.assert_array_equal(large.train.images, expected.images)
        assert len(small.train) == 40
        for copy in (small.train.take(range(20)), small.train.take(range(20, 40))):
            np.testing.assert_array_equal(copy.images, expected.images[:20])
            np.testing.assert_array_equal(copy.labels, expected.labels[:20])

    def test_validation_is_a_split_of_its_own(self):
        expected = abstract_shapes.generate("svrt_14", 20, split="validation", size=96)
        for size in (20, 60):
            np.testing.assert_array_equal(self.data(size).validation.images, expected.images)
        expected = abstract_shapes.generate("svrt_14", 50, split="test", size=96)
        np.testing.assert_array_equal(self.data(20).test.images, expected.images)

    def test_what_is_learnt_may_be_drawn_in_another_way(self):
        data = self.data(20, task="svrt_14/colour")
        expected = abstract_shapes.generate("svrt_14", 20, seed=5, size=96, rendering="colour")
        np.testing.assert_array_equal(data.train.images[:20], expected.images)
        config = experiment("x")
        cell = Training("svrt_14/colour", "resnet", 20, 5)
        assert config.measured(cell) == ("colour", "outline")
        found = abstract_trainings.test_images(config, cell, config.measured(cell))
        assert {split.images.shape for split in found.values()} == {(50, 96, 96, 3)}
        assert cell.name == "svrt_14_colour-resnet-20-seed_5"

    def test_all_ways_are_those_of_the_task(self):
        """Pawns on a checkerboard have no outlines."""
        config = experiment("x", renderings=())
        ways = config.measured(Training("svrt_14/dots", "resnet", 20, 0))
        assert ways[:2] == ("dots", "outline") and set(ways) == set(abstract_shapes.renderings())
        assert config.measured(Training("checkerboard", "resnet", 20, 0)) == ("outline",)


CELL = {"task": "svrt_1", "network": "lenet", "size": 20, "seed": 0}


class TestTables:
    def test_standard_errors(self):
        """0.5, 0.6 and 0.7: deviation 0.1 with n − 1, divided by the root of 3."""
        rows = [
            {**CELL, "seed": seed, "accuracy": value, "auc": value}
            for seed, value in enumerate((0.5, 0.6, 0.7))
        ]
        failed = {**CELL, "seed": 3, "accuracy": None, "auc": None}
        (row,) = size_rows([*rows, failed])
        assert (row["runs"], row["failed"]) == (3, 1)
        assert row["accuracy"] == pytest.approx(0.6)
        assert row["accuracy_error"] == pytest.approx(0.1 / math.sqrt(3))
        (row,) = size_rows([failed])
        assert (row["accuracy"], row["accuracy_error"]) == (None, None)

    def test_efficiency_takes_all_sizes(self):
        """Seed 1 has no size 60 yet."""
        rows = [
            {**CELL, "accuracy": 0.5},
            {**CELL, "size": 60, "accuracy": 0.9},
            {**CELL, "seed": 1, "accuracy": 1.0},
        ]
        (row,) = efficiency_rows(rows, (20, 60))
        weights = [1 / (1 + math.log(20)), 1 / (1 + math.log(60))]
        expected = (0.5 * weights[0] + 0.9 * weights[1]) / sum(weights)
        assert (row["seeds"], row["mean_accuracy"]) == (1, pytest.approx(0.7))
        assert row["ses"] == pytest.approx(expected)
        assert efficiency_rows(rows, (20, 60, 100)) == []

    def test_right_and_wrong_examples(self):
        labels = np.array([1, 1, 0, 0, 1] + [0] * 8)
        scores = [0.5, -0.5, 0.5, -0.5, 2.0] + [-1.0] * 8
        found = abstract_report._chosen_examples(labels, scores)
        assert {name: numbers.tolist() for name, numbers in found.items()} == {
            "with, right": [0, 4],
            "with, wrong": [1],
            "without, right": [3, 5, 6, 7, 8, 9],  # six are shown
            "without, wrong": [2],
        }


class TestExperiment:
    def test_files(self, trained, tmp_path):
        config = experiment(
            tmp_path / "x", seeds=(0, 1), renderings=("outline", "thick"), networks=("lenet",)
        )
        table = abstract_class_experiment(config)
        # 20 and 30, 6 and 16 of 50 answers are wrong.
        assert [(row["size"], row["accuracy"]) for row in table] == [
            *((20, pytest.approx(0.5)), (60, pytest.approx(0.78)))
        ]
        assert [row["accuracy_error"] for row in table] == [pytest.approx(0.1)] * 2
        # Of 25 · 25 pairs, those with one wrong answer are equal: AUC = 1 − share of wrong ones.
        assert [row["auc"] for row in table] == [pytest.approx(0.5), pytest.approx(0.78)]
        folder = tmp_path / "x"
        assert len(read(folder / "cells.csv")) == 4
        assert [row["rendering"] for row in read(folder / "renderings.csv")] == [
            *("outline", "thick", "outline", "thick")
        ]
        (row,) = read(folder / "efficiency.csv")
        assert float(row["mean_accuracy"]) == pytest.approx(0.64)
        assert (folder / "figures" / "accuracy.png").exists()
        assert (folder / "figures" / "examples" / "svrt_14-lenet-60-seed_0.png").exists()
        report = (folder / "report.md").read_text()
        assert "| svrt_14 | lenet | 50.0 ± 10.0 | 78.0 ± 10.0 |" in report
        section = report.split("## Other renderings, 60 training images")[1]
        _, accuracies, areas = section.split("### ")
        for title, table in (("Accuracy", accuracies), ("Area under the ROC curve", areas)):
            assert table.startswith(f"Other renderings: {title}\n")
            assert "| task | network | outline | thick |" in table
            assert "| svrt_14 | lenet | 78.0 ± 10.0 | 78.0 ± 10.0 |" in table

    def test_pictures_are_the_test_images(self, trained, tmp_path):
        """Of size 60 the first six answers are wrong, so images 6 to … are right."""
        abstract_class_experiment(experiment(tmp_path / "x"))
        images = abstract_shapes.generate("svrt_14", 50, split="test", size=96).images
        files = sorted((tmp_path / "x" / "examples" / "svrt_14").iterdir())
        assert 0 < len(files) <= 24
        for path in files:
            number = int(path.stem.removeprefix("outline-"))
            drawn = keras.utils.img_to_array(keras.utils.load_img(path, color_mode="grayscale"))
            np.testing.assert_array_equal(drawn, images[number])

    def test_transfer(self, trained, tmp_path):
        tasks = ("svrt_14", "svrt_1/thick")
        config = experiment(tmp_path / "x", tasks=tasks, transfer=tasks)
        abstract_class_experiment(config)
        rows = read(tmp_path / "x" / "transfer.csv")
        assert [(row["task"], row["shown"], float(row["accuracy"])) for row in rows[2:4]] == [
            *(("svrt_14", "svrt_14", pytest.approx(0.88)), ("svrt_14", "svrt_1/thick", 0.5))
        ]
        assert len(rows) == 8
        report = (tmp_path / "x" / "report.md").read_text()
        assert "| task | network | svrt_14 | svrt_1/thick |" in report
        # Of a pair of images that are both taken for one with the relation, the order is right.
        _, shown, areas = report.split("## Other tasks, 60 training images")[1].split("### ")
        assert "| svrt_1/thick | resnet | 50.0 | 88.0 |" in shown
        assert "| svrt_1/thick | resnet | 100.0 | 88.0 |" in areas

    def test_resume(self, trained, tmp_path, capsys):
        folder = tmp_path / "x"
        abstract_class_experiment(experiment(folder))
        assert [cell.size for cell in trained] == [20, 60]
        with pytest.raises(UsageError, match="or --resume to go on with it"):
            abstract_class_experiment(experiment(folder))
        with pytest.raises(UsageError, match=r"--image_size=96, as .* Received: --image_size=128"):
            abstract_class_experiment(experiment(folder, resume=True, image_size=128))
        # As after kill -9, with a record half written.
        (folder / "records" / "svrt_14-resnet-60-seed_0.json").write_text('{"labels": [')
        abstract_class_experiment(experiment(folder, resume=True, sizes=(20, 60, 100)))
        assert [cell.size for cell in trained[2:]] == [100, 60]
        # Another rendering is asked of all.
        abstract_class_experiment(experiment(folder, resume=True, renderings=("dots",)))
        assert [cell.size for cell in trained[4:]] == [20, 60]
        assert "svrt_14, resnet, 100 images, seed 0: 92.00%" in capsys.readouterr().out

    def test_a_training_that_fails(self, trained, tmp_path):
        config = experiment(tmp_path / "x", networks=("fnn", "lenet"))
        table = abstract_class_experiment(config)
        assert [(row["network"], row["runs"], row["failed"]) for row in table] == [
            *(("fnn", 0, 1), ("fnn", 0, 1), ("lenet", 1, 0), ("lenet", 1, 0))
        ]
        count = len(trained)
        abstract_class_experiment(experiment(tmp_path / "x", **{"networks": ("fnn",)}, resume=True))
        assert len(trained) == count

    def test_folder_of_another_experiment(self, tmp_path):
        with DepthExperiment(log_dir=str(tmp_path / "x")).open_folder():
            pass
        before = runs.snapshot(tmp_path)
        with pytest.raises(UsageError) as caught:
            abstract_class_experiment(experiment(tmp_path / "x", resume=True))
        assert str(caught.value) == (
            "Expected --log_dir with the experiment abstract_classes to go on with it. "
            f"Received: --log_dir={tmp_path / 'x'}, which holds the experiment depth"
        )
        assert runs.snapshot(tmp_path) == before


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished experiment of two tiny trainings, and its table."""
    config = experiment(tmp_path_factory.mktemp("abstract") / "x", renderings=("thick",))
    return config, abstract_class_experiment(config)


def run_directory(config, cell) -> training.RunDirectory:
    return training.RunDirectory(cell.run(config).log_dir)


def difference_of_logits(path, images) -> np.ndarray:
    model = keras.models.load_model(path)
    logits = keras.ops.convert_to_numpy(model(images / np.float32(255)))
    return logits[:, 1] - logits[:, 0]


class TestTraining:
    def test_record_is_of_the_best_network(self, done):
        """log p₁/p₀ of a softmax is the difference of its logits."""
        config, table = done
        cell = Training("svrt_14", "resnet", 60, 0)
        record = abstract_trainings.read_record(config, cell)
        assert list(record["scores"]) == ["outline", "thick"]
        path = run_directory(config, cell).checkpoints / "best.keras"
        for way, scores in record["scores"].items():
            split = abstract_shapes.generate("svrt_14", 50, split="test", size=96, rendering=way)
            expected = difference_of_logits(path, split.images)
            np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-3)
            assert record["labels"] == split.labels.tolist()
        answers = np.array(record["scores"]["outline"]) > 0
        assert table[1]["accuracy"] == np.mean(answers == record["labels"])
        assert record["steps"] == 4 and record["epoch"] in (1, 2)

    def test_another_rendering_trains_nothing(self, done):
        config, _ = done
        cell = Training("svrt_14", "resnet", 20, 0)
        before = abstract_trainings.read_record(config, cell)
        wider = experiment(
            *(config.log_dir,),
            renderings=("thick", "dots"),
            transfer=("svrt_14", "svrt_1"),
            resume=True,
        )
        rows = len(read(run_directory(config, cell).metrics))
        abstract_trainings.train(wider, cell)
        after = abstract_trainings.read_record(wider, cell)
        assert {way: after["scores"][way] for way in before["scores"]} == before["scores"]
        assert len(after["scores"]["dots"]) == 50
        other = abstract_shapes.generate("svrt_1", 50, split="test", size=96)
        assert list(after["transfer"]) == ["svrt_1"]
        assert after["transfer"]["svrt_1"]["labels"] == other.labels.tolist()
        path = run_directory(config, cell).checkpoints / "best.keras"
        expected = difference_of_logits(path, other.images)
        scores = after["transfer"]["svrt_1"]["scores"]
        np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-3)
        assert len(read(run_directory(config, cell).metrics)) == rows == 2

    def test_weights_of_a_file(self, done, tmp_path):
        """A training that changes nothing keeps the weights that it began with."""
        config, _ = done
        cell = Training("svrt_14", "resnet", 60, 0)
        path = run_directory(config, cell).checkpoints / "best.keras"
        choices = {"weights": str(path), "learning_rate": 1e-12, "steps": 2}
        own = experiment(tmp_path / "x", **choices)
        with own.open_folder("records", "cells"):
            abstract_trainings.train(own, cell)
        begun, ended = (
            keras.models.load_model(run_directory(each, cell).checkpoints / "best.keras")
            for each in (config, own)
        )
        for one, two in zip(begun.trainable_weights, ended.trainable_weights, strict=True):
            np.testing.assert_allclose(one, two, atol=1e-9)
        # Without its run directory the record is enough.
        wider = dataclasses.replace(own, keep_networks=False, renderings=("dots",))
        abstract_trainings.train(wider, cell)
        assert not (tmp_path / "x" / "cells" / cell.name).exists()
        assert abstract_trainings.read_record(wider, cell) is not None

    def test_weights_of_another_network(self, done, tmp_path):
        config, _ = done
        cell = Training("svrt_14", "resnet", 60, 0)
        path = run_directory(config, cell).checkpoints / "best.keras"
        other = experiment(tmp_path / "x", weights=str(path), networks=("lenet",))
        with pytest.raises(UsageError, match="Expected --weights to be a file with weights of a"):
            abstract_class_experiment(other)

    def test_numbers_that_are_not_finite(self, monkeypatch, tmp_path):
        def fail(*_, **__):
            raise NotFiniteError("Expected finite numbers. Received: the loss nan")

        monkeypatch.setattr(abstract_trainings.training, "train", fail)
        config, cell = experiment(tmp_path / "x"), Training("svrt_14", "resnet", 20, 0)
        with config.open_folder("records", "cells"):
            abstract_trainings.train(config, cell)
        assert abstract_trainings.read_record(config, cell) == {
            "failed": "Expected finite numbers. Received: the loss nan"
        }

    def test_several_processes(self, forked, tmp_path, capsys):
        config = experiment(tmp_path / "x", workers=2, networks=("lenet",))
        table = abstract_class_experiment(config)
        out = capsys.readouterr().out
        assert "2 processes share 2 trainings." in out
        assert "Training 2/2: svrt_14, lenet, " in out
        assert [row["runs"] for row in table] == [1, 1]
        log = tmp_path / "x" / "cells" / "svrt_14-lenet-20-seed_0.log"
        assert "Epoch 2/2" in log.read_text()
