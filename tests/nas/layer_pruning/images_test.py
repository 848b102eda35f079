"""Prunings of residual networks and vision transformers: the same call as for texts."""

import csv
import json
import os
import shutil
import signal
import socket
import time
from unittest import mock

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from nas import layer_pruning
from nas.layer_pruning import PruningConfig, Removal, report, subjects
from nas.layer_pruning.trial import RemovalRunner
from tests import encoders, forks, runs
from tests.nas.layer_pruning import cut
from tfcaps import models, training
from tfcaps.errors import UsageError

# keras-tuner uses threading.currentThread.
pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:keras_tuner")

_GUARDED = "nas.layer_pruning.methods._Trained"
_TRAINED = {"train_examples": 120, "validation_fraction": 0.25, "epochs": 1, "batch_size": 30}
_SHAPE = {"blocks": (2, 2), "widths": (2, 4), "stem": "pooled"}


def trained(log_dir, **changes):
    known = {**_TRAINED, **_SHAPE, "conflicting_samples_size": 0, "test": False, "seed": 3}
    training.train(training.BlockNetworkConfig(log_dir=str(log_dir), **{**known, **changes}))
    return log_dir


def tiny_vit(folder):
    """Writes a preset with random weights and how it sees pixels, and returns its folder."""
    keras.utils.set_random_seed(0)
    backbone = keras_hub.models.ViTBackbone(
        image_shape=(8, 8, 3), patch_size=4, num_layers=3, num_heads=2, hidden_dim=8, mlp_dim=8
    )
    generator = np.random.default_rng(0)
    for weight in backbone.weights:
        if len(weight.shape) > 1:
            weight.assign(0.3 * generator.standard_normal(weight.shape))
    folder.mkdir(parents=True)
    backbone.save_to_preset(str(folder))
    keras_hub.layers.ViTImageConverter(
        image_size=(8, 8), scale=[1 / 127.5] * 3, offset=[-1.0] * 3
    ).save_to_preset(str(folder))
    return folder


# The classes below may be tested in several processes.
@pytest.fixture(scope="session")
def run(once):
    return once("resnet_to_prune", trained)[0]


@pytest.fixture(scope="session")
def vit(once):
    return once("vit_to_prune", tiny_vit)[0]


def config(model, log_dir, **changes):
    known = {"dataset": "mnist5k", "epochs": 1, "batch_size": 30, "steps_per_epoch": 2}
    known |= {"prune_n_layers": 1, "seeds": 1, "baselines": ("top",), "learning_rate": 1e-3}
    # Tracing two steps takes longer than they do; of texts they are traced: pruning_test.py.
    known |= {"enable_tf_function": False}
    return PruningConfig(log_dir=str(log_dir), model=str(model), **{**known, **changes})


