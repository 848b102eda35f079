"""Training on attacked images: what a step computes, and that the network stays what it was."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import forks, runs
from tfcaps.errors import UsageError
from tfcaps.losses import MarginLoss, ReconstructionLoss
from tfcaps.models import CapsNet
from tfcaps.robustness import cross_entropy, projected_gradient_descent, train_on_attacked_images
from tfcaps.training import devices

RNG = np.random.default_rng(0)
IMAGES = RNG.random((6, 18, 18, 1), "float32")
ONE_HOT = np.eye(3, dtype="float32")[[0, 1, 2, 2, 1, 0]]
TARGETS = {"lengths": ONE_HOT, "reconstruction": IMAGES}
ATTACK = {"epsilon": 0.2, "step_size": 0.05, "steps": 5}


def network(*, jit=False, mask="none", dtype=None, **compiled):
    """The smallest one with a decoder: most of the time goes into tracing."""
    keras.utils.set_random_seed(0)
    model = CapsNet((18, 18, 1), (2, 3), (4, 4), routing="mean", mask=mask, dtype=dtype)
    model.compile(
        keras.optimizers.SGD(0.1),
        loss={"lengths": MarginLoss(), "reconstruction": ReconstructionLoss()},
        loss_weights={"lengths": 1.0, "reconstruction": 1e-3},
        jit_compile=jit,
        **compiled,
    )
    return model


def robust(attack=None, **arguments):
    model = network(**arguments)
    train_on_attacked_images(model, **{**ATTACK, **(attack or {})})
    return model


def attacked(model):
    return projected_gradient_descent(
        cross_entropy(model.classifier, ONE_HOT), tf.constant(IMAGES), **ATTACK
    ).numpy()


@pytest.mark.parametrize("shape", [(6,), (6, 1), (1, 3)])
def test_labels_of_another_shape(shape):
    loss = cross_entropy(lambda images, training: tf.zeros((6, 3)), np.zeros(shape))
    with pytest.raises(UsageError) as caught:
        loss(IMAGES)
    assert str(caught.value) == (f"Expected one-hot labels of shape (6, 3). Received: {shape}")


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    """What a plain network makes of the attacked images."""
    model = network()
    images = attacked(model)
    clean = model.evaluate(IMAGES, TARGETS, verbose=0, return_dict=True)["loss"]
    model.reset_metrics()  # Keras before 3.13 would go on with the evaluation's mean
    loss = model.train_on_batch(images, TARGETS, return_dict=True)["loss"]
    return {"images": images, "clean": clean, "loss": loss, "weights": model.get_weights()}


@pytest.mark.parametrize("arguments", [{}, {"jit": True}, {"run_eagerly": True}], ids=str)
def test_a_step_is_one_on_attacked_images_with_clean_targets(expected, arguments):
    model = robust(**arguments)
    loss = model.train_on_batch(IMAGES, TARGETS, return_dict=True)["loss"]
    assert loss == pytest.approx(expected["loss"], rel=1e-5)
    for one, two in zip(model.get_weights(), expected["weights"], strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


def test_the_attack_makes_a_difference(expected):
    assert np.abs(expected["images"] - IMAGES).max() == pytest.approx(0.2, abs=1e-6)
    assert expected["loss"] > expected["clean"] * 1.001


def test_evaluation_is_on_clean_images(expected):
    found = robust().evaluate(IMAGES, TARGETS, verbose=0, return_dict=True)["loss"]
    assert found == pytest.approx(expected["clean"], rel=1e-6)


def test_label_mask():
    plain = network(mask="label", run_eagerly=True)
    loss = plain.train_on_batch({"image": attacked(plain), "label": ONE_HOT}, TARGETS)[0]
    model = robust(mask="label", run_eagerly=True)
    found = model.train_on_batch({"image": IMAGES, "label": ONE_HOT}, TARGETS)[0]
    assert found == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_attacks_as_float32_does(expected, dtype):
    found = attacked(network(dtype=dtype))
    same = np.mean(np.isclose(found, expected["images"], atol=1e-3))
    assert same > 0.75  # of the pixels take the same path in spite of rounding


def test_step_in_float16():
    with devices.precision("mixed_float16"):
        model = robust()
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    losses = [model.train_on_batch(IMAGES, TARGETS)[0] for _ in range(2)]
    assert np.all(np.isfinite(losses))


def test_saved_as_the_plain_network_and_told_again(expected, tmp_path):
    model = robust(attack={"epsilon": 0.5})
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is CapsNet
    assert loaded.train_step.__func__ is keras.Model.train_step
    # A loaded one can be told, and being told once more changes the attack.
    for network in (loaded, model):
        network.run_eagerly = True
        train_on_attacked_images(network, **ATTACK)
        found = network.train_on_batch(IMAGES, TARGETS)[0]
        assert found == pytest.approx(expected["loss"], rel=1e-5)


@pytest.mark.parametrize(("name", "value"), [("epsilon", -0.1), ("step_size", 0.0), ("steps", 0)])
def test_wrong_arguments(name, value):
    with pytest.raises(UsageError, match=f"Expected {name} .*Received: {value}"):
        robust(attack={name: value})


REPLICAS = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import numpy as np
from tests.robustness import robust_training_test as test
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    model = test.robust()
data = tf.data.Dataset.from_tensors((test.IMAGES, test.TARGETS))
loss = model.fit(data, verbose=0).history["loss"][0]
np.savez(__import__("sys").argv[1], *model.get_weights(), loss=loss)
"""


def test_two_replicas(expected, tmp_path):
    """Each attacks its part of the batch; together they do what one does with all of it."""
    code, _, errors = runs.finish(forks.start_code(REPLICAS, tmp_path / "found.npz"))
    assert code == 0, errors
    found = np.load(tmp_path / "found.npz")
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    for index, weights in enumerate(expected["weights"]):
        np.testing.assert_allclose(found[f"arr_{index}"], weights, atol=1e-5)


class TestAfterATraining:
    """The compiled step of an earlier `fit` is not the one that attacks."""

    def trained(self, *attacks, first_fit):
        """Weights after one more step, under the last of some attacks."""
        keras.utils.set_random_seed(0)
        model = CapsNet((18, 18, 1), (2, 3), (4, 4), use_reconstruction=False)
        model.compile(keras.optimizers.SGD(0.5), loss={"lengths": MarginLoss()})
        start = model.get_weights()
        for index, attack in enumerate(attacks):
            if first_fit or index:
                model.fit(IMAGES, {"lengths": ONE_HOT}, batch_size=6, verbose=0)
                model.set_weights(start)
            train_on_attacked_images(model, steps=2, step_size=0.2, **attack)
        model.fit(IMAGES, {"lengths": ONE_HOT}, batch_size=6, verbose=0)
        return model.get_weights()

    def test_it_is_attacked_as_without(self):
        expected = self.trained({"epsilon": 0.4}, first_fit=False)
        plain = self.trained({"epsilon": 0.0}, first_fit=False)
        found = self.trained({"epsilon": 0.4}, first_fit=True)
        for one, two in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, two, atol=1e-6)
        assert any(np.abs(a - b).max() > 1e-5 for a, b in zip(found, plain, strict=True))

    def test_the_last_attack_is_the_only_one(self):
        expected = self.trained({"epsilon": 0.1}, first_fit=False)
        found = self.trained({"epsilon": 0.4}, {"epsilon": 0.1}, first_fit=True)
        for one, two in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, two, atol=1e-6)
