"""What rare classes count in a training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import runs
from tfcaps import datasets, losses
from tfcaps.errors import UsageError
from tfcaps.training import class_weights, loop
from tfcaps.training.configuration import RunConfig
from tfcaps.training.task import Task

LABELS = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2])
WEIGHTS = np.array([9 / 18, 9 / 6, 9 / 3])  # N / (K n)


@pytest.fixture
def data():
    """Nine images of three classes, of which there are six, two and one."""
    rng = np.random.default_rng(0)
    split = datasets.Split(rng.integers(0, 256, (9, 17, 17, 1), "uint8"), LABELS)
    return datasets.ImageDataset("uneven", ("a", "b", "c"), split, split, split)


def session(make, data, **changes) -> loop.Session:
    """A training of 9 images in a single step."""
    own = {"learning_rate": 0.001, "batch_size": 9, "augmentation": "none"}
    task = make("x", class_weights="balanced", **{**own, **changes}).task()
    return loop.start(task, data)


def first_loss(found) -> dict[str, float]:
    logs = {}
    keep = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, now: logs.update(now))
    found.train_epochs(range(1), [keep])
    return logs


def test_by_hand():
    assert class_weights.balanced(LABELS, "abc").tolist() == WEIGHTS.tolist()
    assert class_weights.balanced(LABELS, "abc")[LABELS].mean() == 1


def test_a_class_without_example():
    with pytest.raises(UsageError) as caught:
        class_weights.balanced(np.array([0, 0, 2]), ("ant", "bee", "cat"))
    assert str(caught.value) == (
        "Expected a training example of each class with --class_weights=balanced. "
        "Received: none of bee"
    )


def test_the_loss_of_an_image_classifier(data):
    found = session(runs.plain, data)
    (_, _, weights), *_ = found.task.training_batches(found.model, data, epochs=range(1), devices=1)
    np.testing.assert_array_equal(np.sort(weights), np.sort(WEIGHTS[LABELS]).astype("float32"))
    (batch,) = found.task.batches(data, data.train)
    scores = found.model(batch["image"], training=True)  # batch normalisation sees all of them
    each = -tf.nn.log_softmax(scores).numpy()[np.arange(9), LABELS]
    logs = first_loss(found)
    assert logs["loss"] == pytest.approx(np.mean(WEIGHTS[LABELS] * each), rel=1e-5)
    # Decisions are about examples as they are.
    assert logs["val_loss"] == pytest.approx(found.evaluate(data.validation)["loss"])


def test_the_losses_of_a_capsule_network(data):
    """The class' weight is that of the margin loss, and drawing counts the same for all."""
    changes = {"layers": (2, 3), "dimensions": (4, 4), "reconstruction_weight": 0.25}
    changes |= {"use_reconstruction": True, "routing": "mean", "enable_tf_function": False}
    found = session(runs.config, data, **changes)
    (batch,) = found.task.batches(data, data.train)
    outputs = found.model(batch["image"])
    margins = losses.MarginLoss(reduction=None)(np.eye(3)[LABELS], outputs["lengths"])
    drawn = np.sum((batch["original"] - outputs["reconstruction"]) ** 2, axis=(1, 2, 3)).mean()
    margin = np.mean(WEIGHTS[LABELS] * margins)
    logs = first_loss(found)
    assert logs["lengths_loss"] == pytest.approx(margin, rel=1e-5)
    assert logs["reconstruction_loss"] == pytest.approx(drawn, rel=1e-5)
    assert logs["loss"] == pytest.approx(margin + 0.25 * drawn, rel=1e-5)


def test_a_class_without_example_ends_a_training_before_anything_is_written(tmp_path):
    given = datasets.ImageDataset(
        "one",
        ("a", "b"),
        *[datasets.Split(np.zeros((4, 17, 17, 1), "uint8"), np.zeros(4, int))] * 3,
    )
    with pytest.raises(UsageError, match="Received: none of b"):
        loop.train(runs.plain(tmp_path / "run", class_weights="balanced"), given)
    assert not (tmp_path / "run").exists()


def test_a_kind_of_training_that_knows_no_weights_refuses_them(monkeypatch):
    monkeypatch.setattr(RunConfig, "kind", "song")
    config = RunConfig(log_dir="x", class_weights="balanced")
    task = type("SongTask", (Task,), dict.fromkeys(Task.__abstractmethods__))(config)
    with pytest.raises(UsageError, match="--class_weights to be none for a song"):
        task.check_data(None)
