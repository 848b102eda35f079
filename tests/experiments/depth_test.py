"""The depth experiment: its grid, its tables, resuming, and trainings that fail."""

import csv
import json
import pathlib

import pytest

from tests import runs
from tfcaps import training
from tfcaps.errors import NotFiniteError, UsageError
from tfcaps.experiments import depth
from tfcaps.experiments.depth import Cell, DepthExperiment, depth_experiment, summarize

TINY = {
    "datasets": ("mnist5k",),
    "depths": (2, 3),
    "routings": ("rba",),
    "seeds": (0,),
    "primary_capsules": 2,
    "capsules": 3,
    "use_reconstruction": False,
    "train_examples": 60,
    "epochs": 1,
    "batch_size": 32,
    "workers": 1,
}


def experiment(log_dir, **changes) -> DepthExperiment:
    return DepthExperiment(log_dir=str(log_dir), **{**TINY, **changes})


@pytest.fixture
def trained(monkeypatch):
    """Replaces trainings by what they leave; gives the names of the cells that were trained."""
    names = []

    def train(config):
        names.append(pathlib.Path(config.log_dir).name)
        directory = training.RunDirectory(config.log_dir)
        described = {"class_names": [], "image_shape": [], "preprocessing": {}}
        directory.create(config, described)
        if config.routing == "em":
            raise NotFiniteError("Expected finite numbers. Received: the loss nan")
        if config.routing == "sda":
            raise UsageError("Expected the data of the training. Received: others")
        # Two seeds with 0.5 + 0.125·depth and 0.25 more.
        accuracy = 0.125 * len(config.layers) + 0.25 * config.seed
        results = {"epochs": 1, "test_accuracy": accuracy, "parameters": 7, "seconds": 1.0}
        directory.results.write_text(json.dumps(results))

    monkeypatch.setattr(depth.training, "train", train)
    monkeypatch.setattr(depth, "_count_classes", lambda *_: 10)
    return names


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


class TestGrid:
    def test_networks(self):
        """As published: 8, 12, …, 16 dimensions, 10 instead of 12 with em."""
        config = DepthExperiment(log_dir="x")
        cell = Cell("mnist", "rba", True, True, 4, 1)
        run = cell.config(config, 10)
        assert (run.layers, run.dimensions) == ((32, 16, 16, 10), (8, 12, 12, 16))
        assert (run.make_skips, run.skip_dist, run.use_bias, run.seed) == (True, 2, True, 1)
        assert cell._replace(routing="em").config(config, 5).dimensions == (8, 10, 10, 16)
        assert cell._replace(depth=2).config(config, 5).layers == (32, 5)
        assert run.log_dir == "x/cells/mnist-rba-bias-skips-depth_4-seed_1"

    def test_order(self):
        """A stopped experiment has something of everything: seeds come last, then depths."""
        config = DepthExperiment(log_dir="x", seeds=(0, 1), use_bias=(True, False))
        cells = config.cells()
        assert len(cells) == len(set(cells)) == 2 * 6 * 3 * 2 * 2 * 2
        assert [cell.seed for cell in cells] == [0] * 144 + [1] * 144
        assert [cell.depth for cell in cells[:144:24]] == [2, 7, 4, 3, 5, 6]
        assert {cell[:4] for cell in cells[:24]} == {cell[:4] for cell in cells}

    def test_skips_without_a_place(self):
        """The first addition is that of layer 0 to layer 2, both hidden: from 5 layers on."""
        config = DepthExperiment(log_dir="x")
        for layers, has_any in {2: False, 3: False, 4: False, 5: True, 6: True}.items():
            cell = Cell("mnist", "rba", True, True, layers, 0)
            same = cell.without_idle_skips(cell.config(config, 10))
            assert same.make_skips == has_any, layers

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"depths": ("1",)}, "--depths to be distinct integers >= 2. Received: 1"),
            ({"depths": ()}, "--depths to be distinct integers >= 2. Received: "),
            ({"depths": (2, 2)}, "Received: 2,2"),
            ({"seeds": ("x",)}, "--seeds to be distinct integers >= 0. Received: x"),
            (
                {"routings": ("rbx",)},
                "--routings to be distinct ones of attention, em, mean, rba, sda",
            ),
            ({"make_skips": ("maybe",)}, "--make_skips to be true, false or both. Received: maybe"),
            ({"capsules": 0}, "--capsules >= 1. Received: 0"),
            ({"workers": -1}, "--workers >= 0. Received: -1"),
            ({"epochs": 0}, "--epochs >= 1. Received: 0"),
            ({"learning_rate": 0.0}, "--learning_rate > 0. Received: 0.0"),
        ],
    )
    def test_wrong_values(self, changes, sentence):
        with pytest.raises(UsageError) as caught:
            experiment("x", **changes)
        assert sentence in str(caught.value)


