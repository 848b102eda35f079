"""The parts of a trial: what it starts with, what it learns from, what TensorBoard is told."""

import dataclasses

import numpy as np
import pytest

from nas.architecture import Architecture, grow, prune, widen
from nas.configuration import SearchConfig
from nas.folders import TrialFolder
from nas.records import Comparison, Outcome, Proposal
from nas.report import write_events
from nas.trial import TrialRunner
from tests.training.tensorboard_test import scalars
from tfcaps.training import loop
from tfcaps.training.batch_statistics import recalibrate, training_inputs

PARENT = Architecture("resnet", (2, 1), (3, 4), "cifar")


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    """The network of trial "0" has learnt for an epoch."""
    config = SearchConfig(
        log_dir=str(tmp_path_factory.mktemp("search")),
        blocks=(2, 1),
        widths=(3, 4),
        stem="cifar",
        image_size=8,
        train_examples=150,
        validation_fraction=0.4,
        batch_size=30,
        precision="float32",
        class_weights="balanced",
        conflicting_samples_size=30,
    )
    with loop.surroundings(config):
        made = TrialRunner(config, config.task().load())
        session = made.session(Proposal(0, "start", PARENT))
        session.train_epochs(range(1), [], validate=False)
        TrialFolder(made.folder, "0").write_network(session.model)
        yield made


def session(runner, architecture):
    is_smaller = sum(architecture.counts) < sum(PARENT.counts)
    role = "prune" if is_smaller else "train on" if architecture == PARENT else "grow"
    return runner.session(Proposal(1, role, architecture, parent="0"))


def statistics(model):
    return {
        weight.path: weight.numpy()
        for weight in model.non_trainable_variables
        if "moving_" in weight.path
    }


def recalibrated(found):
    """The statistics that a network ought to have."""
    recalibrate(found)
    return statistics(found.model)


def test_growth_changes_no_logit_and_brings_statistics(runner):
    before = session(runner, PARENT)
    after = session(runner, grow(PARENT, 1, 3))
    images = training_inputs(before)[0]
    one, two = (each.model(images, training=False).numpy() for each in (before, after))
    assert np.abs(one - two).max() == 0.0
    old, new = statistics(before.model), statistics(after.model)
    assert {path for path in new if path not in old} == {
        f"stage1_block3/{bn}/{name}"
        for bn in ("bn1", "bn2")
        for name in ("moving_mean", "moving_variance")
    }
    expected = recalibrated(after)
    for path, value in new.items():
        np.testing.assert_array_equal(value, expected[path] if path not in old else old[path])


def test_widening_changes_no_logit_and_brings_statistics(runner):
    before = session(runner, PARENT)
    after = session(runner, widen(PARENT, 2))
    images = training_inputs(before)[0]
    one, two = (each.model(images, training=False).numpy() for each in (before, after))
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-6)
    old, new = statistics(before.model), statistics(after.model)
    expected = recalibrated(after)["stage2_block1/bn1/moving_mean"]
    found = new.pop("stage2_block1/bn1/moving_mean")
    np.testing.assert_array_equal(found[:4], old["stage2_block1/bn1/moving_mean"])
    np.testing.assert_array_equal(found[4:], expected[4:])
    for path in new.keys() - {"stage2_block1/bn1/moving_variance"}:
        np.testing.assert_array_equal(new[path], old[path])


def test_after_a_pruning_all_statistics_are_of_training_images(runner):
    before = statistics(session(runner, PARENT).model)
    after = session(runner, prune(PARENT, ["stage1_block1"]))
    found = statistics(after.model)
    for path, value in recalibrated(after).items():
        np.testing.assert_array_equal(found[path], value)
    assert any((found[path] != before[path]).any() for path in found)


def test_class_weights_reach_trials_and_the_final_training(runner):
    assert runner.config.training("unused", PARENT, 3).class_weights == "balanced"
    made = session(runner, PARENT)
    labels = runner.data.train.labels
    counts = np.bincount(labels, minlength=10)
    batches = made.task.training_batches(made.model, made.data, epochs=range(1), devices=1)
    for _, label, weight in batches:
        expected = 90 / (10 * counts[label.numpy()])
        np.testing.assert_allclose(weight.numpy(), expected, rtol=1e-6)


def test_lineage_in_tensorboard(tmp_path):
    outcome = Outcome(
        checks=(1, 2),
        entropies={"stage1_block1/branch": (0.5, 0.25)},
        bundles={},
        losses=(2.0, 1.0),
        accuracy=0.5,
        seconds=1.0,
    )
    proposal = Proposal(3, "train on", PARENT, parent="2", first_epoch=4)
    change = Comparison("grow 1", 0.125, 0.5, 1, 1, 10, 1, 1, 1)
    for accuracy in (0.25, 0.5):  # a second attempt takes the place of the first one
        write_events(tmp_path, "3", proposal, outcome, {"val_accuracy": accuracy}, (change,))
    write_events(
        tmp_path,
        "4",
        dataclasses.replace(proposal, first_epoch=6),
        dataclasses.replace(outcome, checks=(1,), losses=(0.5,), entropies={}),
        {"val_accuracy": 0.75},
    )
    assert len(list(tmp_path.iterdir())) == 2
    assert scalars(tmp_path) == {
        ("loss", 5): 2.0,
        ("loss", 6): 1.0,
        ("loss", 7): 0.5,
        ("entropy/stage1_block1/branch", 5): 0.5,
        ("entropy/stage1_block1/branch", 6): 0.25,
        ("val_accuracy", 6): 0.5,
        ("val_accuracy", 7): 0.75,
        ("blocks/stage1", 6): 2.0,
        ("blocks/stage2", 6): 1.0,
        ("blocks/stage1", 7): 2.0,
        ("blocks/stage2", 7): 1.0,
        ("gain/grow 1", 6): 0.125,
    }
