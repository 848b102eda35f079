"""Lesion studies of a small run, against networks that are built without the removed blocks."""

import csv
import itertools
import json
import pathlib
import re
import shutil

import numpy as np
import pytest

from tests import forks, runs
from tfcaps import datasets, training
from tfcaps.errors import UsageError
from tfcaps.evaluation import lesion
from tfcaps.metrics import Bundles
from tfcaps.models.block_network import BlockNetwork

BLOCKS = tuple(f"stage{stage}_block{block}" for stage, block in [(1, 1), (1, 2), (1, 3), (2, 1)])
CONFLICTING = BLOCKS[1:]
EXAMPLES = 150  # of the test set


def train(folder, **changes):
    """Trains long enough for blocks to matter."""
    config = training.BlockNetworkConfig(
        log_dir=str(folder),
        **{
            **{"blocks": (3, 1), "widths": (4, 6), "train_examples": 300, "batch_size": 30},
            **{"epochs": 2, "learning_rate": 0.02, "test": False, "augmentation": "none"},
            **{"validation_fraction": 0.0, "conflicting_samples_size": 0},
            **changes,
        },
    )
    training.train(config)
    return folder


# The classes below may be tested in several processes.
@pytest.fixture(scope="session")
def resnet(once):
    return once("resnet_with_lesions", train)[0]


@pytest.fixture
def run(resnet, tmp_path):
    """A copy of a residual network's run."""
    return shutil.copytree(resnet, tmp_path / "run")


@pytest.fixture
def three_conflicts(monkeypatch):
    """All branches but the lowest one's conflict. Gives what was asked of the measurement."""
    asked = []

    class Fake:
        def __init__(self, model, layers, **arguments):
            self.layers = layers
            asked.append(arguments)

        def __call__(self, images, labels):
            asked.append((images, labels))
            return {
                layer: Bundles(9, 0.25 if layer.removesuffix("/branch") in CONFLICTING else 0.0)
                for layer in self.layers
            }

    monkeypatch.setattr(lesion, "BundleEntropy", Fake)
    return asked


def study(run, **arguments):
    return lesion.lesion_study(
        run, **{"test_examples": EXAMPLES, "conflicting_samples_size": 40, **arguments}
    )


