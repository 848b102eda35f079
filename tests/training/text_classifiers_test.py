"""Fine-tuning of a tiny text encoder: batches, a run that is resumed, what is served."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text  # noqa: F401  (the operations of a served tokenizer)

from tests import encoders
from tfcaps import training
from tfcaps.errors import UsageError
from tfcaps.training import RunDirectory, TextClassifierConfig, TextClassifierTask, checkpoints
from tfcaps.training.text_classifiers import _epoch_order

LEARNING = {"learning_rate": 0.03, "batch_size": 8, "pooling": "mean", "save_ckpts": True}


def written(folder):
    return encoders.tiny_bert(folder / "bert", num_layers=2), encoders.write_sst2(folder / "sst2")


# The classes below may be tested in several processes.
@pytest.fixture(scope="session")
def places(once):
    return once("encoder_and_texts", written)[1]


def config(places, log_dir, **changes):
    known = {"epochs": 2, "batch_size": 16, "learning_rate": 0.01, "max_tokens": 16}
    known |= {"dataset": "sst2", "data_dir": str(places[1]), "validation_fraction": 0.2}
    return TextClassifierConfig(log_dir=str(log_dir), model=str(places[0]), **{**known, **changes})


def trained(asked):
    return asked, training.train(asked)


@pytest.fixture(scope="session")
def run(places, once):
    return once(
        "run_on_texts", lambda folder: trained(config(places, folder, epochs=3, **LEARNING))
    )[1]


class TestOrder:
    lengths = np.random.default_rng(0).integers(1, 60, 1000)

    def order(self, **changes):
        known = {"used": 1000, "seed": 0, "epoch": 0, "bucketing": True, **changes}
        return _epoch_order(self.lengths, 8, **known)

    @pytest.mark.parametrize("bucketing", [True, False])
    def test_each_example_once(self, bucketing):
        batches = self.order(bucketing=bucketing)
        assert sorted(np.concatenate(batches)) == list(range(1000))
        assert {len(batch) for batch in batches} == {8}
        assert len(np.concatenate(self.order(used=998, bucketing=bucketing))) == 998

    def test_depends_on_seed_and_epoch_alone(self):
        def flat(**changes):
            return np.concatenate(self.order(**changes)).tolist()

        assert flat() == flat()
        assert flat() != flat(seed=1)
        assert flat() != flat(epoch=1)

    def test_buckets_save_padding(self):
        def padded(batches):
            return sum(len(batch) * self.lengths[batch].max() for batch in batches)

        assert padded(self.order()) < 0.65 * padded(self.order(bucketing=False))
        # Short and long batches are not in order.
        longest = [self.lengths[batch].max() for batch in self.order()]
        assert longest[:20] != sorted(longest[:20])


class TestBatches:
    def test_no_longer_than_needed(self, places):
        task = TextClassifierTask(config(places, "x"))
        data = task.load()
        model = task.build(data)
        batches = list(task.training_batches(model, data, epochs=range(2), devices=1))
        assert len(batches) == 2 * 4  # 64 of 80 examples
        seen = []
        for inputs, labels in batches:
            mask = inputs["padding_mask"].numpy()
            assert mask.shape[1] == 10 or mask.shape[1] % 16 == 0
            for row, label in zip(inputs["token_ids"].numpy(), labels.numpy(), strict=True):
                seen.append((tuple(row[row > 0]), label))
                assert (5 in row) == label  # "good" is in it
        assert len(seen) == 128

    def test_in_order(self, places):
        task = TextClassifierTask(config(places, "x"))
        data = task.load()
        labels = [batch["label"].numpy() for batch in task.batches(data, data.test)]
        assert np.concatenate(labels).tolist() == data.test.labels.tolist()
        assert task.arrays(data, data.test)["token_ids"].shape[0] == len(data.test)


class TestRun:
    def test_results(self, run):
        asked, results = run
        assert results["test_score"] == results["test_accuracy"] > 0.7
        assert results["validation_score"] == results["validation_accuracy"]
        assert (results["train_examples"], results["test_examples"]) == (64, 30)
        directory = RunDirectory(asked.log_dir)
        assert (directory.figures / "confusion_matrix.png").exists()
        assert directory.read_description()["metric"] == "accuracy"

    def test_rate_falls_to_zero(self, run):
        rows = RunDirectory(run[0].log_dir).read_metrics(3)
        rates = [row["learning_rate"] for row in rows]
        # The last steps of three epochs of 8 steps: 1 − s/24 for s = 7, 15, 23.
        np.testing.assert_allclose(rates, [0.03 * (1 - s / 24) for s in (7, 15, 23)], rtol=1e-5)

    def test_resumed_run_has_the_same_weights(self, places, run, tmp_path):
        from tests import runs

        target = runs.stopped_after(1, pathlib_of(run), tmp_path / "cut")
        again = training.train(config(places, target, epochs=3, resume=True, **LEARNING))
        assert again["test_score"] == run[1]["test_score"]
        weights = [
            checkpoints.restore(folder / "checkpoints")[0].get_weights()
            for folder in (pathlib_of(run), target)
        ]
        for one, two in zip(*weights, strict=True):
            np.testing.assert_array_equal(one, two)

    def test_served_strings(self, run):
        asked, _ = run
        folder = pathlib_of(run) / "serving" / "1"
        answer = tf.saved_model.load(str(folder)).signatures["serving_default"]
        texts = ["this is a good film", "very bad"]
        found = answer(text=tf.constant(texts))
        model, _ = checkpoints.restore(pathlib_of(run) / "checkpoints")
        task = TextClassifierTask(asked)
        tokens = task.encoder.tokenize((np.array(texts, object),), asked.max_tokens)
        np.testing.assert_allclose(found["scores"], model.classifier(tokens), atol=1e-5)
        names = [b"negative", b"positive"]
        assert found["label"].numpy().tolist() == [names[i] for i in found["class_id"].numpy()]
        assert answer(text=tf.constant([], tf.string))["scores"].shape == (0, 2)

    def test_is_no_run_of_images(self, run):
        with pytest.raises(UsageError, match=r"network of images\. Received: .*text_classifier"):
            training.load_run(run[0].log_dir)


def pathlib_of(run):
    return RunDirectory(run[0].log_dir).path


def test_numbers(places, tmp_path):
    """Pairs with a number each: no accuracy, Spearman's correlation, one served number."""
    rows = [f"{text},a film,{label + 0.25}\n" for text, label in encoders.texts(60, 3)]
    (tmp_path / "my.csv").write_text("one,two,label\n" + "".join(rows))
    asked = config(
        places, tmp_path / "run", dataset=f"csv:{tmp_path / 'my.csv'}", data_dir=None, epochs=4
    )
    results = training.train(asked)
    assert results["test_score"] > 0.3
    assert "test_accuracy" not in results
    assert results["validation_chosen"]["epoch"] in (1, 2, 3, 4)
    answer = tf.saved_model.load(str(tmp_path / "run" / "serving" / "1")).signatures
    found = answer["serving_default"](
        text=tf.constant(["good film"]), text_pair=tf.constant(["a film"])
    )
    assert set(found) == {"score"}
    assert found["score"].shape == (1,)


