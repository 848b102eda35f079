"""A whole training: what it leaves behind, and that going on changes no number."""

import csv
import json
import pathlib
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcaps
from tests import forks, runs
from tfcaps import datasets, training
from tfcaps.errors import UsageError
from tfcaps.training import checkpoints, train


def rows(run):
    """The rows of metrics.csv but for the seconds."""
    with (run / "metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def results(run):
    return json.loads((run / "results.json").read_text())


def weights(run):
    model = training.load_run(run).model
    return [*model.get_weights(), *(np.asarray(v) for v in model.optimizer.variables)]


def same_numbers(run, other):
    """Whether two runs came to the same, to the last bit; but for the time they took."""
    assert rows(run) == rows(other)
    assert {**results(run), "seconds": 0} == {**results(other), "seconds": 0}
    for one, two in zip(weights(run), weights(other), strict=True):
        np.testing.assert_array_equal(one, two)


def events(folder):
    """What TensorBoard shows: {tag: sorted steps} and {tag: plugin}."""
    steps, plugins = {}, {}
    for path in sorted(pathlib.Path(folder).glob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                steps.setdefault(value.tag, []).append(event.step)
                plugins[value.tag] = value.metadata.plugin_data.plugin_name
    return {tag: sorted(found) for tag, found in steps.items()}, plugins


def served_scores(folder, images):
    served = tf.saved_model.load(folder).signatures["serving_default"]
    return served(images=tf.constant(images))["scores"].numpy()


def accuracy_of(path):
    """Accuracy of a saved model over the whole test set, without the code under test."""
    model = keras.models.load_model(path, compile=False)
    test = datasets.load("mnist5k").test
    # The middle 24×24 pixels, with mean 0 and variance 1, as the papers have it.
    images = test.images[:, 2:26, 2:26].astype("float64") / 255
    images -= images.mean(axis=(1, 2, 3), keepdims=True)
    images /= images.std(axis=(1, 2, 3), keepdims=True)
    outputs = model.predict(images.astype("float32"), batch_size=250, verbose=0)
    return (outputs["lengths"].argmax(axis=1) == test.labels).mean()


class TestRunDirectory:
    def test_all_is_there(self, full_run):
        assert sorted(path.name for path in full_run.iterdir()) == [
            "checkpoints",
            "figures",
            "flags.txt",
            "metrics.csv",
            "results.json",
            "run.json",
            "serving",
            "tensorboard",
        ]
        names = sorted(path.name for path in (full_run / "checkpoints").iterdir())
        assert names == ["best.keras", "epoch-0002.keras", "epoch-0003.keras"]
        assert sorted(path.name for path in (full_run / "figures").iterdir()) == [
            "capsule_dimensions.png",
            "confusion_matrix.png",
            "couplings.png",
            "learning_curves.png",
            "reconstructions.png",
        ]
        for path in (full_run / "figures").iterdir():
            assert tf.io.decode_png(path.read_bytes()).shape[0] > 100
        assert [path.name for path in (full_run / "serving").iterdir()] == ["1"]
        assert not list(full_run.rglob(".*"))

    def test_metrics(self, full_run):
        found = rows(full_run)
        assert [row["epoch"] for row in found] == ["1", "2", "3"]
        names = ["accuracy", "loss", "margin_loss", "reconstruction_loss"]
        scores = ["t_score", "t_score/capsules_1", "t_score/capsules_2", "d_score"]
        expected = ["epoch", *names, *(f"val_{name}" for name in names), *scores]
        assert sorted(found[0]) == sorted(expected)
        for row in found:
            # Keras averages a part of a loss over batches, and the sum over examples: all the same
            # for the 20 of validation, which are one batch.
            for prefix, tolerance in (("", 0.1), ("val_", 1e-5)):
                total = float(row[f"{prefix}margin_loss"])
                total += 1e-5 * float(row[f"{prefix}reconstruction_loss"])
                assert float(row[f"{prefix}loss"]) == pytest.approx(total, rel=tolerance)
            # Of 20 validation examples a whole number is right.
            assert (20 * float(row["val_accuracy"])) == pytest.approx(
                round(20 * float(row["val_accuracy"])), abs=1e-5
            )
        assert float(found[2]["loss"]) < float(found[0]["loss"])

    def test_tensorboard(self, full_run):
        steps, plugins = events(full_run / "tensorboard" / "train")
        assert set(steps) == {
            "accuracy",
            "learning_rate",
            "loss",
            "margin_loss",
            "reconstruction_loss",
            "t_score",
            "t_score/capsules_1",
            "t_score/capsules_2",
            "d_score",
        }
        assert set(plugins.values()) == {"scalars"}
        assert all(found == [1, 2, 3] for found in steps.values())
        steps, _ = events(full_run / "tensorboard" / "validation")
        assert steps["accuracy"] == [1, 2, 3]
        steps, plugins = events(full_run / "tensorboard" / "probe")
        assert plugins == {
            "confusion_matrix": "images",
            "reconstructions": "images",
            "couplings/capsules_1": "histograms",
            "couplings/capsules_2": "histograms",
        }
        assert all(found == [1, 2, 3] for found in steps.values())

    def test_flags(self, full_run):
        lines = (full_run / "flags.txt").read_text().splitlines()
        assert "--routing=em" in lines
        assert "--layers=4,4,10" in lines
        assert "--train_examples=100" in lines


class TestResults:
    def test_content(self, full_run):
        found = results(full_run)
        assert found["epochs"] == 3
        assert found["seed"] == 0
        sizes = [found[f"{name}_examples"] for name in ("train", "validation", "test")]
        assert sizes == [80, 20, 1000]
        assert set(found["versions"]) == {"tfcaps", "tensorflow", "keras", "numpy", "python"}
        assert found["versions"]["tfcaps"] == tfcaps.__version__
        assert found["versions"]["tensorflow"] == tf.__version__
        with (full_run / "metrics.csv").open(newline="") as file:
            seconds = sum(float(row["seconds"]) for row in csv.DictReader(file))
        assert found["seconds"] == pytest.approx(seconds, abs=0.051)

    def test_capsule_scores_are_those_of_the_whole_test_set(self, full_run):
        """The formulas, in float64 NumPy."""
        run = training.load_run(full_run)
        images, _ = run.preprocessing.evaluate(datasets.load("mnist5k").test.images)
        seen = run.model.inspector(images, training=False)
        t_scores = {}
        for layer, coupling in seen["couplings"].items():
            c = np.asarray(coupling, "float64")
            entropy = -(c * np.log(np.where(c > 0, c, 1.0))).sum(axis=1)
            t_scores[layer] = np.mean(1.0 - entropy / np.log(c.shape[1]))
        lengths = np.linalg.norm(np.asarray(seen["capsules"]["capsules_1"], "float64"), axis=-1)
        found = results(full_run)
        assert found["t_scores"] == pytest.approx(t_scores, abs=1e-5)
        assert found["t_score"] == pytest.approx(np.mean(list(t_scores.values())), abs=1e-5)
        assert found["d_score"] == pytest.approx(lengths.std(axis=0).max(), abs=1e-5)

    def test_parameters(self, full_run):
        # 24 → 16 by the stem → 4: 4·4·4 = 64 primary capsules of dimension 4.
        stem = 9 * 9 * 1 * 16 + 16
        primary = 9 * 9 * 16 * 16 + 16
        # A matrix for each pair of capsules, a bias for each, and EM's number for each.
        dense = (64 * 4 + 4 * 10) * 4 * 4 + (4 + 10) * 4 + (4 + 10)
        decoder = (40 + 1) * 512 + (512 + 1) * 1024 + (1024 + 1) * 24 * 24
        assert results(full_run)["parameters"] == stem + primary + dense + decoder
        assert results(full_run)["parameters_without_decoder"] == stem + primary + dense

    def test_parameters_without_a_decoder_are_all(self, plain_run):
        found = results(plain_run)
        assert found["parameters_without_decoder"] == found["parameters"] > 0

    def test_final_accuracy_is_that_of_the_saved_model(self, full_run):
        expected = accuracy_of(full_run / "checkpoints" / "epoch-0003.keras")
        assert results(full_run)["test_accuracy"] == pytest.approx(expected, abs=1e-6)

    def test_chosen_accuracy_is_that_of_the_best_on_validation(self, full_run):
        chosen = results(full_run)["validation_chosen"]
        by_epoch = [float(row["val_accuracy"]) for row in rows(full_run)]
        assert chosen["epoch"] == by_epoch.index(max(by_epoch)) + 1
        assert chosen["validation_accuracy"] == max(by_epoch)
        expected = accuracy_of(full_run / "checkpoints" / "best.keras")
        assert chosen["test_accuracy"] == pytest.approx(expected, abs=1e-6)

    def test_the_best_is_the_checkpoint_of_its_epoch(self, small_run):
        epoch = results(small_run)["validation_chosen"]["epoch"]
        best = (small_run / "checkpoints" / "best.keras").read_bytes()
        assert best == (small_run / "checkpoints" / f"epoch-{epoch:04d}.keras").read_bytes()

    def test_the_served_model_is_the_final_one(self, full_run):
        run = training.load_run(full_run)
        images = datasets.load("mnist5k").test.images[:8]
        expected = run.model.classifier(run.preprocessing.evaluate(images)[0], training=False)
        found = served_scores(full_run / "serving" / "1", images)
        np.testing.assert_allclose(found, expected, atol=1e-5)


class TestResume:
    def test_the_numbers_are_those_of_an_uninterrupted_run(self, quick, small_run, tmp_path):
        run = runs.stopped_after(1, small_run, tmp_path / "run")
        train(runs.config(run, resume=True))
        same_numbers(run, small_run)

    def test_of_a_finished_run_changes_nothing(self, plain_run, tmp_path):
        run = shutil.copytree(plain_run, tmp_path / "run")
        before = runs.snapshot(run)
        found = train(runs.plain(run, resume=True))
        after = runs.snapshot(run)
        # It tells where the run lies now.
        changed = [name for name in before if after.get(name) != before[name]]
        assert changed == ["run.json"]
        assert after.keys() == before.keys()
        assert found == results(plain_run)

    def test_of_a_finished_run_without_test_keeps_its_test_accuracy(self, small_run, tmp_path):
        run = shutil.copytree(small_run, tmp_path / "run")
        found = train(runs.config(run, resume=True, test=False))
        assert found == results(run) == results(small_run)
        assert found["test_accuracy"] is not None

    def test_with_more_epochs_goes_on(self, quick, plain_run, tmp_path):
        run = shutil.copytree(plain_run, tmp_path / "run")
        first = runs.snapshot(run / "serving" / "1")
        train(runs.plain(run, resume=True, epochs=4))
        assert rows(run)[:3] == rows(plain_run)
        assert [row["epoch"] for row in rows(run)] == ["1", "2", "3", "4"]
        assert results(run)["epochs"] == 4
        steps, _ = events(run / "tensorboard" / "train")
        assert steps["loss"] == [1, 2, 3, 4]
        assert "--epochs=4\n" in (run / "flags.txt").read_text()
        assert runs.snapshot(run / "serving" / "1") == first
        assert sorted(path.name for path in (run / "serving").iterdir()) == ["1", "2"]
        loaded = training.load_run(run)
        assert loaded.epoch == 4
        images = datasets.load("mnist5k").test.images[:8]
        inputs, _ = loaded.preprocessing.evaluate(images)
        found = served_scores(run / "serving" / "2", images)
        expected = tf.nn.softmax(loaded.model(inputs, training=False))
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert not np.allclose(found, served_scores(run / "serving" / "1", images), atol=1e-5)

        # Killed after the last checkpoint, before anything was made of it.
        shutil.copy(plain_run / "results.json", run / "results.json")
        shutil.rmtree(run / "serving" / "2")
        train(runs.plain(run, resume=True, epochs=4))
        np.testing.assert_array_equal(served_scores(run / "serving" / "2", images), found)
        assert results(run)["epochs"] == 4

    def test_of_mixed_float16(self, quick, tmp_path):
        """Its optimizer is wrapped in one that scales the loss, and must not be wrapped twice."""
        changes = {
            "precision": "mixed_float16",
            "epochs": 2,
            "enable_tf_function": False,
            "train_examples": 20,
            "batch_size": 8,
            "test": False,
        }
        train(runs.config(tmp_path / "whole", **changes))
        run = runs.stopped_after(1, tmp_path / "whole", tmp_path / "run")
        train(runs.config(run, resume=True, **changes))
        same_numbers(run, tmp_path / "whole")


def test_learning_rate_falls_and_a_resumed_run_has_the_same(quick, plain_run, tmp_path):
    found = [float(row["learning_rate"]) for row in rows(plain_run)]
    assert found == pytest.approx([0.004, 0.002, 0.001])
    run = runs.stopped_after(1, plain_run, tmp_path / "run")
    train(runs.plain(run, resume=True))
    same_numbers(run, plain_run)


def test_the_step_is_traced_once(quick, monkeypatch, tmp_path):
    step, traces = keras.Model.train_step, []

    def traced(model, batch):
        traces.append(batch)
        return step(model, batch)

    monkeypatch.setattr(keras.Model, "train_step", traced)
    train(runs.plain(tmp_path, epochs=2, train_examples=50, test=False))
    assert len(traces) == 1


def test_robust_training_needs_pixels_as_they_are(tmp_path):
    with pytest.raises(UsageError) as caught:
        train(runs.config(tmp_path / "run", robust=True))
    assert str(caught.value) == (
        "Expected --augmentation=none with --robust, which changes pixels in [0, 1]; mnist5k is "
        "standardised otherwise. Received: --augmentation=paper"
    )
    assert not (tmp_path / "run").exists()


def test_robust_training_learns_from_attacked_images(quick, tmp_path):
    """An attack of no size is a plain training; one of a size makes the same images harder."""
    changes = {"epochs": 1, "test": False, "augmentation": "none", "attack_steps": 2}
    changes |= {"train_examples": 40, "batch_size": 16}
    losses = {}
    for name, own in {
        "plain": {"enable_tf_function": False},
        "zero": {"robust": True, "epsilon": 0.0, "enable_tf_function": False},
        "attacked": {"robust": True, "epsilon": 0.3, "attack_step_size": 0.15},
    }.items():
        train(runs.config(tmp_path / name, **changes, **own))
        (row,) = rows(tmp_path / name)
        losses[name] = float(row["loss"])
    assert losses["zero"] == pytest.approx(losses["plain"], rel=1e-5)
    assert losses["attacked"] > 1.0001 * losses["plain"]


def test_the_seed_decides(quick, plain_run, tmp_path):
    train(runs.plain(tmp_path, epochs=1, seed=1, test=False))
    assert rows(tmp_path)[0] != rows(plain_run)[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "mixed_bfloat16", "routing": "sda", "use_reconstruction": True},
        {"jit": "on"},
        {"routing": "mean", "make_skips": True, "layers": (4, 4, 4, 4, 10),
         "dimensions": (4, 4, 4, 4, 4), "use_bias": False},
        {"model": "EfficientCapsNet", "routing": "attention", "use_prior": True,
         "augmentation": "efficient", "mask": "label", "use_reconstruction": True},
        {"model": "CapsHead", "recipe": "fast", "schedule": "one_cycle", "warmup_epochs": 0.5,
         "blocks": (1, 1), "widths": (4, 6), "layers": (4, 10), "dimensions": (4, 4)},
    ],
    ids=lambda changes: ",".join(map(str, changes.values())),
)  # fmt: skip
def test_variants(quick, tmp_path, changes):
    train(runs.config(tmp_path / "run", epochs=1, train_examples=50, test=False, **changes))
    model, epoch = checkpoints.restore(tmp_path / "run" / "checkpoints")
    assert epoch == 1
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    images = datasets.load("mnist5k").test.images[:2]
    scores = served_scores(tmp_path / "run" / "serving" / "1", images)
    assert scores.shape == (2, 10)
    assert np.isfinite(scores).all()