class TestExperiment:
    def test_tables(self, trained, tmp_path):
        table = depth_experiment(experiment(tmp_path / "x", depths=(2, 5), seeds=(0, 1)))
        # Without skips at depth 2, as no connection fits in there.
        assert sorted(trained) == [
            f"mnist5k-rba-bias{name}-seed_{seed}"
            for name in ("-depth_2", "-depth_5", "-skips-depth_5")
            for seed in (0, 1)
        ]
        assert [(row["make_skips"], row["depth"], row["mean"], row["std"]) for row in table] == [
            *((False, 2, 0.375, 0.125), (False, 5, 0.75, 0.125)),
            *((True, 2, 0.375, 0.125), (True, 5, 0.75, 0.125)),
        ]
        assert [row["mean"] for row in read(tmp_path / "x" / "table.csv")] == [
            *("0.375", "0.75", "0.375", "0.75")
        ]
        cells = read(tmp_path / "x" / "cells.csv")
        assert len(cells) == 8
        assert cells[0]["make_skips"] == "false"
        assert (tmp_path / "x" / "figures" / "depth.png").exists()

    def test_resume(self, trained, tmp_path, capsys):
        depth_experiment(experiment(tmp_path / "x"))
        before = list(trained)
        with pytest.raises(UsageError, match=r"or --resume to go on with it"):
            depth_experiment(experiment(tmp_path / "x"))
        with pytest.raises(UsageError, match=r"Expected --epochs=1, as .* Received: --epochs=2"):
            depth_experiment(experiment(tmp_path / "x", resume=True, epochs=2))
        table = depth_experiment(experiment(tmp_path / "x", resume=True, depths=(3, 4)))
        assert trained[len(before) :] == ["mnist5k-rba-bias-depth_4-seed_0"]
        assert [row["depth"] for row in table] == [3, 4, 3, 4]
        assert "4 layers, seed 0" in capsys.readouterr().out

    def test_a_training_that_fails(self, trained, tmp_path):
        changes = {"routings": ("em", "rba"), "make_skips": (False,), "depths": (2,)}
        table = depth_experiment(experiment(tmp_path / "x", **changes))
        assert [(row["runs"], row["failed"], row["mean"]) for row in table] == [
            *((0, 1, None), (1, 0, 0.25))
        ]
        failed = tmp_path / "x" / "cells" / "mnist5k-em-bias-depth_2-seed_0" / "failed.txt"
        assert failed.read_text() == "Expected finite numbers. Received: the loss nan\n"
        depth_experiment(experiment(tmp_path / "x", **changes, resume=True))
        assert len(trained) == 2

    def test_a_training_that_is_refused(self, trained, tmp_path):
        """A network of changed data, say, isn't one whose numbers don't stay finite."""
        with pytest.raises(UsageError, match="Expected the data of the training"):
            depth_experiment(experiment(tmp_path / "x", routings=("sda",), depths=(2,)))
        assert not list(tmp_path.rglob("failed.txt"))

    def test_wrong_input_ends_it(self, tmp_path):
        before = runs.snapshot(tmp_path)
        with pytest.raises(UsageError, match=r"mnist6k"):
            depth_experiment(experiment(tmp_path / "x", datasets=("mnist5k", "mnist6k")))
        with pytest.raises(UsageError, match=r"train_examples"):
            depth_experiment(experiment(tmp_path / "y", train_examples=4001))
        assert runs.snapshot(tmp_path / "x") == before
        assert not (tmp_path / "y" / "cells").exists()

    def test_several_processes(self, forked, tmp_path, capsys):
        config = experiment(tmp_path / "x", make_skips=(False,), workers=2)
        table = depth_experiment(config)
        out = capsys.readouterr().out
        assert "2 processes share 2 trainings." in out
        assert "Network 2/2: mnist5k, rba, bias, no skips, " in out
        assert "Epoch" not in out
        for row in table:
            folder = tmp_path / "x" / "cells" / f"mnist5k-rba-bias-depth_{row['depth']}-seed_0"
            hidden = (3,) * (row["depth"] - 2)
            assert training.load_run(folder).config.layers == (2, *hidden, 10)
            results = json.loads((folder / "results.json").read_text())
            assert row["mean"] == results["test_accuracy"]
            assert "Epoch 1/1" in folder.with_suffix(".log").read_text()


def test_mean_and_deviation():
    """0.2 and 0.6: 0.4 ± 0.2."""
    cell = Cell("a", "em", True, True, 3, 0)._asdict()
    rows = [{**cell, "seed": seed, "accuracy": value} for seed, value in enumerate((0.2, 0.6))]
    (row,) = summarize([*rows, {**cell, "depth": 2, "accuracy": None}])[1:]
    assert (row["runs"], row["mean"], row["std"]) == (2, pytest.approx(0.4), pytest.approx(0.2))
