"""Grown and pruned networks start with what their parent learnt."""

import keras
import numpy as np
import pytest

from nas.architecture import Architecture
from nas.mutations import grow, prune
from nas.weight_transfer import inherit
from tfcaps.optimizers import Lookahead, RectifiedAdam

START = Architecture("resnet", (2, 3), (4, 8), "cifar")
SHAPE = (8, 8, 3)


def build(architecture):
    model = architecture.build(SHAPE, 5)
    model.compile(
        Lookahead(RectifiedAdam(0.01), sync_period=3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    return model


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(16, *SHAPE)).astype("float32")


@pytest.fixture(scope="module")
def parent(images):
    """A network after a few steps, in the middle of the slow weights' period."""
    keras.utils.set_random_seed(2)
    model = build(START)
    for _ in range(4):
        model.train_on_batch(images, np.arange(16) % 5)
    return model


@pytest.mark.parametrize("stage", [1, 2])
def test_a_grown_child_computes_what_its_parent_does(parent, images, stage):
    child = build(grow(START, stage, 9))
    assert inherit(child, parent) == [f"stage{stage}_block9"]
    expected = np.asarray(parent(images, training=False))
    found = np.asarray(child(images, training=False))
    assert np.abs(expected).max() > 0.01
    assert np.abs(found - expected).max() == 0.0


def test_a_new_block_can_learn(parent, images):
    child = build(grow(START, 2, 9))
    inherit(child, parent)
    for _ in range(2):
        child.train_on_batch(images, np.arange(16) % 5)
    gamma = child.get_layer("stage2_block9").bn2.gamma
    assert np.abs(np.asarray(gamma)).max() > 0


def test_a_gaussian_block_is_no_identity(parent, images):
    children = [build(grow(START, 2, 9)) for _ in range(2)]
    for child in children:
        inherit(child, parent, init="gaussian", seed=4)
    gammas = [np.asarray(child.get_layer("stage2_block9").bn2.gamma) for child in children]
    np.testing.assert_array_equal(*gammas)
    assert gammas[0].std() > 0.2
    difference = np.asarray(children[0](images, training=False) - parent(images, training=False))
    assert np.abs(difference).max() > 0


def test_a_pruned_child_computes_what_the_lesioned_parent_does(parent, images):
    gone = ["stage1_block1", "stage2_block3"]
    child = build(prune(START, gone))
    assert inherit(child, parent) == []
    keep = np.array([[float(name not in gone) for name in parent.residual_blocks]] * 16, "float32")
    expected = np.asarray(parent.lesionable({"image": images, "keep": keep}, training=False))
    assert np.abs(np.asarray(child(images, training=False)) - expected).max() == 0.0


def test_the_optimizer_goes_on(parent):
    child = build(grow(prune(START, ["stage1_block1"]), 2, 9))
    inherit(child, parent)
    assert int(child.optimizer.iterations) == 4
    known = {variable.path: np.asarray(variable) for variable in parent.optimizer.variables}
    inherited = [v for v in child.optimizer.variables if v.path in known]
    new = [v for v in child.optimizer.variables if v.path not in known]
    assert len(inherited) > 40
    for variable in inherited:
        np.testing.assert_array_equal(np.asarray(variable), known[variable.path])
    assert new and all("stage2_block9" in variable.path for variable in new)
    for variable in new:
        if "slow" in variable.path:
            continue  # the new block's own weights
        assert not np.asarray(variable).any()


def test_an_unchanged_child_learns_as_its_parent_would(parent, images):
    labels = np.arange(16) % 5
    child, other = build(START), build(START)
    for model in (child, other):
        inherit(model, parent)
    for model in (child, other):
        for _ in range(3):
            model.train_on_batch(images, labels)
    for one, two in zip(child.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)