def prune(asked):
    """Leaves out the guard and the processes in which memory is measured."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{_GUARDED}._no_reason_to_rank", lambda *_: None)
        patch.setattr("tfcaps.measure.peak_megabytes", lambda *_, **__: 7.0)
        return layer_pruning.prune_transformer(asked)


def history(folder):
    with (folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.fixture(scope="session")
def of_run(run, once):
    return once("pruning_of_resnet", lambda folder: prune(config(run, folder)))


@pytest.fixture(scope="session")
def of_vit(vit, once):
    return once("pruning_of_vit", lambda folder: prune(config(vit, folder, train_examples=120)))


@pytest.mark.parametrize(("pruned", "count"), [("of_run", 3), ("of_vit", 3)])
class TestPruning:
    def test_files(self, request, pruned, count):
        folder, found = request.getfixturevalue(pruned)
        (layer,) = found["removed"]
        rows = history(folder)
        roles = [row["role"] for row in rows]
        assert roles[: 1 + count] == ["whole", *["candidate"] * count]
        assert set(roles[1 + count :]) == {"final"}
        (log,) = layer_pruning.read_order_log(next(folder.glob("layer_files/*_greedy_log.txt")))
        assert sorted(log) == list(range(count))
        assert max(log.values()) == log[layer]
        text = (folder / "report.md").read_text()
        assert "for one\nimage alone" in text
        described = json.loads((folder / "pruned" / "layers.json").read_text())
        assert sorted(described["kept_layers"] + [layer]) == list(range(count))
        assert described["task"] == "mnist5k"
        for name in ("score_by_size", "score_by_milliseconds", "choices"):
            assert (folder / "figures" / f"{name}.png").stat().st_size > 5000

    def test_final_run_is_the_final_trial(self, request, pruned, count):
        del count
        folder, found = request.getfixturevalue(pruned)
        removed = "-".join(map(str, found["removed"]))
        (row,) = (r for r in history(folder) if r["role"] == "final" and r["removed"] == removed)
        assert float(row["score"]) == pytest.approx(found["results"]["test_score"], abs=1e-6)
        run = training.load_run(folder / "best")
        assert run.config.kind == "pretrained_network"

    def test_served(self, request, pruned, count):
        del count
        folder, _ = request.getfixturevalue(pruned)
        served = tf.saved_model.load(str(folder / "serving" / "1")).signatures["serving_default"]
        (name, spec) = next(iter(served.structured_input_signature[1].items()))
        images = np.zeros((2, *spec.shape[1:]), np.uint8)
        assert served(**{name: tf.constant(images)})["scores"].shape == (2, 10)


class TestMemory:
    """What is opened in the measured process is the smaller network alone."""

    def measured(self, patch, subject, removed, inputs, folder):
        """What the program computes whose memory is measured."""
        found = []
        patch.setattr(
            "tfcaps.measure.peak_megabytes",
            lambda make, *args, settled: found.append(make(*args)()) or 7.0,
        )
        assert report._megabytes(folder, subject, removed, inputs) == 7.0
        assert not list(folder.iterdir())
        return found[0]

    def test_residual_network(self, run, tmp_path, monkeypatch):
        moved, folder = tmp_path / "run", tmp_path / "pruning"
        shutil.copytree(run, moved)
        folder.mkdir()
        asked = subjects.for_model(config(moved, folder))
        with training.surroundings(asked):
            subject = subjects.open_subject(asked)
            expected = subject.without((1,)).run.model
            images = np.random.default_rng(0).random((2, *expected.input_shape[1:]), "float32")
            shutil.rmtree(moved)  # so it isn't opened
            found = self.measured(monkeypatch, subject, (1,), images, folder)
        np.testing.assert_array_equal(found, expected(images))

    def test_vit(self, vit, tmp_path, monkeypatch):
        moved, folder = tmp_path / "vit", tmp_path / "pruning"
        shutil.copytree(vit, moved)
        folder.mkdir()
        subject = subjects.open_subject(config(moved, folder))
        images = np.random.default_rng(0).random((2, 8, 8, 1), "float32")
        shutil.rmtree(moved)
        found = self.measured(monkeypatch, subject, (0, 2), images, folder)
        expected = subject.encoder.without((0, 2)).backbone(np.repeat(images, 3, axis=-1))
        np.testing.assert_array_equal(found, expected)

    def test_text_encoder(self, tmp_path, monkeypatch):
        bert, folder = encoders.tiny_bert(tmp_path / "bert", num_layers=2), tmp_path / "pruning"
        folder.mkdir()
        subject = subjects.open_subject(config(bert, folder, dataset="sst2", max_tokens=16))
        tokens = subject.encoder.tokenize((np.array(["a good film"], object),), 8)
        shutil.rmtree(bert)
        found = self.measured(monkeypatch, subject, (1,), tokens, folder)
        expected = subject.encoder.without((1,)).backbone(tokens)
        np.testing.assert_array_equal(found["sequence_output"], expected["sequence_output"])


class TestResidualNetwork:
    def test_smaller_one_skips_the_branch(self, run, of_run):
        """Saved and read back, it computes what the whole one does with the branch switched off."""
        folder, found = of_run
        whole = training.load_run(run)
        smaller = training.load_run(folder / "pruned")
        described = json.loads((folder / "pruned" / "layers.json").read_text())
        names = ["stage1_block1", "stage1_block2", "stage2_block2"]
        assert described["layer_names"] == names
        assert f"Layers: 0 {names[0]}, 1 {names[1]}" in (folder / "report.md").read_text()
        gone = whole.model.residual_blocks.index(names[found["removed"][0]])
        images = np.random.default_rng(0).random((4, *whole.model.image_shape), "float32")
        keep = np.ones((4, 4), "float32")
        keep[:, gone] = 0
        expected = whole.model.lesionable({"image": images, "keep": keep})
        np.testing.assert_array_equal(smaller.model(images), expected)
        assert smaller.model.count_params() < whole.model.count_params()
        assert smaller.config.blocks == ((1, 2) if gone < 2 else (2, 1))
        assert (smaller.fingerprint, smaller.epoch) == (whole.fingerprint, whole.epoch)

    def test_opens_again(self, run, of_run, tmp_path):
        folder, _ = of_run
        found = prune(config(folder / "pruned", tmp_path / "again", prune_method="top"))
        assert found["removed"] == (1,)
        assert sum(training.load_run(tmp_path / "again" / "pruned").config.blocks) == 2

    def test_what_was_held_out_stays_so(self, run, tmp_path):
        asked = subjects.for_model(config(run, tmp_path))
        assert (asked.validation_fraction, asked.train_examples) == (0.25, 120)
        with training.surroundings(asked):
            runner = RemovalRunner(asked, subjects.open_subject(asked))
        own = training.load_run(run).load_data()
        np.testing.assert_array_equal(runner.data.validation.images, own.validation.images)
        np.testing.assert_array_equal(runner.data.train.images, own.train.images)
        assert len(runner.all_data.train) == 120

    def test_of_its_data_by_another_name(self, tmp_path):
        """What was held out is known by either name of the data set; so is one by another path."""
        folder = training.RunDirectory(tmp_path / "run")
        own = {"model": "resnet", "validation_fraction": 0.25, "train_examples": 120}
        for trained_on, named in (("svhn", "svhn_cropped"), ("images:a/b", "images:./a/../a/b")):
            folder.create(training.BlockNetworkConfig(log_dir="x", dataset=trained_on, **own), {})
            asked = subjects.for_model(config(folder.path, tmp_path, dataset=named))
            assert (asked.validation_fraction, asked.train_examples) == (0.25, 120)
            other = subjects.for_model(config(folder.path, tmp_path, dataset="images:b"))
            assert (other.validation_fraction, other.train_examples) == (0.15, 0)

    def test_head_is_kept_for_its_classes(self, run, tmp_path):
        asked = subjects.for_model(config(run, tmp_path))
        trained = training.load_run(run)
        with training.surroundings(asked):
            pretrained = subjects.open_subject(asked).without(())
            shape = trained.model.image_shape
            same = pretrained.classifier(shape, trained.class_names, dropout=0.1)
            other = pretrained.classifier(shape, [f"n{i}" for i in range(10)], dropout=0.1)
        kernel = np.asarray(trained.model.get_layer("logits").kernel)
        np.testing.assert_array_equal(same.get_layer("logits").kernel, kernel)
        assert np.abs(np.asarray(other.get_layer("logits").kernel) - kernel).max() > 0.01

    def test_gone_on_with_after_a_kill(self, run, of_run, tmp_path):
        folder = tmp_path / "cut"
        shutil.copytree(of_run[0], folder)
        cut.in_its_second_trial(folder)
        found = prune(config(run, folder, resume=True))
        assert found["removed"] == of_run[1]["removed"]
        assert found["results"]["test_score"] == of_run[1]["results"]["test_score"]
        assert history(folder) == history(of_run[0])

    def test_one_pass(self, run, tmp_path):
        """Block influence against its definition, place by place."""
        asked = subjects.for_model(config(run, tmp_path, prune_method="block_influence"))
        with training.surroundings(asked):
            runner = RemovalRunner(asked, subjects.open_subject(asked))
            found = runner.run("0", Removal((), 41, role="one_pass").to_values())
        inspector = training.load_run(run).model.inspector
        images = runner.task.preprocessing.evaluate(runner.data.train.images)[0]
        outputs = inspector(images)
        before, after = (
            np.asarray(outputs[f"stage1_block{number}/output"], "float64") for number in (1, 2)
        )
        influences = []
        for x, y in zip(before.reshape(-1, 2), after.reshape(-1, 2), strict=True):
            norms = np.linalg.norm(x) * np.linalg.norm(y)
            influences.append(1 - x @ y / norms if norms else float(np.any(x != y)))
        assert found["block_influence/1"] == pytest.approx(np.mean(influences), abs=1e-5)
        assert found["bundle_entropy/2"] <= 0
        assert "block_influence/3" not in found

    def test_one_graph_for_networks_of_one_form(self, run, tmp_path):
        """A trial has the same outputs as the first of a process and after another one."""
        asked = subjects.for_model(config(run, tmp_path, enable_tf_function=True))
        outputs = []
        with training.surroundings(asked):
            subject = subjects.open_subject(asked)
            assert subject.form((0,)) == subject.form((1,)) != subject.form((2,))
            for before in ((), (Removal((0,), 42),)):
                runner = RemovalRunner(asked, subject)
                for name, trial in enumerate((*before, Removal((1,), 41))):
                    (tmp_path / "trials" / f"trial_{name}").mkdir(parents=True, exist_ok=True)
                    runner.run(str(name), trial.to_values())
                path = tmp_path / "trials" / f"trial_{len(before)}" / "outputs.npy"
                outputs.append(np.load(path))
        np.testing.assert_array_equal(*outputs)


# A chief, or a worker; worker-1 is given a second trial and does nothing about it.
_ONE_OF_SEVERAL = """
import json, os, sys, time
from nas import layer_pruning
from nas.layer_pruning import methods, pruning, trial