def rows_of(run):
    with (run / "lesion_study" / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def sentence_of(*arguments, **named):
    with pytest.raises(UsageError) as caught:
        study(*arguments, **named)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def accuracy_without(run, removed):
    """Test accuracy of a network that is built without some blocks with an identity shortcut."""
    whole = training.load_run(run).model
    kept = [
        [n for n in numbers if f"stage{stage}_block{n}" not in removed]
        for stage, numbers in enumerate(whole.get_config()["blocks"], start=1)
    ]
    smaller = BlockNetwork.from_config({**whole.get_config(), "blocks": kept})
    for layer in smaller.layers:
        layer.set_weights(whole.get_layer(layer.name).get_weights())
    data = datasets.load("mnist5k")
    test = datasets.sampling.subset(data.test, EXAMPLES, seed=0)
    logits = smaller(test.images.astype("float32") / 255.0).numpy()
    return np.mean(logits.argmax(axis=-1) == test.labels)


class TestDraws:
    NAMES = tuple(f"b{i}" for i in range(8))

    def test_all_sets_where_they_are_few(self):
        drawn = lesion.draw_blocks(self.NAMES, self.NAMES[:6], 2, draws=15, seed=0)
        assert drawn == list(itertools.combinations(self.NAMES[:6], 2))  # 15 of them
        assert lesion.draw_blocks(self.NAMES, ["b5"], 1, draws=15, seed=0) == [("b5",)]

    def test_different_sets_of_the_group(self):
        group = self.NAMES[1:]
        drawn = lesion.draw_blocks(self.NAMES, group, 3, draws=15, seed=4)
        assert len(drawn) == len(set(drawn)) == 15
        for blocks in drawn:
            assert len(set(blocks)) == 3
            assert set(blocks) <= set(group)
            assert list(blocks) == sorted(blocks)
        assert drawn == lesion.draw_blocks(self.NAMES, reversed(group), 3, draws=15, seed=4)
        assert drawn != lesion.draw_blocks(self.NAMES, group, 3, draws=15, seed=5)
        assert drawn[:4] == lesion.draw_blocks(self.NAMES, group, 3, draws=4, seed=4)

    def test_every_block_is_drawn_equally_often(self):
        """500 draws of 3 of 6 blocks: each in half of them, with a deviation of 2.2 %."""
        drawn = [
            lesion.draw_blocks(self.NAMES, self.NAMES[2:], 3, draws=1, seed=seed)[0]
            for seed in range(500)
        ]
        shares = np.array([np.mean([name in d for d in drawn]) for name in self.NAMES])
        np.testing.assert_array_equal(shares[:2], 0.0)
        np.testing.assert_allclose(shares[2:], 0.5, atol=0.09)


class TestStudy:
    def test_results(self, run, three_conflicts, capsys):
        curves = study(run)
        output = capsys.readouterr().out
        assert {group: curve.removed for group, curve in curves.items()} == {
            "conflicting": (1, 2, 3),
            "non_conflicting": (1,),
            "all": (1, 2, 3, 4),
        }
        rows = rows_of(run)
        # Of the group's 3, 1 and 4 blocks, every set that is not empty
        assert len(rows) == (2**3 - 1) + (2**1 - 1) + (2**4 - 1)
        for group, curve in curves.items():
            for removed, mean, std in zip(*curve, strict=True):
                chosen = [r for r in rows if (r["group"], r["removed"]) == (group, str(removed))]
                assert [int(row["draw"]) for row in chosen] == list(range(1, len(chosen) + 1))
                accuracies = [float(row["accuracy"]) for row in chosen]
                assert mean == pytest.approx(np.mean(accuracies), abs=1e-12)
                assert std == pytest.approx(np.std(accuracies), abs=1e-12)
                line = f"{group}: {removed} removed, {len(chosen)} draws, {100 * mean:.2f} ± "
                assert line in output
        assert "non_conflicting: 1 of 4 blocks stage1_block1\n" in output
        assert output.endswith(lesion.lesion_table(curves, self.baseline(run)) + "\n")
        assert (run / "lesion_study" / "lesion_curves.png").stat().st_size > 1000

    @staticmethod
    def baseline(run):
        return json.loads((run / "lesion_study" / "study.json").read_text())["accuracy"]

    def test_accuracies_are_those_of_smaller_networks(self, run, three_conflicts):
        study(run, groups=["all"], batch_size=64)
        accuracies = {row["blocks"]: float(row["accuracy"]) for row in rows_of(run)}
        assert self.baseline(run) == pytest.approx(accuracy_without(run, []))
        for removed in [BLOCKS[:1], BLOCKS[1:2], BLOCKS[1:3], BLOCKS[:3]]:
            assert accuracies[" ".join(removed)] == pytest.approx(accuracy_without(run, removed))
        assert len(set(accuracies.values())) > 3

    def test_what_is_measured(self, run, three_conflicts):
        """The training's numbers, and examples of its training data as they are stored."""
        study(run, max_removed=1)
        arguments, (images, labels) = three_conflicts
        assert arguments == {"learning_rate": 0.02, "batch_size": 30, "num_classes": 10}
        data = datasets.load("mnist5k", train_examples=300)
        probe = datasets.probe_set(data.train, 40, seed=0)
        np.testing.assert_allclose(images, probe.images / 255.0, atol=1e-6)
        np.testing.assert_array_equal(labels, probe.labels)

    def test_stopped_and_continued(self, run, three_conflicts, monkeypatch, tmp_path):
        whole = shutil.copytree(run, tmp_path / "whole")
        arguments = {"draws": 2, "seed": 3}
        expected = study(whole, **arguments)
        make, calls = lesion._evaluator, []

        def stopping_at(count):
            def evaluator(*a):
                evaluate = make(*a)

                def accuracy(removed):
                    calls.append(removed)
                    if len(calls) > count:
                        raise KeyboardInterrupt
                    return evaluate(removed)

                return accuracy

            return evaluator

        monkeypatch.setattr(lesion, "_evaluator", stopping_at(4))
        with pytest.raises(KeyboardInterrupt):
            study(run, **arguments)
        # The whole network, both sets of one block, one of the two of two blocks
        assert [len(removed) for removed in calls] == [0, 1, 1, 2, 2]
        assert len(rows_of(run)) == 2
        before, calls[:] = list(calls[:3]), []
        monkeypatch.setattr(lesion, "_evaluator", stopping_at(99))
        assert study(run, **arguments) == expected
        assert not set(before) & set(calls)
        name = pathlib.Path("lesion_study", "results.csv")
        assert (run / name).read_bytes() == (whole / name).read_bytes()
        # And nothing is left to do.
        calls.clear()
        assert study(run, **arguments) == expected
        assert calls == []

    def test_extended(self, run, three_conflicts, tmp_path):
        whole = study(shutil.copytree(run, tmp_path / "whole"))
        study(run, max_removed=1, groups=["all"])
        assert study(run, groups=["all"]) == {"all": whole["all"]}
        assert study(run, groups=["conflicting"]) == {"conflicting": whole["conflicting"]}
        # What was measured before stays in the file.
        assert len(rows_of(run)) == (2**4 - 1) + (2**3 - 1)

    def test_group_without_blocks(self, run, monkeypatch, capsys):
        monkeypatch.setattr(lesion, "_branch_entropies", lambda *_: dict.fromkeys(BLOCKS, 0.0))
        assert list(study(run, max_removed=1)) == ["non_conflicting", "all"]
        assert "conflicting: 0 of 4 blocks\n" in capsys.readouterr().out
        sentence = sentence_of(run, groups=["conflicting"])
        assert sentence == "Expected --groups with blocks. Received: conflicting, all empty"

    def test_projections_can_be_removed(self, run, three_conflicts):
        study(run, max_removed=1)
        assert BLOCKS[3] in [row["blocks"] for row in rows_of(run)]


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ({"groups": ["some"]}, "conflicting, non_conflicting, all. Received: some"),
            (
                {"groups": []},
                "Expected --groups to be ones of conflicting",
            ),
            ({"draws": 0}, "Expected --draws >= 1. Received: 0"),
            ({"batch_size": 0}, "Expected --batch_size >= 1. Received: 0"),
            ({"max_removed": -1}, "Expected --max_removed >= 0. Received: -1"),
            ({"seed": -1}, "Expected --seed >= 0. Received: -1"),
            ({"test_examples": 1001}, "Expected --test_examples <= 1000"),
            ({"conflicting_samples_size": 301}, "Expected --conflicting_samples_size <= 300"),
        ],
        ids=str,
    )
    def test_value(self, run, arguments, sentence):
        assert sentence in sentence_of(run, **arguments)
        assert not (run / "lesion_study").exists()

    def test_more_than_there_are(self, run, three_conflicts):
        sentence = sentence_of(run, max_removed=4, groups=["conflicting", "non_conflicting"])
        assert "Expected --max_removed <= 3, the number of blocks in the largest" in sentence
        assert sentence.endswith("Received: 4")

    def test_no_residual_network(self, quick, tmp_path):
        run = train(tmp_path / "run", model="vgg", epochs=1, blocks=(1,), widths=(2,))
        sentence = sentence_of(run)
        assert sentence.startswith("Expected --log_dir to be the directory of a residual network's")
        assert sentence.endswith(f"Received: {run}, in which the network is a vgg")

    def test_no_run(self, tmp_path):
        assert f"Received: {tmp_path}" in sentence_of(tmp_path)

    @pytest.mark.parametrize("changes", [{"seed": 1}, {"draws": 3}, {"test_examples": 60}], ids=str)
    def test_another_study(self, run, three_conflicts, changes):
        study(run, max_removed=1)
        before = (run / "lesion_study" / "results.csv").read_bytes()
        sentence = sentence_of(run, **changes)
        ((name, value),) = changes.items()
        assert f"Expected --{name}=" in sentence
        assert sentence.endswith(f"Received: --{name}={value}")
        assert (run / "lesion_study" / "results.csv").read_bytes() == before

    @pytest.mark.parametrize("name", ["study.json", "results.csv"])
    def test_damaged(self, run, three_conflicts, name):
        study(run, max_removed=1)
        path = run / "lesion_study" / name
        path.write_text(path.read_text()[:-20])
        assert sentence_of(run).endswith(f"Received: {path}, which is damaged")

    def test_a_cell_beyond_any(self, run, three_conflicts):
        study(run, max_removed=1)
        path = run / "lesion_study" / "results.csv"
        path.write_text(path.read_text() + f'"{"a" * 200_000}",1,1,0.5,x\n')
        assert sentence_of(run).endswith(f"Received: {path}, which is damaged")

    def test_no_accuracy(self, run, three_conflicts):
        study(run, max_removed=1)
        path = run / "lesion_study" / "results.csv"
        path.write_text(re.sub(r"(,1,1,)[^,]*", r"\1nan", path.read_text()))
        assert sentence_of(run).endswith(f"Received: {path}, which is damaged")

    def test_rows_of_other_blocks(self, run, three_conflicts):
        study(run, max_removed=1)
        path = run / "lesion_study" / "results.csv"
        path.write_text(path.read_text().replace(BLOCKS[0], BLOCKS[1]))
        assert sentence_of(run).endswith(f"Received: {path}, which is damaged")


def test_program(run):
    """With the bundle entropy that there really is."""
    code, output, errors = runs.finish(
        forks.start(
            *("lesion_study", f"--log_dir={run}", "--draws=2", "--max_removed=1"),
            *(f"--test_examples={EXAMPLES}", "--groups=all"),
        )
    )
    assert (code, errors) == (0, "")
    assert re.search(r"^all: 1 removed, 2 draws, \d+\.\d\d ± \d+\.\d\d %$", output, re.M)
    assert f"All of it is in {run / 'lesion_study'}" in output
    content = json.loads((run / "lesion_study" / "study.json").read_text())
    assert list(content["entropies"]) == list(BLOCKS)
    assert content["settings"]["conflicting_samples_size"] == 300
    assert all(0.0 <= entropy <= np.log(10) for entropy in content["entropies"].values())
