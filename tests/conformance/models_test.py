"""What every network does: it shows its arguments, gives the same parts, saves and loads."""

import inspect

import keras
import numpy as np
import pytest

from tests import backend
from tfcaps import models

SHAPE = (18, 18, 1)
CAPSULES = {"layers": (2, 3), "dimensions": (3, 4)}
CASES = {
    "CapsNet": lambda: models.CapsNet(SHAPE, **CAPSULES, skip_distance=2, mask="label"),
    "ConvCapsNet": lambda: models.ConvCapsNet(SHAPE, **CAPSULES, routing="em", use_bias=False),
    "EfficientCapsNet": lambda: models.EfficientCapsNet(
        (28, 28, 1), (16, 3), (8, 4), routing="attention", use_reconstruction=False
    ),
    "CapsHead": lambda: models.CapsHead(
        SHAPE, **CAPSULES, routing="em", blocks=((2,), (1,)), widths=(2, 4), use_reconstruction=True
    ),
    "BlockNetwork": lambda: models.BlockNetwork(
        SHAPE, 3, blocks=((1, 3), (2,)), widths=(2, 4), stem="cifar"
    ),
    "ConvNetwork": lambda: models.ConvNetwork(SHAPE, 3, filters=(2,)),
    "LeNet": lambda: models.LeNet(SHAPE, 3),
    "ApplicationNetwork": lambda: models.ApplicationNetwork((32, 32, 1), 3, "MobileNetV3Small"),
}
# Keras has attributes of these names itself.
SHOWN_AS = {"input_shape": "image_shape", "layers": "capsules", "dtype": None, "name": None}
BASES = {models.CapsuleNetwork, models.ImageClassifier, models.ImageModel}
# Around an encoder of another package: models/text_encoder_test.py, models/vision_encoder_test.py.
AROUND_OTHERS = {models.TextClassifier, models.ViTClassifier}


@pytest.fixture(scope="module", params=CASES)
def model(request):
    keras.utils.set_random_seed(0)
    return CASES[request.param]()


def test_every_network_is_here():
    public = {
        cls
        for cls in (getattr(models, name) for name in models.__all__)
        if isinstance(cls, type) and issubclass(cls, keras.Model)
    }
    assert {cls.__name__ for cls in public - BASES - AROUND_OTHERS} == set(CASES)


def test_arguments_are_attributes(model):
    config = model.get_config()
    # The base class of capsule networks has the arguments that are common to all of them.
    bases = [models.CapsuleNetwork] if isinstance(model, models.CapsuleNetwork) else []
    named = {
        name
        for cls in (type(model), *bases)
        for name, parameter in inspect.signature(cls.__init__).parameters.items()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }
    assert set(config) == named - {"self"}
    for name, value in config.items():
        shown = SHOWN_AS.get(name, name)
        if shown is not None:
            assert getattr(model, shown) == value, name


def test_parts_are_the_same_each_time(model):
    parts = ["classifier"]
    if isinstance(model, models.CapsuleNetwork):
        parts += ["decoder", "inspector", "reconstructor"]
    if isinstance(model, models.BlockNetwork):
        parts += ["inspector", "lesionable"]
    for part in parts:
        assert getattr(model, part) is getattr(model, part), part


def test_saved_and_loaded(model, tmp_path):
    images = np.random.default_rng(0).random((2, *model.image_shape)).astype("float32")
    expected = backend.numpy(model.classifier(images))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model)
    assert loaded.get_config() == model.get_config()
    np.testing.assert_allclose(backend.numpy(loaded.classifier(images)), expected, atol=1e-6)


def test_no_images(model):
    """Outputs have the shapes that they have for some images."""
    none = np.zeros((0, *model.image_shape), "float32")
    some = model(np.zeros((2, *model.image_shape), "float32"))
    expected = keras.tree.map_structure(lambda tensor: (0, *tensor.shape[1:]), some)
    for outputs in (model(none), model.predict(none), model.predict_on_batch(none)):
        assert keras.tree.map_structure(lambda tensor: tuple(tensor.shape), outputs) == expected


def test_no_images_after_some(model):
    """The step that Keras has traced for batches of several sizes takes none, too."""
    for count in (2, 3, 0):
        outputs = model.predict_on_batch(np.zeros((count, *model.image_shape), "float32"))
        assert {len(output) for output in keras.tree.flatten(outputs)} == {count}
