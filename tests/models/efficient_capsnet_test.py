"""A whole EfficientCapsNet against a float64 forward pass with its weights, and its sizes."""

import keras
import numpy as np
import pytest

from tests import backend, reference
from tfcaps import models

IMAGE = (13, 12, 2)
IMAGES = np.random.default_rng(0).uniform(size=(3, *IMAGE)).astype("float32")
SIZES = {"layers": (4, 3), "dimensions": (4, 5)}
STRIDES = (1, 1, 1, 2)


def network(**options) -> models.EfficientCapsNet:
    """A network whose statistics, biases and prior aren't at their initial values."""
    model = models.EfficientCapsNet(IMAGE, **{**SIZES, **options})
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if "decoder" not in weight.path and "kernel" not in weight.path:
            weight.assign(weight + rng.uniform(0.1, 0.5, weight.shape))
    return model


def stem(model, images: np.ndarray, *, training: bool = False) -> np.ndarray:
    """Convolution, ReLU, batch normalisation, four times, with its own statistics if training."""
    x = images.astype("float64")
    for index, strides in enumerate(STRIDES, start=1):
        convolution = backend.weights(model.get_layer(f"stem_conv_{index}"))
        x = reference.convolution(x, convolution["kernel"], strides=strides) + convolution["bias"]
        x = np.maximum(x, 0.0)
        normalization = model.get_layer(f"stem_bn_{index}")
        bn = backend.weights(normalization)
        mean, variance = bn["moving_mean"], bn["moving_variance"]
        if training:
            mean, variance = np.mean(x, axis=(0, 1, 2)), np.var(x, axis=(0, 1, 2))
        x = bn["gamma"] * (x - mean) / np.sqrt(variance + normalization.epsilon) + bn["beta"]
    return x


def capsules_of(model, images, *, training=False, routing="attention"):
    """Primary capsules, and capsules and coupling of each dense layer."""
    depthwise = backend.weights(model.get_layer("primary_capsules"))
    maps = stem(model, images, training=training)
    dimensions = model.get_config()["dimensions"]
    x = primary = reference.depthwise_primary_capsule(maps, **depthwise, dim=dimensions[0])
    outputs = []
    for index in range(1, len(dimensions)):
        layer = model.get_layer(f"capsules_{index}")
        weights = {w.name: backend.numpy(w.value) for w in layer.weights}
        outputs.append(reference.dense_capsule(x, routing, **weights))
        x = outputs[-1][0]
    return primary, outputs


def assert_close(actual, expected, tolerance=1e-5):
    np.testing.assert_allclose(backend.numpy(actual), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("options", "routing"),
    [
        ({}, "attention"),
        ({"routing": "attention", "use_bias": False}, "attention"),
        ({"routing": "em"}, "em"),
        ({"layers": (4, 3, 3), "dimensions": (4, 5, 6), "routing": "rba"}, "rba"),
    ],
    ids=["prior", "no prior, no bias", "em", "two dense layers"],
)
def test_forward_pass(options, routing):
    model = network(**options)
    primary, outputs = capsules_of(model, IMAGES, routing=routing)
    inspected = model.inspector(IMAGES)
    assert_close(inspected["capsules"]["primary_capsules"], primary)
    for index, (capsules, coupling) in enumerate(outputs, start=1):
        assert_close(inspected["capsules"][f"capsules_{index}"], capsules)
        assert_close(inspected["couplings"][f"capsules_{index}"], coupling)
    lengths = reference.lengths(outputs[-1][0])
    assert_close(model(IMAGES)["lengths"], lengths)
    assert_close(model.classifier(IMAGES), lengths)
    assert_close(model(IMAGES)["reconstruction"], backend.numpy(model.decoder(outputs[-1][0])))


def test_training_normalises_by_the_batch_and_learns_its_statistics():
    model = network(use_reconstruction=False)
    _, outputs = capsules_of(model, IMAGES, training=True)
    layer = model.get_layer("stem_bn_1")
    before = backend.weights(layer)
    convolution = backend.weights(model.get_layer("stem_conv_1"))
    x = reference.convolution(IMAGES, convolution["kernel"]) + convolution["bias"]
    mean = np.mean(np.maximum(x, 0.0), axis=(0, 1, 2))
    lengths = model(IMAGES, training=True)["lengths"]
    assert_close(lengths, reference.lengths(outputs[-1][0]), 1e-4)
    expected = layer.momentum * before["moving_mean"] + (1.0 - layer.momentum) * mean
    assert_close(layer.moving_mean.value, expected)


