"""The trunk is that of a block network; what is above it, against a float64 calculation."""

import keras
import numpy as np
import pytest

from tests import backend, reference
from tfcaps import models
from tfcaps.errors import UsageError
from tfcaps.routing import registry as routings
from tfcaps.training import CapsuleNetworkConfig

IMAGE = (14, 12, 2)
IMAGES = np.random.default_rng(0).uniform(size=(3, *IMAGE)).astype("float32")
SIZES = {"layers": (4, 3), "dimensions": (4, 5)}
TRUNK = {"blocks": (1, 2), "widths": (4, 6), "stem": "pooled"}


def network(**options) -> models.CapsHead:
    """A network whose statistics and biases aren't at their initial values."""
    model = models.CapsHead(IMAGE, **{**SIZES, **TRUNK, **options})
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if "kernel" not in weight.path:
            weight.assign(weight + rng.uniform(0.1, 0.5, weight.shape))
    return model


def assert_close(actual, expected, tolerance=1e-5):
    np.testing.assert_allclose(backend.numpy(actual), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("stem", ["pooled", "cifar", "imagenet"])
def test_the_trunk_is_that_of_a_block_network(stem):
    """Stem and blocks have the same weights, and give the same maps."""
    model = network(stem=stem)
    twin = models.BlockNetwork(IMAGE, 3, "resnet", **{**TRUNK, "stem": stem})
    names = [layer.name for layer in twin.layers if layer.weights and layer.name != "logits"]
    assert names[0] == "stem_conv" and names[-1] == "stage2_block2"
    for name in names:
        twin.get_layer(name).set_weights(model.get_layer(name).get_weights())
    last = model.get_layer("stage2_block2").output
    maps = keras.Model(model.input, last)(IMAGES, training=False)
    assert_close(twin.inspector(IMAGES)["stage2_block2/output"], backend.numpy(maps), 1e-6)


@pytest.mark.parametrize(
    ("routing", "options"),
    [
        ("rba", {}),
        ("em", {}),
        ("sda", {}),
        ("attention", {"use_bias": False}),
        ("mean", {"layers": (4, 3, 3), "dimensions": (4, 5, 6)}),
    ],
    ids=["rba", "em", "sda", "attention", "two dense layers"],
)
def test_what_is_above_it(routing, options):
    """A 1×1 convolution, groups of channels squashed place by place, dense capsules."""
    model = network(routing=routing, **options)
    last = model.get_layer("stage2_block2").output
    maps = backend.numpy(keras.Model(model.input, last)(IMAGES, training=False)).astype("float64")
    assert maps.shape == (3, 4, 3, 6)  # 14×12, halved by the pooling and by the second stage
    convolution = backend.weights(model.get_layer("primary_capsules"))
    poses = np.einsum("bhwc,cp->bhwp", maps, convolution["kernel"][0, 0]) + convolution["bias"]
    x = reference.squash(poses.reshape(3, 4 * 3 * 4, 4))
    inspected = model.inspector(IMAGES)
    assert_close(inspected["capsules"]["primary_capsules"], x)
    for index in range(1, len(model.capsules)):
        layer = model.get_layer(f"capsules_{index}")
        weights = {weight.name: backend.numpy(weight.value) for weight in layer.weights}
        x, coupling = reference.dense_capsule(x, routing, **weights)
        assert_close(inspected["capsules"][f"capsules_{index}"], x)
        assert_close(inspected["couplings"][f"capsules_{index}"], coupling)
    assert_close(model(IMAGES)["lengths"], reference.lengths(x))
    assert_close(model.classifier(IMAGES), reference.lengths(x))


def test_defaults():
    model = models.CapsHead((32, 32, 3))
    assert (model.capsules, model.dimensions) == ((32, 10), (8, 16))
    assert (model.widths, model.stem) == ((64, 128, 256, 512), "pooled")
    assert model.blocks == ((1,), (1,), (1,), (1,))
    assert model.decoder is None and set(model.output) == {"lengths"}
    # 32 → 16 by pooling → 8 → 4 → 2: 2·2·32 capsules.
    assert model.inspector.output["capsules"]["primary_capsules"].shape == (None, 128, 8)
    twin = models.BlockNetwork((32, 32, 3), 10, blocks=(1, 1, 1, 1), stem="pooled")
    # Instead of 512·10 + 10 of a dense head: 512·256 + 256, votes 10·128·16·8, bias 10·16.
    above = 512 * 256 + 256 + 10 * 128 * 16 * 8 + 10 * 16
    assert model.count_params() == twin.count_params() - 5_130 + above


@pytest.mark.parametrize("name", ["rba", "em", "sda", "attention", "mean"])
def test_classes_begin_short(name):
    """Most of them are to be, whatever the routing."""
    keras.utils.set_random_seed(0)
    model = models.CapsHead((16, 16, 3), routing=name, widths=(8, 8, 8, 8))
    images = np.random.default_rng(0).normal(size=(8, 16, 16, 3)).astype("float32")
    lengths = backend.numpy(model(images, training=True)["lengths"])
    primary = backend.numpy(model.inspector(images)["capsules"]["primary_capsules"])
    assert np.linalg.norm(primary, axis=-1).mean() > 0.5
    assert 0.0 < lengths.mean() < 0.4


def test_a_decoder_can_be_asked_for():
    model = network(use_reconstruction=True, mask="label")
    assert set(model.input) == {"image", "label"}
    assert model.reconstructor(IMAGES).shape == (3, *IMAGE)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"stem": "big"}, "stem to be one of imagenet, cifar, pooled, deep. Received: 'big'"),
        ({"widths": (4,)}, "as many widths as stages. Received: blocks=1,2, widths=4"),
        ({"blocks": (0, 0)}, "at least one block. Received: blocks=0,0"),
        ({"routing": "no_such"}, "no_such"),
        ({"layers": (4, 3, 3)}, "4, 3, 3"),
    ],
    ids=str,
)
def test_bad_argument(arguments, sentence):
    with pytest.raises(UsageError) as caught:
        network(**arguments)
    assert sentence in str(caught.value)


def test_an_argument_that_no_network_has():
    with pytest.raises(TypeError, match="depth"):
        network(depth=3)


@pytest.mark.skipif(backend.IS_JAX, reason="the loop is TensorFlow's")
@pytest.mark.parametrize("routing", routings.names())
def test_the_fast_recipe_learns(routing):
    """Bright left halves from bright right halves, at the recipe's own rate."""
    rng = np.random.default_rng(0)
    labels = np.arange(32) % 2
    images = rng.normal(0.0, 0.3, (32, 12, 12, 1)).astype("float32")
    images[labels == 0, :, :6] += 1.0
    images[labels == 1, :, 6:] += 1.0
    keras.utils.set_random_seed(0)
    config = CapsuleNetworkConfig(
        log_dir="x",
        model="CapsHead",
        recipe="fast",
        routing=routing,
        blocks=(1, 1),
        widths=(8, 8),
        layers=(4, 2),
        dimensions=(4, 4),
        batch_size=32,
    )
    task = config.task()
    model = task.network((12, 12, 1), 2)
    task.compile(model, jit=False)
    targets = {"lengths": np.eye(2, dtype="float32")[labels]}
    history = model.fit(images, targets, batch_size=32, epochs=40, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    assert history[-1] < 0.25 * history[0]
    found = backend.numpy(model(images, training=True)["lengths"])
    np.testing.assert_array_equal(found.argmax(axis=-1), labels)
