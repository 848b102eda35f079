"""Prunings of a tiny encoder from the command to the report, cut off and gone on with."""

import csv
import dataclasses
import json
import shutil

import keras_hub
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text  # noqa: F401  (the operations of a served tokenizer)

from nas import layer_pruning
from nas.layer_pruning import PruningConfig, Removal, report
from nas.layer_pruning.subjects import open_subject
from nas.layer_pruning.trial import RemovalRunner
from tests import encoders
from tests.nas.layer_pruning import cut
from tfcaps import models, training
from tfcaps.errors import UsageError

# keras-tuner uses threading.currentThread.
pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:keras_tuner")


_GUARDED = "nas.layer_pruning.methods._Trained"


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pruning")
    return encoders.tiny_bert(folder / "bert", num_layers=2), encoders.write_sst2(folder / "sst2")


def config(places, log_dir, **changes):
    known = {"epochs": 1, "batch_size": 8, "learning_rate": 0.01, "max_tokens": 16}
    known |= {"dataset": "sst2", "data_dir": str(places[1]), "validation_fraction": 0.3}
    known |= {"prune_n_layers": 1, "seeds": 1, "baselines": ("top",), "schedule": "constant"}
    known |= {"log_dir": str(log_dir), "model": str(places[0])}
    return PruningConfig(**{**known, **changes})


@pytest.fixture
def learnt(monkeypatch):
    """Has the whole model pass for one that has learnt something."""
    monkeypatch.setattr(f"{_GUARDED}._no_reason_to_rank", lambda *_: None)


@pytest.fixture
def cheap(monkeypatch):
    """Leaves out the processes in which memory is measured."""
    monkeypatch.setattr("tfcaps.measure.peak_megabytes", lambda *_, **__: 7.0)


