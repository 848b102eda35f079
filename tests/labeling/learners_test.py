"""Networks that learn in the rounds: from what was asked for, checked by what was drawn."""

import dataclasses
import os
import pathlib

import keras
import numpy as np
import pytest

from tests.labeling import pages, server_test
from tfcaps import datasets, training
from tfcaps.labeling import LabelingSession, Pool, learners, ranking, session
from tfcaps.labeling.configuration import LearnerOptions


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 255, (10, 20, 20, 1)).astype(np.uint8)


@pytest.fixture(autouse=True)
def short(quick, monkeypatch):
    """Leaves out what of a tiny training takes most of the time."""
    monkeypatch.setattr(training.ImageTask, "export", lambda *_, **__: None)


@pytest.mark.parametrize("name", ["convnet", "capsnet"])  # a resnet ends as a convnet does
def test_scores_and_last_features(tmp_path, images, name):
    """The last layer makes of the features what the scores say."""
    split = datasets.Split(images[:8], np.arange(8) % 3)
    data = datasets.ImageDataset("mine", ("a", "b", "c"), split, None, split)
    config = LearnerOptions(network=name, epochs=1, steps_per_epoch=1)
    learners.learn(config, data, tmp_path / "run")
    scores, features = learners.answers(tmp_path / "run", images)
    assert scores.shape == (10, 3)
    np.testing.assert_allclose(scores.sum(axis=1), 1.0, rtol=1e-6)
    model = training.load_run(tmp_path / "run").model
    if name == "capsnet":
        last = next(layer for layer in reversed(model.classifier.layers) if layer.weights)
        lengths = np.linalg.norm(last(features.reshape(10, *last.input.shape[1:])), axis=-1)
        expected = lengths / lengths.sum(axis=1, keepdims=True)
    else:
        kernel, bias = model.get_layer("logits").get_weights()
        expected = keras.ops.softmax(features @ kernel + bias)
    np.testing.assert_allclose(scores, expected, rtol=1e-4)


def test_rounds_of_a_network(tmp_path, monkeypatch, capsys):
    folder = pages.pictures(tmp_path / "pictures", 16)
    choices = {"network": "convnet", "epochs": 1, "steps_per_epoch": 2, "warm_start": True}
    config = server_test.options(folder, strategy="margin_clusters", **choices)
    pathlib.Path(config.log_dir, "thumbnails").mkdir(parents=True)
    # The numbers of a pool, one of whose images is gone.
    names = {number + 1: f"{number:05}.png" for number in range(16)}
    ranking.prepare(config.log_dir, str(folder), names, None, keeps_images=True)
    train, begun = training.train, []

    def told(run_config, data, initial_model=None):
        begun.append((data, initial_model))
        return train(run_config, data, initial_model=initial_model)

    monkeypatch.setattr(training, "train", told)
    labels = {number: (number + 1) % 2 for number in range(1, 9)}
    left = list(range(9, 17))
    found = ranking.rank(config, labels, [2, 3], left)
    assert capsys.readouterr().out == ""
    assert sorted(found.order) == left
    assert len(found.guesses) == 16
    ((data, initial),) = begun
    # Two steps an epoch, so each image comes about ten times.
    assert (len(data.train), initial) == (64, None)
    assert data.train.labels.tolist() == ([0, 1, 0, 1, 0, 1] * 11)[:64]
    assert data.class_names == ("dark", "light")
    assert data.train.images[:6, 0, 0, 0].tolist() == [
        ranking.read_stretched(ranking.thumbnail_file(config.log_dir, n), 32, 32)[0, 0, 0]
        for n in (1, 4, 5, 6, 7, 8)
    ]
    # It is checked by what it never saw, as its guesses say.
    right = [found.guesses[n - 1] == labels[n] for n in (2, 3)]
    assert (found.correct, found.checked) == (sum(right), 2)
    # The same labels are learned once; others from there.
    again = ranking.rank(config, labels, [2, 3], left)
    assert (again, len(begun)) == (found, 1)
    first = pathlib.Path(config.log_dir, "rounds", "convnet")
    ranking.rank(config, {**labels, 9: 0}, [2, 3], left[1:])
    (_, (data, initial)) = begun
    assert data.train.labels[:7].tolist() == [0, 1, 0, 1, 0, 1, 0]
    assert initial is not None
    assert len(list(first.iterdir())) == 2
    # Of one class nothing is learned yet; other files are learned from anew.
    assert ranking.rank(config, {2: 1, 3: 0}, [3], left).guesses == []
    (folder / "00000.png").write_bytes((folder / "00001.png").read_bytes())
    ranking.prepare(config.log_dir, str(folder), names, None, keeps_images=True)
    assert list(first.parent.iterdir()) == []


def test_only_what_a_round_begins_with_is_kept(tmp_path):
    assert learners.newest(tmp_path) is None
    for number, name in enumerate(("second", "first", "third")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").touch()
        os.utime(tmp_path / name / "results.json", ns=(0, number))
    (tmp_path / "stopped").mkdir()
    assert learners.newest(tmp_path) == tmp_path / "third"
    learners.forget_others(tmp_path, (None, tmp_path / "first", tmp_path / "stopped"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "stopped"]


@pytest.mark.parametrize("network, is_kept", [("svm", False), ("resnet", True)])
def test_images_are_kept_where_a_network_learns(tmp_path, monkeypatch, network, is_kept):
    folder = pages.pictures(tmp_path / "pictures", 4)
    config = server_test.options(folder, network=network)
    pathlib.Path(config.log_dir, "thumbnails").mkdir(parents=True)
    pool = Pool(":memory:", [f"{number:05}.png" for number in range(4)], config.classes)
    monkeypatch.setattr(session, "_beside", lambda function, *arguments: function(*arguments))
    for _ in range(2):  # the images may lack of what was prepared before
        LabelingSession(config, pool)._prepare(None)
        path = pathlib.Path(config.log_dir, "images.npy")
        assert path.exists() == is_kept
        path.unlink(missing_ok=True)


def test_a_network_that_learned_a_wrong_label_hides_it_from_nobody(tmp_path):
    """Labels are looked at again by pixels, unless features come from elsewhere."""
    config = server_test.options(tmp_path)
    pathlib.Path(config.log_dir).mkdir()
    true = np.arange(20) % 2
    given = {number: int(label) for number, label in enumerate(true)} | {6: 1}
    features = np.eye(2)[list(given.values())]  # of a network that knows all labels by heart
    pixels = np.eye(2)[true] + np.random.default_rng(0).normal(0, 0.05, (20, 2))
    path = pathlib.Path(config.log_dir, "features.npz")
    np.savez(path, numbers=np.arange(20), features=features, pixels=pixels)
    assert ranking.rank(config, given, [], []).suspicious == [6]
    np.savez(path, numbers=np.arange(20), features=pixels, pixels=features)
    config = dataclasses.replace(config, features="encoder.keras")
    assert ranking.rank(config, given, [], []).suspicious == [6]