def test_without_tf_function_the_numbers_are_nearly_the_same(quick, plain_run, tmp_path):
    train(runs.plain(tmp_path, epochs=1, enable_tf_function=False))
    (found,), expected = rows(tmp_path), rows(plain_run)[0]
    assert float(found["loss"]) == pytest.approx(float(expected["loss"]), rel=1e-3)
    assert float(found["val_loss"]) == pytest.approx(float(expected["val_loss"]), rel=1e-3)


def test_without_validation_and_test(tmp_path):
    found = train(
        runs.config(
            tmp_path,
            epochs=1,
            validation_fraction=0.0,
            test=False,
            model="ConvCapsNet",
            mask="label",
            use_reconstruction=True,
        )
    )
    assert found["test_accuracy"] is None
    assert found["validation_chosen"] is None
    assert found["train_examples"] == 100
    assert not [name for name in rows(tmp_path)[0] if name.startswith("val_")]
    assert not (tmp_path / "checkpoints" / "best.keras").exists()
    assert len(list((tmp_path / "figures").iterdir())) == 5
    assert (tmp_path / "serving" / "1" / "saved_model.pb").exists()


def test_own_images(quick, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("ant", "bee", "cat"):
        folder = tmp_path / "pictures" / name
        folder.mkdir(parents=True)
        for index in range(10):
            image = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            (folder / f"{index}.png").write_bytes(tf.io.encode_png(image).numpy())
    found = train(
        runs.config(
            tmp_path / "run",
            dataset=f"images:{tmp_path / 'pictures'}",
            image_size=(18, 21),
            train_examples=0,
            layers=(4, 3),
            dimensions=(4, 4),
            epochs=1,
        )
    )
    assert found["train_examples"] + found["validation_examples"] == 24
    run = training.load_run(tmp_path / "run")
    assert run.class_names == ("ant", "bee", "cat")
    assert run.image_shape == (18, 21, 3)
    assert run.config.image_size == (18, 21)
    scores = served_scores(tmp_path / "run" / "serving" / "1", np.zeros((2, 18, 21, 3), np.uint8))
    assert scores.shape == (2, 3)


DEVICES = """
import pathlib, sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from nas import rules, search
from nas.configuration import SearchConfig
from tests import runs
from tfcaps import training
from tfcaps.training import devices, loop

loop._write_figures = lambda *_: None
training.CapsuleNetworkTask.figures = lambda *_, **__: ({}, {})
folder = pathlib.Path(sys.argv[1])
# Batches of 32, 32 and 2, so each device has equally much to do.
changes = {
    "train_examples": 66, "validation_fraction": 0.0, "epochs": 2, "schedule": "cosine",
    "warmup_epochs": 0.5, "class_weights": "balanced",
}
training.train(runs.config(folder / "one", **changes))
both = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
devices.strategy = lambda: both
training.train(runs.config(folder / "two", **changes))
runs.stopped_after(1, folder / "two", folder / "resumed")
training.train(runs.config(folder / "resumed", resume=True, **changes))

# Bundle entropy, during a training and in a search.
blocks = {
    "blocks": (1, 1), "widths": (2, 3), "stem": "cifar", "image_size": 8, "train_examples": 150,
    "validation_fraction": 0.4, "augmentation": "none", "conflicting_samples_size": 30, "epochs": 1,
}
training.train(training.BlockNetworkConfig(
    log_dir=str(folder / "bundles"), batch_size=30, test=False, **blocks
))
search._train = lambda config, folder, summary: {}
rules.GrowWhileTraining._epochs = lambda *_: 1
blocks = {
    **blocks, "check_epochs": 1, "max_trials": 2, "isolate_trials": False
}
search.auto_tune(SearchConfig(log_dir=str(folder / "search"), batch_size=30, **blocks))
try:
    search.auto_tune(SearchConfig(log_dir=str(folder / "no_search"), batch_size=15, **blocks))
except Exception as error:
    print("Search:", error)

# 65 examples to learn from and 65 held out: two devices can't share the 65th.
training.train(training.ImageClassifierConfig(
    log_dir=str(folder / "odd"), filters=(2,), train_examples=130, validation_fraction=0.5,
    batch_size=64, epochs=1, test=False
))
try:
    training.train(runs.config(folder / "three", batch_size=33))
except Exception as error:
    print(error)
"""


def test_two_devices_come_to_the_numbers_of_one(tmp_path):
    code, output, errors = runs.finish(forks.start_code(DEVICES, tmp_path))
    assert code == 0, errors
    assert "Resuming after epoch 1" in output
    assert (
        "Expected --batch_size to be a multiple of 2, the number of devices. Received: 33" in output
    )
    assert (
        "Search: Expected --batch_size to be a multiple of 2, the number of devices. Received: 15\n"
        in output
    )
    assert not (tmp_path / "no_search").exists()
    with (tmp_path / "search" / "history.csv").open(newline="") as file:
        trials = list(csv.DictReader(file))
    assert [(trial["role"], trial["status"]) for trial in trials] == [
        *(("start", "completed"), ("train on", "completed"))
    ]
    (bundles,) = rows(tmp_path / "bundles")
    entropies = {name: float(x) for name, x in bundles.items() if name.startswith("entropy/")}
    assert len(entropies) == 4  # of two blocks' branches and outputs
    assert np.isfinite(list(map(float, bundles.values()))).all()
    same_numbers(tmp_path / "resumed", tmp_path / "two")
    (odd,) = rows(tmp_path / "odd")
    assert np.isfinite(float(odd["loss"]))
    loaded = training.load_run(tmp_path / "odd")
    held_out = datasets.load("mnist5k", train_examples=130, validation_fraction=0.5).validation
    inputs, _ = loaded.preprocessing.evaluate(held_out.images)
    right = np.argmax(loaded.model(inputs, training=False), axis=-1) == held_out.labels
    assert float(odd["val_accuracy"]) == pytest.approx(np.mean(right), abs=1e-6)
    for one, two in zip(rows(tmp_path / "one"), rows(tmp_path / "two"), strict=True):
        assert float(two["loss"]) == pytest.approx(float(one["loss"]), rel=1e-5)
    for one, two in zip(weights(tmp_path / "one"), weights(tmp_path / "two"), strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)