def history(folder):
    with (folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def pruned(places, tmp_path_factory):
    folder = tmp_path_factory.mktemp("done") / "pruning"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{_GUARDED}._no_reason_to_rank", lambda *_: None)
        patch.setattr("tfcaps.measure.peak_megabytes", lambda *_, **__: 7.0)
        found = layer_pruning.prune_transformer(config(places, folder))
    return folder, found


class TestPruning:
    def test_files(self, pruned):
        folder, found = pruned
        (layer,) = found["removed"]
        assert (folder / "layer_files" / "bert_sst2_greedy.txt").read_text() == f"{layer}\n"
        (log,) = layer_pruning.read_order_log(folder / "layer_files" / "bert_sst2_greedy_log.txt")
        assert max(log.values()) == log[layer]
        rows = history(folder)
        assert [row["role"] for row in rows[:3]] == ["whole", *["candidate"] * 2]
        assert {row["role"] for row in rows[3:]} == {"final"}
        for name in ("score_by_size", "score_by_milliseconds", "choices"):
            assert (folder / "figures" / f"{name}.png").stat().st_size > 5000
        text = (folder / "report.md").read_text()
        assert "| 0 | none | whole model |" in text
        assert "Candidates were scored on the " in text
        assert "not distinguishable" in text  # one seed can't tell

    def test_smaller_encoder_opens_with_the_host_alone(self, places, pruned):
        folder, found = pruned
        backbone = keras_hub.models.Backbone.from_preset(str(folder / "pruned"))
        tokenizer = keras_hub.models.Tokenizer.from_preset(str(folder / "pruned"))
        whole = models.open_text_encoder(places[0])
        expected = whole.without(found["removed"]).backbone
        tokens = whole.tokenize((np.array(["a good film"], object),), 8)
        np.testing.assert_array_equal(
            backbone(tokens)["sequence_output"], expected(tokens)["sequence_output"]
        )
        assert tokenizer.vocabulary_size() == whole.tokenizer.vocabulary_size()
        described = json.loads((folder / "pruned" / "layers.json").read_text())
        assert described["removed_layers"] == list(found["removed"])
        assert sorted(described["kept_layers"] + described["removed_layers"]) == [0, 1]
        assert described["task"] == "sst2"

    def test_final_run_is_the_final_trial(self, pruned):
        """The same training twice: as a trial, and as a run of its own."""
        folder, found = pruned
        removed = "-".join(map(str, found["removed"]))
        (row,) = (
            row for row in history(folder) if row["role"] == "final" and row["removed"] == removed
        )
        assert float(row["score"]) == pytest.approx(found["results"]["test_score"], abs=1e-6)

    def test_served(self, pruned):
        answer = tf.saved_model.load(str(pruned[0] / "serving" / "1")).signatures
        found = answer["serving_default"](text=tf.constant(["a good film", "bad"]))
        assert found["scores"].shape == (2, 2)

    def test_gone_on_with_after_a_kill(self, places, pruned, tmp_path, learnt, cheap):
        """Killed in its second trial: the trials before it are kept, and all comes out the same."""
        folder = tmp_path / "cut"
        shutil.copytree(pruned[0], folder)
        cut.in_its_second_trial(folder)
        found = layer_pruning.prune_transformer(config(places, folder, resume=True))
        assert found["removed"] == pruned[1]["removed"]
        assert found["results"]["test_score"] == pruned[1]["results"]["test_score"]
        assert history(folder) == history(pruned[0])

    def test_layers_of_a_file(self, places, pruned, tmp_path, cheap):
        file = tmp_path / "layers.txt"
        file.write_text("1\n")
        asked = config(
            places, tmp_path / "given", layers_file=str(file), prune_n_layers=None, baselines=()
        )
        found = layer_pruning.prune_transformer(asked)
        assert found["removed"] == (1,)
        assert {row["role"] for row in history(tmp_path / "given")} == {"final"}
        again = models.open_text_encoder(tmp_path / "given" / "pruned")
        assert again.num_layers == 1

    def test_lost_marker(self, places, pruned, tmp_path):
        folder = tmp_path / "lost"
        shutil.copytree(pruned[0], folder)
        (folder / "trials" / "pruning.json").unlink()
        for resume in (False, True):
            with pytest.raises(
                UsageError, match=r"Expected trials/pruning\.json beside trials/state"
            ):
                layer_pruning.prune_transformer(config(places, folder, resume=resume))

    def test_refuses_what_differs(self, places, pruned):
        asked = config(places, pruned[0], resume=True)
        with pytest.raises(UsageError, match="Expected --seeds=1, as the pruning"):
            layer_pruning.prune_transformer(dataclasses.replace(asked, seeds=2))
        with pytest.raises(UsageError, match="Expected --log_dir without a pruning"):
            layer_pruning.prune_transformer(dataclasses.replace(asked, resume=False))
        run = training.TextClassifierConfig(log_dir=str(pruned[0]), model=str(places[0]))
        with pytest.raises(UsageError, match="which holds a pruning"):
            training.train(run)


class TestTrial:
    def test_shared_networks_are_as_new_ones(self, places, tmp_path):
        """A trial has the same outputs as the first of a process and after others."""
        asked = config(places, tmp_path, schedule="linear")
        proposal = Removal((1,), 41)
        outputs = []
        with training.surroundings(asked):
            for before in ((), (Removal((0,), 42), Removal((1,), 43))):
                runner = RemovalRunner(asked, open_subject(asked))
                for name, trial in enumerate((*before, proposal)):
                    (tmp_path / "trials" / f"trial_{name}").mkdir(parents=True, exist_ok=True)
                    runner.run(str(name), trial.to_values())
                outputs.append(
                    np.load(tmp_path / "trials" / f"trial_{len(before)}" / "outputs.npy")
                )
        np.testing.assert_array_equal(*outputs)
        assert np.abs(outputs[0] - np.load(tmp_path / "trials" / "trial_1" / "outputs.npy")).max()

    def test_one_pass(self, places, tmp_path):
        """Block influence against its definition, layer by layer."""
        asked = config(places, tmp_path, prune_method="block_influence")
        with training.surroundings(asked):
            encoder = models.open_text_encoder(places[0])
            runner = RemovalRunner(asked, open_subject(asked))
            found = runner.run("0", Removal((), 41, role="one_pass").to_values())
        tokens = encoder.tokenize(runner.data.train.texts, 16)
        mask = tokens["padding_mask"]
        layers = encoder.backbone.transformer_layers
        x = np.asarray(_embedded(encoder.backbone, tokens))
        for index, layer in enumerate(layers):
            y = np.asarray(layer(x, padding_mask=mask))
            cosines = (x * y).sum(-1) / np.linalg.norm(x, axis=-1) / np.linalg.norm(y, axis=-1)
            expected = 1 - cosines[mask > 0].mean()
            assert found[f"block_influence/{index}"] == pytest.approx(expected, abs=1e-5)
            assert found[f"bundle_entropy/{index}"] <= 0
            x = y


def _outputs(folder, trial):
    return np.load(folder / "trials" / f"trial_{trial}" / "outputs.npy")


def _embedded(backbone, tokens):
    import keras

    first, _ = backbone.transformer_layers[0].input
    return keras.Model(backbone.input, first)(tokens)


class TestWrongInput:
    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"prune_n_layers": 2}, "--prune_n_layers from 1 to 1.*Received: 2"),
            ({"sizes": (0, 2)}, "--sizes of at most --prune_n_layers=1"),
            ({"max_tokens": 99}, "--max_tokens of at most 24"),
            ({"layers_file": "none.txt"}, "which doesn't exist"),
            ({"model": "no_preset"}, "which is neither"),
            ({"data_dir": "nowhere"}, "Received: nowhere"),
            ({"distributed": True}, "Expected the environment variables KERASTUNER_TUNER_ID"),
        ],
    )
    def test_nothing_is_written(self, places, tmp_path, changes, words):
        with pytest.raises(UsageError, match=words) as caught:
            layer_pruning.prune_transformer(config(places, tmp_path / "new", **changes))
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "new").exists()

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"prune_n_layers": 0}, "--prune_n_layers >= 1"),
            ({"budget": 1.0}, r"--budget in \(0, 1\)"),
            ({"prune_method": "best"}, "--prune_method to be one of"),
            (
                {"prune_method": "top", "layers_file": "some.txt"},
                "--layers_file only without --prune_method",
            ),
            ({"ties": "highest"}, "--ties to be one of published, lowest"),
            ({"seeds": 0}, "--seeds >= 1"),
            ({"validation_fraction": 0.0}, r"--validation_fraction in \(0, 1\)"),
        ],
    )
    def test_options(self, places, changes, words):
        with pytest.raises(UsageError, match=words):
            config(places, "x", **changes)

    def test_sizes(self, places):
        """By default the whole encoder and the smallest; a file may have fewer than six layers."""
        asked = config(places, "x", prune_n_layers=None)
        assert [asked.count(layers) for layers in (2, 6, 7, 12)] == [1, 5, 6, 6]
        assert asked.final_sizes(3) == (0, 3)
        assert config(places, "x", sizes=(2, 1)).final_sizes(2) == (0, 1, 2)

    def test_published_names(self, places):
        assert config(places, "x", prune_method="perfect").prune_method == "exhaustive"

    def test_damaged_state(self, places, tmp_path, learnt):
        asked = config(places, tmp_path, resume=True)
        folder = layer_pruning.configuration.PruningFolder(tmp_path)
        folder.create(asked, {})
        (folder.trials / "state.json").write_text("{")
        with pytest.raises(UsageError, match=r"state\.json, which is damaged"):
            layer_pruning.prune_transformer(asked)


def test_time_left():
    assert report.duration(89) == "89 s"
    assert report.duration(600) == "10 min"
