"""Initial weights with which capsule networks of any depth can learn: lengths and gradients."""

import itertools

import keras
import numpy as np
import pytest

from benchmarks.gradient_depth import NO_SKIPS, kernel_gradients, shares
from tfcaps import models, routing
from tfcaps.errors import UsageError
from tfcaps.initializers import LengthPreserving
from tfcaps.layers import ConvCapsule, DenseCapsule

# Adam divides by the root mean square of a gradient plus 1e-7: down from 1e-8 on, a weight moves by
# less than a tenth of the learning rate. N(0, 0.2) leaves 5e-11 at depth 12 (rba, mean).
SMALLEST_ROOT = 1e-8
# Tenths and hundredths are ordinary between the layers of a deep network. At depth 12, N(0, 0.2)
# leaves 4e-7 (rba, mean), and what is tested here 4e-4 (sda) or more.
SMALLEST_SHARE = 1e-4


def test_standard_deviation():
    """σ = 10·√(8 / (5·4)) = 6.32; of 10,000 draws its relative standard error is 0.7 %."""
    kernel = np.asarray(LengthPreserving(gain=8.0, seed=1)((10, 5, 4, 50)))
    assert kernel.std() == pytest.approx(10 * np.sqrt(0.4), rel=0.03)
    assert abs(kernel.mean()) < 0.03 * kernel.std() * 3


def test_a_layer_keeps_the_length_one_half():
    """A fixed point for gain 4: ‖s‖² = 4·¼ = 1, and squash makes 1/2 of it."""
    layer = DenseCapsule(8, 16, "mean", use_bias=False, kernel_initializer=LengthPreserving(seed=0))
    directions = np.random.default_rng(0).normal(size=(50, 64, 12))
    capsules = 0.5 * directions / np.linalg.norm(directions, axis=-1, keepdims=True)
    lengths = np.linalg.norm(layer(capsules.astype("float32")), axis=-1)
    # ‖s‖² is a sum of 16 squares, so that lengths scatter, but not their mean.
    assert lengths.mean() == pytest.approx(0.5, abs=0.03)


def test_configuration():
    initializer = LengthPreserving(gain=2.0, seed=3)
    again = keras.initializers.get(keras.initializers.serialize(initializer))
    np.testing.assert_array_equal(again((2, 3, 4, 5)), initializer((2, 3, 4, 5)))
    layer = DenseCapsule(3, 4, kernel_initializer=initializer)
    config = DenseCapsule.from_config(layer.get_config()).get_config()
    assert config["kernel_initializer"]["config"] == {"gain": 2.0, "seed": 3}


@pytest.mark.parametrize(
    ("layer", "shape", "deviation"),
    [
        # O √(g / (I E)), with the routings' g of 4, 0.5 and 0.03
        (DenseCapsule(20, 5, "rba"), (40, 7), 20 * np.sqrt(4 / (40 * 5))),
        (DenseCapsule(20, 5, "attention"), (40, 7), 20 * np.sqrt(0.5 / (40 * 5))),
        (DenseCapsule(20, 5, "em"), (40, 7), 20 * np.sqrt(0.03 / (40 * 5))),
        # as many inputs as outputs, where their number isn't known
        (DenseCapsule(40, 20, shared_kernel=True), (None, 50), 40 * np.sqrt(4 / (40 * 20))),
        # of 3×3 places with 10 types each
        (ConvCapsule(20, 6), (4, 4, 10, 8), 20 * np.sqrt(4 / (90 * 6))),
        (DenseCapsule(20, 5, kernel_initializer=LengthPreserving(2.0)), (40, 7), 20 * 0.1),
    ],
    ids=["rba", "attention", "em", "shared", "convolutional", "given"],
)
def test_what_layers_begin_with(layer, shape, deviation):
    layer.build((None, *shape))
    assert np.std(layer.kernel) == pytest.approx(deviation, rel=0.05)
    copy = type(layer).from_config(layer.get_config())
    copy.build((None, *shape))
    assert np.std(copy.kernel) == pytest.approx(deviation, rel=0.05)


def test_class_capsules_of_a_deep_network_begin_short():
    """g = 0.1 above routed capsules, 4 above the primary ones."""
    deep = models.CapsNet((17, 17, 1), (2, 30, 20), (8, 12, 16), use_reconstruction=False)
    assert np.std(deep.get_layer("capsules_1").kernel) == pytest.approx(
        30 * np.sqrt(4 / (2 * 12)), rel=0.05
    )
    assert np.std(deep.get_layer("capsules_2").kernel) == pytest.approx(
        20 * np.sqrt(0.1 / (30 * 16)), rel=0.05
    )
    shallow = models.CapsNet((17, 17, 1), (2, 20), (8, 16), use_reconstruction=False)
    assert np.std(shallow.get_layer("capsules_1").kernel) == pytest.approx(
        20 * np.sqrt(4 / (2 * 16)), rel=0.05
    )


@pytest.mark.parametrize("gain", [0, -1.0, float("nan"), float("inf")])
def test_wrong_gain(gain):
    with pytest.raises(UsageError, match=r"Expected gain > 0\. Received: "):
        LengthPreserving(gain)


def test_wrong_shape():
    with pytest.raises(UsageError, match=r"\(O, I, E, D\). Received: \(3, 4\)"):
        LengthPreserving()((3, 4))


def assert_alive(gradients):
    norms = [np.linalg.norm(gradient) for gradient in gradients]
    assert np.isfinite(norms).all()
    assert min(norms) > SMALLEST_SHARE * max(norms), norms
    roots = [np.sqrt(np.mean(np.square(gradient))) for gradient in gradients]
    assert min(roots) > SMALLEST_ROOT, roots


@pytest.mark.parametrize(("name", "depth"), list(itertools.product(routing.names(), (2, 12))))
def test_gradients_reach_the_lowest_layer(name, depth):
    gradients = kernel_gradients(name, depth, skips="gated", kernel_initializer="length_preserving")
    assert_alive(next(gradients))
    # EM has learnt all 32 digits after 9 steps, and has no gradient left.
    *_, after = itertools.islice(gradients, 10 if depth > 2 and name != "em" else 3)
    assert_alive(after)


def test_published_weights_lose_them():
    """What the initializer is for."""
    gradients = kernel_gradients("mean", 12, skips=NO_SKIPS, kernel_initializer="published")
    assert shares(gradients, 1)[0] < 1e-5