@pytest.mark.parametrize(
    ("options", "learnt", "fixed"),
    [
        # 4 convolutions with normalisation 131,264; 128 kernels of 9·9 and a bias 10,496;
        # 10·16·16·8 of votes; 10·16 of the prior. Means and variances are not learnt.
        ({"use_bias": False}, 161_824, 576),
        ({}, 161_824 + 160, 576),
        ({"routing": "rba"}, 161_824, 576),
    ],
    ids=["as published", "with bias", "bias instead of prior"],
)
def test_number_of_weights(options, learnt, fixed):
    model = models.EfficientCapsNet((28, 28, 1), use_reconstruction=False, **options)
    assert _size(model.trainable_weights) == learnt
    assert _size(model.non_trainable_weights) == fixed
    assert _size(model.weights) <= 165_000


def test_defaults():
    model = models.EfficientCapsNet((28, 28, 1))
    inspected = model.inspector.output
    assert inspected["capsules"]["primary_capsules"].shape == (None, 16, 8)
    assert inspected["capsules"]["capsules_1"].shape == (None, 10, 16)
    assert model.get_layer("primary_capsules").kernel.shape[:2] == (9, 9)
    assert model.get_layer("capsules_1").routing.use_prior
    # 160·512 + 512 + 512·1024 + 1024 + 1024·784 + 784
    assert _size(model.decoder.weights) == 1_411_344


def _size(weights) -> int:
    return sum(int(np.prod(weight.shape)) for weight in weights)


@pytest.mark.parametrize(("image", "kernel"), [((11, 11, 1), (1, 1)), ((32, 40, 3), (11, 15))])
def test_any_image_size(image, kernel):
    model = models.EfficientCapsNet(image, **SIZES, use_reconstruction=False)
    assert model.get_layer("primary_capsules").kernel.shape[:2] == kernel
    assert np.all(np.isfinite(backend.numpy(model(np.ones((1, *image), "float32"))["lengths"])))


@pytest.mark.parametrize(
    ("arguments", "repeated"),
    [
        ({"input_shape": (10, 40, 1)}, "10"),
        ({"layers": (4, 3, 3)}, "4, 3, 3"),
        ({"routing": "no_such"}, "no_such"),
    ],
    ids=str,
)
def test_bad_argument(arguments, repeated):
    with pytest.raises(ValueError, match=f"Received.*{repeated}"):
        models.EfficientCapsNet(**{"input_shape": IMAGE, **SIZES, **arguments})


def test_saved_network_gives_equal_outputs(tmp_path):
    model = network()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded, models.EfficientCapsNet)
    assert loaded.get_config() == model.get_config()
    for name, value in model(IMAGES).items():
        assert_close(loaded(IMAGES)[name], backend.numpy(value), 1e-7)


def test_it_learns():
    """Bright left halves from bright right halves, in a few steps of mixed precision."""
    rng = np.random.default_rng(0)
    labels = np.arange(16) % 2
    images = rng.uniform(0.0, 0.2, (16, 12, 12, 1)).astype("float32")
    images[labels == 0, :, :6] += 0.8
    images[labels == 1, :, 6:] += 0.8
    keras.utils.set_random_seed(0)
    model = models.EfficientCapsNet(
        (12, 12, 1), (4, 2), (4, 4), use_reconstruction=False, dtype="mixed_bfloat16"
    )
    model.compile(keras.optimizers.Adam(0.01), {"lengths": keras.losses.MeanSquaredError()})
    history = model.fit(
        images, {"lengths": np.eye(2, dtype="float32")[labels]}, epochs=20, verbose=0
    ).history["loss"]
    assert history[-1] < 0.2 * history[0]
    predicted = backend.numpy(model(images, training=True)["lengths"])
    np.testing.assert_array_equal(np.argmax(predicted, axis=-1), labels)
