"""Images that capsules answer to: the steps against NumPy, resuming, wrong input."""

import csv
import importlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests import runs
from tfcaps import training
from tfcaps.errors import UsageError
from tfcaps.explanation import ActivationOptions, activation_images
from tfcaps.models import ConvCapsNet

# The package has the function of this name.
MODULE = importlib.import_module("tfcaps.explanation.activations")
SMALL = {"starts": 3, "best": 2, "steps": 4, "step_size": 0.05, "batch_size": 7}


@pytest.fixture(scope="module")
def searched(full_run, tmp_path_factory):
    """A copy of a run, with the images of all of its layers."""
    run = shutil.copytree(full_run, tmp_path_factory.mktemp("searched") / "run")
    return run, activation_images(run, **SMALL)


def objective_of(run, layer, capsule):
    """(1 − ‖v‖)² + 1e-5 Σ x of one image, the length ‖v‖, and the objective's gradient."""

    @tf.function
    def differentiate(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            standardized = tf.image.per_image_standardization(x)
            v = run.model.inspector(standardized)["capsules"][layer][0, capsule]
            length = tf.sqrt(tf.reduce_sum(v * v))
            value = (1.0 - length) ** 2 + 1e-5 * tf.reduce_sum(x)
        return value, length, tape.gradient(value, x)[0]

    return lambda x: [each.numpy() for each in differentiate(tf.constant(x[np.newaxis]))]


def test_against_steps_one_by_one(searched):
    folder, found = searched
    run = training.load_run(folder)
    objective = objective_of(run, "capsules_2", 7)
    starts = np.random.default_rng([0, 7]).uniform(0.1, 0.9, (3, 24, 24, 1)).astype("float32")
    results = []
    for x in starts:
        for _ in range(4):
            gradient = objective(x)[2]
            x = np.clip(x - np.float32(0.05) * np.sign(gradient), 0, 1)
        results.append((*objective(x)[:2], x))
    best = sorted(results, key=lambda result: result[0])[:2]
    images = found["capsules_2"]
    np.testing.assert_allclose(images.objectives[7], [one[0] for one in best], rtol=1e-3)
    np.testing.assert_allclose(images.lengths[7], [one[1] for one in best], rtol=1e-3)
    # Where a gradient is nearly 0, rounding decides on its sign.
    mean = np.mean([one[2] for one in best], axis=0)
    assert np.mean(np.abs(images.images[7] - mean) > 1e-4) < 0.02
    assert images.mean_lengths[7] == pytest.approx(objective(images.images[7])[1], rel=1e-3)


def test_files(searched):
    run, found = searched
    assert list(found) == ["capsules_1", "capsules_2"]
    names = sorted(path.name for path in (run / "activation_images").iterdir())
    assert names == sorted(
        f"{layer}.{ending}" for layer in found for ending in ("csv", "json", "npz", "png")
    )
    with (run / "activation_images" / "capsules_2.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows[:3]] == ["1", "2", "mean"]
    assert len(rows) == 10 * 3
    assert float(rows[3]["length"]) == pytest.approx(found["capsules_2"].lengths[1, 0], abs=1e-6)


def test_a_layer_that_is_there_is_not_searched_again(searched, capsys, monkeypatch):
    run, found = searched
    monkeypatch.setattr(MODULE._Search, "run_all", None)
    again = activation_images(run, **SMALL)
    assert "capsules_1 is there already." in capsys.readouterr().out
    np.testing.assert_array_equal(again["capsules_1"].images, found["capsules_1"].images)
    with pytest.raises(TypeError):  # other settings: there is something to do
        activation_images(run, starts=3, best=1, steps=4)


def test_one_capsule_is_what_it_is_among_all(searched):
    run, found = searched
    alone = activation_images(run, layer="capsules_2", capsule=7, **SMALL)["capsules_2"]
    np.testing.assert_allclose(alone.lengths[0], found["capsules_2"].lengths[7], rtol=1e-3)
    assert (run / "activation_images" / "capsules_2-capsule-7.png").exists()


def test_maps_are_searched_at_their_centre(searched, monkeypatch):
    """(20 − 7)//2 + 1 = 7 places a side: the centre is place 3."""
    run, _ = searched
    loaded = training.load_run(run)
    model = ConvCapsNet((20, 20, 1), layers=(2, 10), dimensions=(4, 4), use_reconstruction=False)
    changed = training.Run(**{**vars(loaded), "model": model})
    monkeypatch.setattr(MODULE.capsule_run, "load_capsule_run", lambda _: changed)
    found = activation_images(
        run, layer="capsules_1", capsule=1, starts=1, best=1, steps=1, seed=5
    )["capsules_1"]
    inputs = tf.image.per_image_standardization(found.images)
    maps = np.asarray(model.inspector(inputs)["capsules"]["capsules_1"])
    assert maps.shape[1:3] == (7, 7)
    np.testing.assert_allclose(found.lengths[0, 0], np.linalg.norm(maps[0, 3, 3, 1]), rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"layer": "conv"}, "one of primary_capsules, capsules_1, capsules_2. Received: conv"),
        ({"layer": "capsules_2", "capsule": 10}, "between 0 and 9, as capsules_2 has 10 capsules"),
        ({"layer": "capsules_2", "capsule": -1}, "Received: -1"),
        ({"capsule": 1}, "Expected --layer beside --capsule, one of primary_capsules"),
    ],
)
def test_capsules_that_do_not_exist(small_run, arguments, sentence):
    before = runs.snapshot(small_run)
    with pytest.raises(UsageError) as caught:
        activation_images(small_run, **arguments)
    assert sentence in str(caught.value)
    assert runs.snapshot(small_run) == before


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"starts": 0}, "--starts >= 1. Received: 0"),
        ({"best": 61}, "--best <= --starts=60. Received: 61"),
        ({"steps": 0}, "--steps >= 1. Received: 0"),
        ({"step_size": 0.0}, "--step_size > 0. Received: 0.0"),
        ({"batch_size": 0}, "--batch_size >= 1. Received: 0"),
        ({"seed": -1}, "--seed >= 0. Received: -1"),
    ],
)
def test_wrong_settings(changes, sentence):
    with pytest.raises(UsageError) as caught:
        ActivationOptions(log_dir="x", **changes)
    assert sentence in str(caught.value)