def tell(config, folder, records, plan, runner):
    pruning.report.write_history(folder.history, records)
    print("chosen:", plan.method.chosen(records))
    return {}

methods._Trained._no_reason_to_rank = lambda *_: None
pruning._conclude = tell
run, begun = trial.RemovalRunner.run, []

def run_one(runner, name, values):
    begun.append(name)
    if os.environ["KERASTUNER_TUNER_ID"] == "worker-1" and len(begun) > 1:
        time.sleep(600)
    return run(runner, name, values)

trial.RemovalRunner.run = run_one
config = layer_pruning.PruningConfig.from_dict(json.loads(sys.argv[1]))
layer_pruning.prune_transformer(config)
"""


class TestWorkers:
    def ongoing(self, folder):
        """The trials that are worked on, by worker."""
        try:
            state = json.loads((folder / "trials" / "state.json").read_text())
        except FileNotFoundError:
            return {}
        return state["oracle"]["ongoing_trials"]

    def test_one_of_two_dies(self, run, of_run, tmp_path):
        """The other one takes its trial over; scores and choice are those of one process."""
        asked = config(run, tmp_path / "pruning", distributed=True, worker_timeout=6.0)
        folder = tmp_path / "pruning"
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        place = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(port)}
        processes = {}

        def start(name):
            with mock.patch.dict(os.environ, KERASTUNER_TUNER_ID=name, **place):
                processes[name] = forks.start_code(_ONE_OF_SEVERAL, json.dumps(asked.to_dict()))

        def wait_until(condition):
            deadline = time.monotonic() + 300
            while not condition():
                assert time.monotonic() < deadline
                for process in processes.values():
                    assert process.poll() is None, process.communicate()
                time.sleep(0.02)

        try:
            start("chief")
            start("worker-1")
            wait_until(lambda: self.ongoing(folder).get("worker-1", "").endswith("1"))
            start("worker-2")
            wait_until(lambda: len(self.ongoing(folder)) == 2)
            processes["worker-1"].kill()
            ends = {name: runs.finish(process) for name, process in processes.items()}
        finally:
            for process in processes.values():
                process.kill()
        assert ends["worker-1"][0] == -signal.SIGKILL
        for name in ("chief", "worker-2"):
            assert ends[name][0] == 0, ends[name]
        said = ends["chief"][1]
        assert "1: worker-1 is gone, worker-2 takes over." in said
        assert f"chosen: ({of_run[1]['removed']},)" in said
        assert "The pruning is over." in ends["worker-2"][1]

        def scores(path):
            # Trials are numbered as they began.
            return sorted(tuple(row[n] for n in row if n != "trial") for row in history(path))

        assert scores(folder) == scores(of_run[0])


class TestViT:
    def test_opens_with_the_host_alone(self, vit, of_vit):
        folder, found = of_vit
        smaller = keras_hub.models.Backbone.from_preset(str(folder / "pruned"))
        whole = keras_hub.models.Backbone.from_preset(str(vit))
        assert smaller.num_layers == 2
        images = np.random.default_rng(0).random((2, 8, 8, 3), "float32")
        x = keras.Model(whole.input, whole.get_layer("vit_encoder").input)(images)
        for index, layer in enumerate(whole.get_layer("vit_encoder").encoder_layers):
            x = x if index in found["removed"] else layer(x)
        expected = whole.get_layer("vit_encoder").layer_norm(x)
        np.testing.assert_allclose(smaller(images), expected, atol=1e-6)
        converter = keras_hub.layers.ImageConverter.from_preset(str(folder / "pruned"))
        np.testing.assert_allclose(converter.scale, 1 / 127.5)
        assert models.open_vision_encoder(folder / "fine_tuned").num_layers == 2

    def test_pixels(self, vit):
        """Grey images in [0, 1] are seen as KerasHub shows pictures from 0 to 255."""
        encoder = models.open_vision_encoder(vit)
        model = models.ViTClassifier(
            encoder.backbone, 3, channels=1, scale=encoder.scale, offset=encoder.offset
        )
        pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1)).astype("float32")
        seen = encoder.backbone(np.repeat(pixels, 3, axis=-1) / 127.5 - 1)
        expected = np.asarray(seen)[:, 0] @ np.asarray(model.get_layer("logits").kernel)
        np.testing.assert_allclose(model(pixels / 255), expected, atol=1e-5)

    def test_saved(self, vit, tmp_path):
        model = models.ViTClassifier(models.open_vision_encoder(vit).backbone, 3, dropout=0.2)
        model.save(tmp_path / "model.keras")
        again = keras.models.load_model(tmp_path / "model.keras")
        images = np.random.default_rng(0).random((2, 8, 8, 3), "float32")
        np.testing.assert_array_equal(again(images), model(images))
        assert again.image_shape == (8, 8, 3)
        assert (again.dropout, again.num_classes) == (0.2, 3)
        with pytest.raises(UsageError, match=r"images of 1 or 3 channels\. Received: 2"):
            models.ViTClassifier(model.backbone, 3, channels=2)

    def test_one_pass(self, vit, tmp_path):
        asked = subjects.for_model(
            config(vit, tmp_path, prune_method="block_influence", train_examples=60)
        )
        with training.surroundings(asked):
            runner = RemovalRunner(asked, subjects.open_subject(asked))
            found = runner.run("0", Removal((), 41, role="one_pass").to_values())
        backbone = models.open_vision_encoder(vit).backbone
        images = runner.task.preprocessing.evaluate(runner.data.train.images)[0]
        shown = np.repeat(np.asarray(images), 3, axis=-1) * 2 - 1
        x = np.asarray(keras.Model(backbone.input, backbone.get_layer("vit_encoder").input)(shown))
        for index, layer in enumerate(models.encoder_layers(backbone)):
            y = np.asarray(layer(x))
            cosines = (x * y).sum(-1) / np.linalg.norm(x, axis=-1) / np.linalg.norm(y, axis=-1)
            assert found[f"block_influence/{index}"] == pytest.approx(1 - cosines.mean(), abs=1e-5)
            x = y


class TestWrongInput:
    def refused(self, model, tmp_path, words, **changes):
        with pytest.raises(UsageError, match=words) as caught:
            prune(config(model, tmp_path / "new", **changes))
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "new").exists()

    def test_of_runs(self, run, tmp_path):
        refused = self.refused
        refused(
            run, tmp_path, "a text encoder.*for texts. Received: --dataset=sst2", dataset="sst2"
        )
        refused(run, tmp_path, "--dropout where there is a new head", dropout=0.3)
        refused(run, tmp_path, "--prune_n_layers from 1 to 2", prune_n_layers=3)
        refused(run, tmp_path, "--validation_fraction to be 0.25, as in", validation_fraction=0.5)
        refused(run, tmp_path, "--train_examples to be 120, as in", train_examples=50)
        refused(run, tmp_path, "--max_tokens with a task on texts only", max_tokens=16)
        refused(run, tmp_path, "to be one of sst2.*or images: mnist5k", dataset="imdb")

    def test_other_networks(self, tmp_path):
        """Told by the run's description, before any network is loaded."""
        for number, other in enumerate(
            (
                training.CapsuleNetworkConfig(log_dir="x"),
                training.BlockNetworkConfig(log_dir="x", model="vgg"),
                training.BlockNetworkConfig(log_dir="x", model="fnn", num_layers=3),
                training.ImageClassifierConfig(log_dir="x"),
            )
        ):
            folder = training.RunDirectory(tmp_path / f"run-{number}")
            folder.create(other, {})
            name = other.to_dict()["model"]
            words = f"the run of a residual network.*Received: .*run-{number}, the run of {name}"
            self.refused(folder.path, tmp_path, words)

    def test_nothing_held_out(self, of_run, tmp_path):
        """The final training has seen all: by what it has learnt from, layers can't be chosen."""
        for name in ("best", "fine_tuned"):
            self.refused(of_run[0] / name, tmp_path, "a run that held out a part of mnist5k")

    def test_too_few_blocks(self, tmp_path):
        run = trained(tmp_path / "small", blocks=(1, 1))
        self.refused(run, tmp_path, "two blocks or more that may go")

    def test_encoder_of_texts(self, tmp_path):
        bert = encoders.tiny_bert(tmp_path / "bert", num_layers=2)
        self.refused(bert, tmp_path, "Expected a ViTBackbone, or the run.*a BertBackbone")

    def test_vit_for_texts(self, vit, tmp_path):
        self.refused(vit, tmp_path, "Expected one of BertBackbone.*a ViTBackbone", dataset="sst2")

    def test_other_images(self, run, tmp_path):
        generator = np.random.default_rng(0)
        for name in ("one", "two"):
            (tmp_path / "own" / name).mkdir(parents=True)
            for index in range(5):
                image = generator.integers(0, 256, (9, 9, 3), np.uint8)
                path = tmp_path / "own" / name / f"{index}.png"
                path.write_bytes(tf.io.encode_png(image).numpy())
        words = "images of 28×28×1 .*Received: .* with 28×28×3"
        self.refused(run, tmp_path, words, dataset=f"images:{tmp_path / 'own'}")
