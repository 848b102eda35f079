"""Initial weights with which capsule networks of any depth can learn: lengths and gradients."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcaps import datasets, routing
from tfcaps.errors import UsageError
from tfcaps.initializers import LengthPreserving
from tfcaps.layers import DenseCapsule
from tfcaps.losses import MarginLoss
from tfcaps.training import CapsuleNetworkConfig, build_model

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


@pytest.mark.parametrize("gain", [0, -1.0, float("nan"), float("inf")])
def test_wrong_gain(gain):
    with pytest.raises(UsageError, match=r"Expected gain > 0\. Received: "):
        LengthPreserving(gain)


def test_wrong_shape():
    with pytest.raises(UsageError, match=r"\(O, I, E, D\). Received: \(3, 4\)"):
        LengthPreserving()((3, 4))


@pytest.fixture(scope="module")
def digits():
    """Real digits (32, 24, 24, 1) as the papers' networks see them, and their one-hot labels."""
    data = datasets.load("mnist5k")
    first = data.train.take(np.arange(32))
    images, _ = datasets.preprocessing("mnist5k", "paper").evaluate(first.images)
    return np.asarray(images), np.eye(10, dtype="float32")[first.labels]


class Deep:
    """A network `4, 16 × (depth − 2), 10` with residual connections."""

    def __init__(self, name, depth, kernel_initializer):
        keras.utils.set_random_seed(0)
        hidden = 10 if name == "em" else 12
        config = CapsuleNetworkConfig(
            log_dir="unused",
            layers=(4, *[16] * (depth - 2), 10),
            dimensions=(8, *[hidden] * (depth - 2), 16),
            routing=name,
            make_skips=True,
            use_reconstruction=False,
            kernel_initializer=kernel_initializer,
        )
        self.model = build_model(config, (24, 24, 1), 10)
        self.layers = [one for one in self.model.layers if isinstance(one, DenseCapsule)]
        self.optimizer = keras.optimizers.Adam(1e-3)
        self.optimizer.build(self.model.trainable_variables)
        self.loss = MarginLoss()

    @tf.function
    def step(self, images, labels):
        """One step of a training, and the gradients of the kernels from the lowest one on."""
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            loss = self.loss(labels, self.model(images, training=True)["lengths"])
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        self.optimizer.apply(gradients, variables)
        places = [[v is layer.kernel for v in variables].index(True) for layer in self.layers]
        return [gradients[place] for place in places]


def assert_alive(gradients):
    gradients = [np.asarray(gradient, "float64") for gradient in gradients]
    norms = [np.linalg.norm(gradient) for gradient in gradients]
    assert np.isfinite(norms).all()
    assert min(norms) > SMALLEST_SHARE * max(norms), norms
    roots = [np.sqrt(np.mean(np.square(gradient))) for gradient in gradients]
    assert min(roots) > SMALLEST_ROOT, roots


@pytest.mark.parametrize(("name", "depth"), list(itertools.product(routing.names(), (2, 7, 12))))
def test_gradients_reach_the_lowest_layer(name, depth, digits):
    network = Deep(name, depth, "length_preserving")
    assert_alive(network.step(*digits))
    for _ in range(19):
        network.step(*digits)
    assert_alive(network.step(*digits))


def test_published_weights_lose_them(digits):
    """What the initializer is for."""
    network = Deep("mean", 12, "normal")
    norms = [np.linalg.norm(gradient) for gradient in network.step(*digits)]
    assert min(norms) < 1e-5 * max(norms)
