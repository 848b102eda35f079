"""What a child computes and learns with its parent's weights."""

import keras
import numpy as np
import pytest

from nas.architecture import Architecture, grow, prune, widen
from tfcaps.models.weight_transfer import inherit
from tfcaps.training import BlockNetworkConfig

SHAPE, CLASSES = (8, 8, 1), 3
PARENT = Architecture("resnet", (2, 2), (4, 6), "cifar")
# Steps one operation at a time: tracing takes longer than the few steps of each network.
TASK = BlockNetworkConfig(log_dir="unused", learning_rate=0.05, enable_tf_function=False).task()


def build(architecture):
    model = architecture.build(SHAPE, CLASSES)
    TASK.compile(model, jit=False)
    return model


def batch(seed, size=16):
    numbers = np.random.default_rng(seed)
    images = numbers.normal(size=(size, *SHAPE)).astype("float32")
    return images, numbers.integers(CLASSES, size=size)


def logits(model):
    return model(batch(99)[0], training=False).numpy()


@pytest.fixture(scope="module")
def parent():
    """Trained for 8 steps: more than a period of Lookahead, rectified in the last ones."""
    keras.utils.set_random_seed(0)
    model = build(PARENT)
    for step in range(8):
        model.train_on_batch(*batch(step))
    return model


def test_same_architecture_is_a_copy(parent):
    child = build(PARENT)
    assert inherit(child, parent) == []
    np.testing.assert_array_equal(logits(child), logits(parent))
    pairs = zip(child.optimizer.variables, parent.optimizer.variables, strict=True)
    for one, two in pairs:
        assert one.path == two.path
        np.testing.assert_array_equal(one.numpy(), two.numpy())
    assert int(child.optimizer.iterations) == 8


def test_next_steps_are_the_parents(parent, tmp_path):
    """Also when the parent comes from its file; the steps pass the end of a Lookahead period."""
    parent.save(tmp_path / "parent.keras")
    first, second = (keras.models.load_model(tmp_path / "parent.keras") for _ in range(2))
    child = build(PARENT)
    inherit(child, first)
    for step in range(10, 15):
        for model in (child, second):
            model.train_on_batch(*batch(step))
    for one, two in zip(child.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("stage", [1, 2])
def test_grown_network_computes_the_same(parent, stage):
    child = build(grow(PARENT, stage, 7))
    assert inherit(child, parent) == [f"stage{stage}_block7"]
    assert np.abs(logits(parent)).max() > 0.1
    assert np.abs(logits(child) - logits(parent)).max() == 0
    child.train_on_batch(*batch(20))
    gamma = child.get_layer(f"stage{stage}_block7").bn2.gamma
    assert np.abs(gamma.numpy()).min() > 0  # and it learns


def test_slots_of_a_new_block(parent):
    child = build(grow(PARENT, 1, 7))
    inherit(child, parent)
    known = {variable.path: variable.numpy() for variable in parent.optimizer.variables}
    new = [v for v in child.optimizer.variables if v.path not in known]
    assert all("stage1_block7" in variable.path for variable in new)
    slow = [variable for variable in new if variable.path.endswith("slow")]
    weights = {w.path: w.numpy() for w in child.get_layer("stage1_block7").trainable_weights}
    # Per weight a mean, a square and steps, which are 0, and the slow weight, which is the weight.
    assert len(new) == 4 * len(slow) == 4 * len(weights)
    for variable in new:
        assert variable.path.endswith("slow") or not variable.numpy().any(), variable.path
    for one, two in zip(slow, weights.values(), strict=True):
        np.testing.assert_array_equal(one.numpy(), two)
    for variable in child.optimizer.variables:
        if variable.path in known:
            np.testing.assert_array_equal(variable.numpy(), known[variable.path])


@pytest.mark.parametrize("removed", [["stage1_block1"], ["stage1_block2", "stage2_block2"]])
def test_pruned_network_is_the_parent_without_the_branches(parent, removed):
    child = build(prune(PARENT, removed))
    assert inherit(child, parent) == []
    images, _ = batch(99)
    keep = np.ones((len(images), 4), "float32")
    for name in removed:
        keep[:, parent.residual_blocks.index(name)] = 0
    expected = parent.lesionable({"image": images, "keep": keep}, training=False).numpy()
    np.testing.assert_array_equal(logits(child), expected)
    assert np.abs(expected - logits(parent)).max() > 1e-3


def test_random_branches(parent):
    children = [build(grow(PARENT, 1, 7)) for _ in range(3)]
    for child, seed in zip(children, (1, 1, 2), strict=True):
        inherit(child, parent, init="gaussian", seed=seed)
    gammas = [child.get_layer("stage1_block7").bn2.gamma.numpy() for child in children]
    np.testing.assert_array_equal(gammas[0], gammas[1])
    assert np.abs(gammas[0] - gammas[2]).min() > 0
    assert np.abs(logits(children[0]) - logits(parent)).max() > 1e-3


NARROW = Architecture("resnet", (1, 2), (4, 8), "cifar")


@pytest.fixture(scope="module")
def narrow():
    keras.utils.set_random_seed(1)
    model = build(NARROW)
    for step in range(8):
        model.train_on_batch(*batch(step))
    return model


class TestWidening:
    """Of the second stage, from 8 to 12 filters between its convolutions."""

    @pytest.fixture
    def child(self, narrow):
        model = build(widen(NARROW, 2))
        assert inherit(model, narrow) == []
        return model

    def test_no_logit_changes(self, child, narrow):
        np.testing.assert_allclose(logits(child), logits(narrow), rtol=0, atol=3e-7)
        block = child.get_layer("stage2_block2")
        kernel = block.conv2.kernel.numpy()
        assert kernel.shape == (3, 3, 12, 8)
        assert (kernel[:, :, 8:] == 0).all()
        assert np.abs(block.conv1.kernel.numpy()[..., 8:]).min() > 0  # drawn, so that it can learn
        known = narrow.get_layer("stage2_block2").conv1.kernel.numpy()
        np.testing.assert_array_equal(block.conv1.kernel.numpy()[..., :8], known)

    def test_steps_of_the_larger_weights_begin_anew(self, child, narrow):
        found = {v.path.split("/")[-1]: v.numpy() for v in child.optimizer.variables}
        assert found["stage2_block1_conv2_kernel_steps"] == 0
        assert not found["stage2_block1_conv2_kernel_mean"].any()
        assert found["stage2_block1_bn2_gamma_steps"] == 8
        assert found["stage1_block1_conv2_kernel_steps"] == 8
        assert found["stage1_block1_conv2_kernel_mean"].any()

    def test_momentum_of_old_filters_stays(self, narrow):
        models = [build(each) for each in (NARROW, widen(NARROW, 2))]
        for model in models:
            model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss=model.loss)
        models[0].optimizer.build(models[0].trainable_variables)
        models[0].fit(*batch(0), verbose=0)
        inherit(models[1], models[0])
        old, new = (
            {v.path.split("/")[-1]: v.numpy() for v in model.optimizer.variables}
            for model in models
        )
        name = next(name for name in old if name.startswith("stage2_block1_conv1_kernel"))
        np.testing.assert_array_equal(new[name][..., :8], old[name])
        assert np.abs(old[name]).max() > 0
        assert not new[name][..., 8:].any()

    def test_new_filters_learn(self, child):
        for step in range(4):
            child.train_on_batch(*batch(step))
        assert child.get_layer("stage2_block1").conv2.kernel.numpy()[:, :, 8:].any()
