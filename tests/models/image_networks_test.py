"""Ordinary image classifiers: their layers, their pixels, and weights from files."""

import keras
import numpy as np
import pytest

from tfcaps import models
from tfcaps.errors import UsageError
from tfcaps.models import ApplicationNetwork, ApplicationPixels, ConvNetwork, LeNet, read_weights

IMAGES = np.random.default_rng(0).random((3, 32, 32, 1)).astype("float32")


def logits(model, images=IMAGES):
    return keras.ops.convert_to_numpy(model(images, training=False))


@pytest.fixture(scope="module")
def mobile():
    keras.utils.set_random_seed(0)
    return ApplicationNetwork((32, 32, 1), 4, "MobileNetV2")


class TestConvNetwork:
    def test_layers(self):
        model = ConvNetwork((9, 7, 3), 5, filters=(4, 6))
        # 3·3·3·4 + 3·3·4·6 without bias, four numbers per map, a dense layer.
        assert model.count_params() == 108 + 216 + 4 * (4 + 6) + 6 * 5 + 5
        assert model.get_layer("pooling_2").output.shape == (None, 3, 2, 6)
        assert (model.filters, model.num_classes) == ((4, 6), 5)

    def test_by_hand(self):
        """A kernel that copies its pixel: the largest of each 2×2, then their mean."""
        model = ConvNetwork((4, 4, 1), 2, filters=(1,))
        kernel = np.zeros((3, 3, 1, 1), "float32")
        kernel[1, 1] = 1.0
        model.get_layer("conv_1").set_weights([kernel])
        model.get_layer("logits").set_weights([np.array([[2.0, -1.0]]), np.array([0.0, 0.5])])
        image = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
        mean = (5 + 7 + 13 + 15) / 4 / np.sqrt(1 + 1e-3)  # BN's ε
        expected = [[2 * mean, 0.5 - mean]]
        np.testing.assert_allclose(logits(model, image), expected, rtol=1e-5)
        scores = keras.ops.convert_to_numpy(model.classifier(image))
        exact = np.exp(np.array(expected) - max(expected[0]))
        np.testing.assert_allclose(scores, exact / exact.sum(), rtol=1e-5)

    @pytest.mark.parametrize(
        "arguments", [{"filters": ()}, {"filters": (0,)}, {"num_classes": 0}, {"input_shape": (4,)}]
    )
    def test_wrong_arguments(self, arguments):
        with pytest.raises(UsageError, match="Expected"):
            ConvNetwork(**{"input_shape": (4, 4, 1), "num_classes": 2, **arguments})


class TestLeNet:
    def test_layers(self):
        """28×20: 24×16, 12×8, 8×4, 4×2 places with 16 maps."""
        model = LeNet((28, 20, 3), 5)
        assert model.get_layer("pooling_2").output.shape == (None, 4, 2, 16)
        convolutions = (25 * 3 + 1) * 6 + (25 * 6 + 1) * 16
        assert model.count_params() == convolutions + (128 + 1) * 120 + 121 * 84 + 85 * 5

    def test_by_hand(self):
        """Kernels that are the same everywhere, so each layer has one value."""
        model = LeNet((16, 16, 1), 2)
        for weight in model.weights:
            weight.assign(np.full(weight.shape, 0.01, "float32"))
        image = np.full((1, 16, 16, 1), 0.5, "float32")
        value = np.tanh(0.01 * (25 * 0.5) + 0.01)
        value = np.tanh(0.01 * (25 * 6 * value) + 0.01)
        value = np.tanh(0.01 * (16 * value) + 0.01)  # one place is left
        value = np.tanh(0.01 * (120 * value) + 0.01)
        expected = 0.01 * (84 * value) + 0.01
        np.testing.assert_allclose(logits(model, image), [[expected, expected]], rtol=1e-5)

    def test_too_small(self):
        with pytest.raises(UsageError, match=r"at least 16×16 pixels .* Received: 15×28"):
            LeNet((15, 28, 1), 10)


