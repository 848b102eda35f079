"""Evaluation of finished runs: the numbers, the files, going on, and wrong input."""

import csv
import dataclasses
import json
import pathlib
import sys

import numpy as np
import pytest

from tests import runs
from tfcaps import datasets, evaluation, training
from tfcaps.errors import UsageError
from tfcaps.evaluation.subject import spread
from tfcaps.robustness import attacks


@pytest.fixture(scope="module")
def subject(small_run):
    """The small run on 60 test images; its input is standardised."""
    return evaluation.load_subject(small_run, test_examples=60, batch_size=40)


@pytest.fixture(scope="module")
def evaluated(subject, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    return evaluation.evaluate(subject, folder, conflicting_samples_size=30), folder


class TestEvaluate:
    def test_numbers(self, small_run, evaluated):
        results, _ = evaluated
        model = training.load_run(small_run).model
        test = datasets.load("mnist5k").test
        chosen = np.linspace(0, len(test) - 1, 60).astype(int)
        images = test.images[chosen, 2:26, 2:26].astype("float64") / 255
        images -= images.mean(axis=(1, 2, 3), keepdims=True)
        images /= images.std(axis=(1, 2, 3), keepdims=True)
        lengths = np.asarray(model.classifier(images.astype("float32")), "float64")
        predictions, labels = lengths.argmax(axis=1), test.labels[chosen]
        right = predictions == labels

        assert results["examples"] == 60
        assert results["accuracy"] == pytest.approx(right.mean())
        for row in results["per_class"]:
            members = labels == int(row["class"])
            assert (row["examples"], row["correct"]) == (members.sum(), right[members].sum())
            assert row["accuracy"] == pytest.approx(right[members].mean())
        confusion = np.zeros((10, 10), int)
        np.add.at(confusion, (labels, predictions), 1)
        assert results["confusion"] == confusion.tolist()
        error, confidence = 0.0, lengths.max(axis=1)
        for number in range(15):
            inside = (confidence > number / 15) & (confidence <= (number + 1) / 15)
            error += abs(right[inside].sum() - confidence[inside].sum()) / 60
        assert results["expected_calibration_error"] == pytest.approx(error, abs=1e-4)

    def test_probabilities(self, subject, evaluated):
        """One temperature of the log odds, from the validation split, by a plain search."""
        results, _ = evaluated

        def log_odds(examples):
            lengths = [subject.run.model.classifier(b["image"]) for b in subject.batches(examples)]
            lengths = np.clip(np.concatenate(lengths).astype("float64"), 1e-6, 1 - 1e-6)
            return np.log(lengths / (1 - lengths))

        def probabilities(examples, temperature):
            powers = np.exp(log_odds(examples) / temperature)
            return powers / powers.sum(axis=1, keepdims=True)

        held_out = subject.data.validation
        found = results["calibrated"]
        assert found["examples"] == len(held_out) == 20

        def loss(temperature):
            p = np.log(probabilities(held_out, temperature))
            return -np.mean(21 / 22 * p[np.arange(20), held_out.labels] + p.mean(axis=1) / 22)

        best = found["temperature"]
        assert loss(best) <= min(loss(best * 0.99), loss(best * 1.01))
        confidence = probabilities(subject.split, best)
        right = confidence.argmax(axis=1) == subject.split.labels
        gaps = [
            right[inside].sum() - confidence.max(axis=1)[inside].sum()
            for inside in ((confidence.max(axis=1) * 15).astype(int) == n for n in range(15))
        ]
        error = np.abs(gaps).sum() / 60
        assert found["expected_calibration_error"] == pytest.approx(error, abs=1e-4)

    def test_without_a_validation_there_are_none(self, subject, tmp_path):
        data = dataclasses.replace(subject.data, validation=None)
        bare = dataclasses.replace(subject, data=data)
        results = evaluation.evaluate(bare, tmp_path, conflicting_samples_size=0)
        assert "calibrated" not in results
        assert not (tmp_path / "figures" / "reliability_calibrated.png").exists()

    def test_capsules_and_bundles(self, evaluated):
        results, _ = evaluated
        assert list(results["t_scores"]) == ["capsules_1", "capsules_2"]
        assert results["t_score"] == pytest.approx(np.mean(list(results["t_scores"].values())))
        assert 0 <= results["t_score"] <= 1
        assert results["d_score"] > 0
        assert list(results["bundles"]) == ["primary_capsules", "capsules_1", "capsules_2"]
        assert all(0 < found["number"] <= 30 for found in results["bundles"].values())

    def test_files(self, evaluated):
        results, folder = evaluated
        assert json.loads((folder / "evaluation.json").read_text()) == results
        with (folder / "per_class.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [int(row["correct"]) for row in rows] == [
            row["correct"] for row in results["per_class"]
        ]
        figures = {"confusion_matrix.png", "class_accuracy.png", "reliability.png"}
        figures |= {"reliability_calibrated.png"}
        assert {path.name for path in (folder / "figures").iterdir()} == figures
        assert all((folder / "figures" / name).read_bytes()[:4] == b"\x89PNG" for name in figures)

    def test_table(self, evaluated):
        results, _ = evaluated
        lines = evaluation.table(results).splitlines()
        assert lines[0] == "60 test examples of mnist5k, final weights"
        assert lines[1].split() == ["accuracy", f"{results['accuracy']:.2%}"]
        assert any(line.split() == ["D-score", f"{results['d_score']:.4f}"] for line in lines)

    def test_class_without_examples(self, small_run, tmp_path):
        few = evaluation.load_subject(small_run, test_examples=3)
        results = evaluation.evaluate(few, tmp_path, conflicting_samples_size=0)
        assert "bundles" not in results
        assert [row["accuracy"] for row in results["per_class"]].count(None) >= 7
        evaluation.table(results)

    def test_best_weights_on_the_validation_split(self, small_run):
        best = evaluation.load_subject(small_run, split="validation", checkpoint="best")
        assert len(best.split) == 20
        found = json.loads((small_run / "results.json").read_text())["validation_chosen"]
        labels = np.concatenate([batch["label"] for batch in best.batches()])
        scores = [best.run.model.classifier(batch["image"]) for batch in best.batches()]
        right = np.concatenate(scores).argmax(axis=1) == labels
        assert right.mean() == pytest.approx(found["validation_accuracy"])


def test_each_question_has_its_folder(subject, tmp_path):
    own = pathlib.Path(subject.options.log_dir) / "evaluation"
    questions = [
        {},
        {"split": "validation"},
        {"split": "validation", "checkpoint": "best"},
        {"dataset": "images:/a b/c"},
        {"output_dir": "x"},
    ]
    folders = []
    for changes in questions:
        options = evaluation.EvaluationOptions(log_dir=subject.options.log_dir, **changes)
        folders.append(dataclasses.replace(subject, options=options).folder)
    assert folders == [
        own,
        own / "split=validation",
        own / "split=validation,checkpoint=best",
        own / "dataset=images_a_b_c",
        pathlib.Path("x"),
    ]


def test_a_folder_with_another_answer(subject, tmp_path):
    answer = {"checkpoint": "final", "dataset": "mnist5k", "split": "validation"}
    for name, content in (
        ("evaluation.json", answer),
        ("attack-pgd-0.json", {"settings": answer}),
    ):
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir()
        (folder / name).write_text(json.dumps(content))
        for call in (evaluation.evaluate, evaluation.accuracy_under_attack):
            with pytest.raises(UsageError) as caught:
                call(subject, folder, attack=["pgd"])
            assert str(caught.value) == (
                "Expected --output_dir without results of --split=validation. "
                f"Received: {folder} for --split=test"
            )


def test_scores_standardise_inside(subject):
    """An attack's bound is one on pixels: scores of the originals are those of the inputs."""
    batch = next(subject.batches())
    expected = subject.run.model.classifier(batch["image"])
    assert np.abs(batch["image"] - batch["original"]).max() > 0.5
    np.testing.assert_allclose(subject.scores(batch["original"]), expected, atol=1e-5)


class TestAttack:
    @pytest.mark.parametrize(
        "damage",
        [
            {"done": "all"},
            {"wrong": [1]},
            {"wrong": None},
            {"wrong": [0, 1, 2, 3]},
            {"settings": {"attack": "fgsm", "epoch": 1}},
            {"settings": None},
        ],
    )
    def test_a_damaged_answer_is_made_again(self, subject, tmp_path, damage):
        asked = {"attack": ["fgsm"], "epsilons": ["0", "0.02", "0.3"], "attack_examples": 20}
        rows = evaluation.accuracy_under_attack(subject, tmp_path, **asked)
        (path,) = tmp_path.glob("attack-fgsm-*.json")
        path.write_text(json.dumps(json.loads(path.read_text()) | damage))
        assert evaluation.accuracy_under_attack(subject, tmp_path, **asked) == rows
        # As one of another call it is left out of the table.
        path.write_text(json.dumps(json.loads(path.read_text()) | damage))
        other = {**asked, "epsilons": ["0.1"]}
        (row,) = evaluation.accuracy_under_attack(subject, tmp_path, **other)
        with (tmp_path / "attacks.csv").open(newline="") as file:
            (told,) = csv.DictReader(file)
        assert float(told["epsilon"]) == row["epsilon"] == 0.1

    def test_accuracy_falls(self, subject, tmp_path):
        rows = evaluation.accuracy_under_attack(
            subject, tmp_path, attack=["fgsm"], epsilons=["0.3", "0", "0.02"], attack_examples=50
        )
        assert [row["epsilon"] for row in rows] == [0.0, 0.02, 0.3]
        accuracies = [row["accuracy"] for row in rows]
        chosen = spread(subject.split, 50, flag="examples")
        lengths = [subject.run.model.classifier(b["image"]) for b in subject.batches(chosen)]
        right = np.concatenate(lengths).argmax(axis=1) == chosen.labels
        assert accuracies[0] == pytest.approx(right.mean())
        assert accuracies[0] >= accuracies[1] > accuracies[2]
        with (tmp_path / "attacks.csv").open(newline="") as file:
            found = [float(row["accuracy"]) for row in csv.DictReader(file)]
        assert found == accuracies
        assert (tmp_path / "figures" / "accuracy_against_epsilon.png").exists()
        table = evaluation.attack_table(rows).splitlines()
        assert table[-1].split() == ["fgsm", "L∞", "0.3", f"{accuracies[2]:.2%}"]

    def test_goes_on_where_it_stopped(self, subject, tmp_path, monkeypatch, capsys):
        """Two batches of 40 and 20, of which the second fails at first."""
        attacked = []

        def attack(scores, batches, name, epsilons, **_):
            for _, labels in batches:
                if len(attacked) == 1:
                    attacked.append(None)
                    raise KeyboardInterrupt
                attacked.append(len(labels))
                yield None, np.stack([labels % 2 == 0, labels < 100])

        monkeypatch.setattr(attacks, "attacked_images", attack)
        arguments = {"attack": ["pgd"], "epsilons": [0.1, 0.2], "attack_examples": 0}
        with pytest.raises(KeyboardInterrupt):
            evaluation.accuracy_under_attack(subject, tmp_path, **arguments)
        assert not (tmp_path / "attacks.csv").exists()
        rows = evaluation.accuracy_under_attack(subject, tmp_path, **arguments)
        assert attacked == [40, None, 20]
        assert "Going on with pgd after 40 examples." in capsys.readouterr().out
        odd = np.mean(subject.split.labels % 2)
        assert [row["accuracy"] for row in rows] == [pytest.approx(odd), 0.0]
        # All of it is there, so nothing is attacked; other arguments start again.
        evaluation.accuracy_under_attack(subject, tmp_path, **arguments)
        assert len(attacked) == 3
        evaluation.accuracy_under_attack(subject, tmp_path, **{**arguments, "attack_steps": 3})
        assert attacked[3:] == [40, 20]

    def test_rows_of_other_calls_stay(self, subject, tmp_path, monkeypatch):
        def attack(scores, batches, name, epsilons, **_):
            for _, labels in batches:
                yield None, np.stack([labels % 2 == 0] * len(epsilons))

        def rows_after(**arguments):
            evaluation.accuracy_under_attack(subject, tmp_path, **arguments)
            with (tmp_path / "attacks.csv").open(newline="") as file:
                return [(row["attack"], row["epsilon"]) for row in csv.DictReader(file)]

        monkeypatch.setattr(attacks, "attacked_images", attack)
        one = {"attack": ["pgd"], "epsilons": [0.1]}
        assert rows_after(**one) == [("pgd", "0.1")]
        assert rows_after(attack=["fgsm"], epsilons=[0.1, 0.2]) == [
            *(("pgd", "0.1"), ("fgsm", "0.1"), ("fgsm", "0.2")),
        ]
        assert sorted(rows_after(**one)) == sorted(
            [("pgd", "0.1"), ("fgsm", "0.1"), ("fgsm", "0.2")]
        )

    @pytest.mark.parametrize(
        ("changes", "parts"),
        [
            ({"epsilons": ["-0.1"]}, ["--epsilons", ">= 0", "Received: -0.1"]),
            ({"epsilons": ["0.1", "big"]}, ["--epsilons", "Received: 0.1,big"]),
            (
                {"attack": ["pgd", "magic"]},
                ["--attack", "fgsm, pgd, deepfool", "Received: pgd,magic"],
            ),
            ({"attack": []}, ["--attack", "fgsm, pgd, deepfool", "Received: none"]),
            ({"attack_examples": -1}, ["--attack_examples >= 0", "Received: -1"]),
            ({"attack_steps": 0}, ["--attack_steps >= 1", "Received: 0"]),
        ],
    )
    def test_wrong_arguments(self, subject, tmp_path, changes, parts):
        arguments = {"attack": ["pgd"], "epsilons": [0.1], **changes}
        with pytest.raises(UsageError) as caught:
            evaluation.accuracy_under_attack(subject, tmp_path / "new", **arguments)
        assert [part for part in parts if part not in str(caught.value)] == []
        assert not (tmp_path / "new").exists()

    def test_without_the_library(self, subject, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "foolbox", None)
        with pytest.raises(UsageError, match="pip install"):
            evaluation.accuracy_under_attack(subject, tmp_path, attack=["pgd"], epsilons=[0.1])


class TestWrongInput:
    @pytest.mark.parametrize(
        ("arguments", "parts"),
        [
            ({"split": "train"}, ["--split", "test, validation", "Received: train"]),
            ({"checkpoint": "first"}, ["--checkpoint", "final, best", "Received: first"]),
            ({"batch_size": 0}, ["--batch_size >= 1", "Received: 0"]),
            ({"test_examples": 1001}, ["--test_examples between 1 and 1000", "Received: 1001"]),
            ({"test_examples": -1}, ["--test_examples >= 0", "Received: -1"]),
        ],
    )
    def test_values(self, small_run, arguments, parts):
        with pytest.raises(UsageError) as caught:
            evaluation.load_subject(small_run, **arguments)
        assert [part for part in parts if part not in str(caught.value)] == []

    def test_folder_without_a_run(self, tmp_path):
        with pytest.raises(UsageError, match=r"which has no run\.json"):
            evaluation.load_subject(tmp_path)

    def test_run_without_checkpoint(self, small_run, tmp_path):
        run = runs.stopped_after(1, small_run, tmp_path / "run")
        for path in (run / "checkpoints").iterdir():
            path.unlink()
        with pytest.raises(UsageError, match="no epoch has been finished"):
            evaluation.load_subject(run)
        with pytest.raises(UsageError, match="no epoch has been finished"):
            evaluation.load_subject(run, checkpoint="best")

    def test_images_of_another_size(self, small_run, monkeypatch):
        wide = datasets.load("mnist5k", image_size=32, validation_fraction=0.1)
        monkeypatch.setattr(datasets, "load", lambda *_, **__: wide)
        with pytest.raises(UsageError) as caught:
            evaluation.load_subject(small_run, dataset="mnist")
        assert "28×28×1 pixels and 10 classes" in str(caught.value)
        assert str(caught.value).endswith("Received: mnist5k, of 32×32×1 pixels and 10 classes")