class TestWrongInput:
    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"dataset": "mnist"}, "--dataset to be one of sst2, cola, .*Received: mnist"),
            ({"model": None}, "--model to be an encoder"),
            ({"text_columns": ("a", "b", "c")}, "--text_columns with one or two"),
            ({"max_tokens": 2}, "--max_tokens >= 3"),
            ({"pooling": "max"}, "--pooling to be one of auto, first, mean"),
        ],
    )
    def test_options(self, places, changes, words):
        known = {"model": str(places[0]), **changes}
        with pytest.raises(UsageError, match=words):
            TextClassifierConfig(log_dir="x", **known)

    def test_layers(self, places):
        task = TextClassifierTask(config(places, "x", removed_layers=(2,)))
        with pytest.raises(UsageError, match=r"from 0 to 1 to be removed. Received: 2"):
            task.build(task.load())

    def test_other_options_on_resume(self, places, run):
        asked = config(places, run[0].log_dir, epochs=3, resume=True, **LEARNING)
        import dataclasses

        with pytest.raises(UsageError, match="Expected --max_tokens=16, as the run"):
            training.train(dataclasses.replace(asked, max_tokens=12))


def test_description_is_read_back(run):
    stored = json.loads((pathlib_of(run) / "run.json").read_text())
    assert stored["config"]["kind"] == "text_classifier"
    assert RunDirectory(run[0].log_dir).read_description()["config"] == run[0]
    assert keras.config.dtype_policy().name == "float32"