class TestApplicationPixels:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("MobileNetV2", lambda x: 2 * x - 1),
            ("EfficientNetB0", lambda x: 255 * x),
            # BGR, less the mean of ImageNet.
            ("ResNet50", lambda x: 255 * x[..., ::-1] - [103.939, 116.779, 123.68]),
            ("DenseNet121", lambda x: (x - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
        ],
    )
    def test_published_ways(self, name, expected):
        colours = np.random.default_rng(1).random((2, 3, 3, 3)).astype("float32")
        found = keras.ops.convert_to_numpy(ApplicationPixels(name)(colours))
        np.testing.assert_allclose(found, expected(colours.astype("float64")), atol=2e-4)

    def test_grey(self):
        found = keras.ops.convert_to_numpy(ApplicationPixels("MobileNetV2")(IMAGES))
        np.testing.assert_allclose(found, np.repeat(2 * IMAGES - 1, 3, axis=-1), atol=1e-5)

    def test_wrong_arguments(self):
        with pytest.raises(UsageError, match=r"keras\.applications. Received: 'MobileNetV9'"):
            ApplicationPixels("MobileNetV9")
        with pytest.raises(UsageError, match=r"1 or 3 channels\. Received: 2"):
            ApplicationNetwork((32, 32, 2), 4, "MobileNetV2")
        with pytest.raises(UsageError, match="28×28 pixels"):
            ApplicationNetwork((28, 28, 1), 4, "MobileNetV2")


class TestReadWeights:
    """Each file that there may be, and files of other networks."""

    def other(self, classes=4, application="MobileNetV2"):
        keras.utils.set_random_seed(1)
        return ApplicationNetwork((32, 32, 1), classes, application)

    @pytest.mark.parametrize("name", ["whole.keras", "whole.weights.h5"])
    def test_of_the_same_network(self, mobile, tmp_path, name):
        getattr(mobile, "save" if name.endswith(".keras") else "save_weights")(tmp_path / name)
        other = self.other()
        assert not np.array_equal(logits(other), logits(mobile))
        assert read_weights(other, tmp_path / name) == "all weights"
        np.testing.assert_array_equal(logits(other), logits(mobile))

    @pytest.mark.parametrize("name", ["whole.keras", "backbone.weights.h5", "backbone.h5"])
    def test_without_its_classes(self, mobile, tmp_path, name, recwarn):
        """As published for `include_top=False`, or of a network with other classes."""
        source = mobile if name.startswith("whole") else mobile.backbone()
        getattr(source, "save_weights" if ".weights" in name else "save")(tmp_path / name)
        recwarn.clear()  # Keras calls .h5 a legacy
        other = self.other(classes=7)
        head = other.get_layer("logits").get_weights()
        assert read_weights(other, tmp_path / name) == "all weights but those of the classes"
        for one, two in zip(other.backbone().weights, mobile.backbone().weights, strict=True):
            np.testing.assert_array_equal(one, two)
        for one, two in zip(other.get_layer("logits").get_weights(), head, strict=True):
            np.testing.assert_array_equal(one, two)

    @pytest.mark.parametrize("name", ["other.keras", "other.weights.h5", "text.h5", "text.keras"])
    def test_of_something_else(self, tmp_path, name):
        path = tmp_path / name
        if name.startswith("text"):
            path.write_text("no weights")
        else:
            source = ConvNetwork((32, 32, 1), 4)
            getattr(source, "save_weights" if ".weights" in name else "save")(path)
        model = self.other()
        before = model.get_weights()
        with pytest.raises(UsageError) as caught:
            read_weights(model, path)
        assert str(caught.value).endswith("which can't be read or is of another network")
        for one, two in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(one, two)

    def test_no_file(self, mobile, tmp_path):
        with pytest.raises(UsageError, match="which is none"):
            read_weights(mobile, tmp_path / "none.h5")


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_saved_and_loaded(tmp_path, dtype):
    for model in (
        ConvNetwork((32, 32, 1), 4, filters=(3,), dtype=dtype),
        ApplicationNetwork((32, 32, 1), 4, "MobileNetV3Small", dtype=dtype),
    ):
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert type(loaded) is type(model)
        assert loaded.get_config() == model.get_config()
        np.testing.assert_array_equal(logits(loaded), logits(model))
        assert loaded.classifier is loaded.classifier


def test_models_are_exported():
    assert {"ApplicationNetwork", "ConvNetwork"} <= set(models.__all__)
