"""CapsHead: its trunk is that of a block network, its head against a float64 forward pass."""

import numpy as np
import pytest

from tests import backend, reference
from tfcaps import models
from tfcaps.errors import UsageError

IMAGE = (12, 8, 2)
IMAGES = np.random.default_rng(0).uniform(size=(3, *IMAGE)).astype("float32")
TRUNK = {"blocks": (1, 2), "widths": (4, 6), "stem": "cifar"}
SIZES = {"layers": (3, 4), "dimensions": (2, 5)}


def network(**options) -> models.CapsHead:
    model = models.CapsHead(IMAGE, **{**SIZES, **TRUNK, **options})
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if "decoder" not in weight.path and "kernel" not in weight.path:
            weight.assign(weight + rng.uniform(0.1, 0.5, weight.shape))
    return model


def last_maps(model) -> np.ndarray:
    """The last feature map of a block network with the weights of the trunk."""
    blocks = models.BlockNetwork(IMAGE, 3, **TRUNK)
    own = {layer.name: layer for layer in model.layers}
    for layer in blocks.layers:
        if layer.name in own:
            layer.set_weights(own[layer.name].get_weights())
    return backend.numpy(blocks.inspector(IMAGES)["stage2_block2/output"])


@pytest.mark.parametrize("routing", ["rba", "em", "attention"])
def test_forward_pass(routing):
    model = network(routing=routing)
    primary = backend.weights(model.get_layer("primary_capsules"))
    maps = last_maps(model)
    assert maps.shape == (3, 6, 4, 6)  # the second stage halves the image
    # A 1×1 convolution: a product of the channels of each place.
    capsules = maps.astype("float64") @ primary["kernel"][0, 0] + primary["bias"]
    capsules = reference.squash(capsules.reshape(3, 6 * 4 * 3, 2))
    layer = model.get_layer("capsules_1")
    weights = {w.name: backend.numpy(w.value) for w in layer.weights}
    classes, _ = reference.dense_capsule(capsules, routing, **weights)
    found = model.inspector(IMAGES)["capsules"]
    np.testing.assert_allclose(backend.numpy(found["primary_capsules"]), capsules, atol=1e-5)
    np.testing.assert_allclose(backend.numpy(found["capsules_1"]), classes, atol=1e-5)
    np.testing.assert_allclose(
        backend.numpy(model.classifier(IMAGES)), reference.lengths(classes), atol=1e-5
    )


def test_defaults():
    model = models.CapsHead((32, 32, 3))
    assert (model.blocks, model.widths) == (((1,), (1,), (1,), (1,)), (64, 128, 256, 512))
    assert (model.stem, model.use_reconstruction) == ("pooled", False)
    capsules = model.inspector.output["capsules"]
    # 32×32 is 16×16 behind the stem, and 2×2 behind the fourth stage.
    assert capsules["primary_capsules"].shape == (None, 2 * 2 * 32, 8)
    assert capsules["capsules_1"].shape == (None, 10, 16)
    dense = models.BlockNetwork((32, 32, 3), 10, blocks=(1, 1, 1, 1), stem="pooled")
    # 512·256 + 256 of the primary capsules, 128·10·8·16 of the votes, 10·16 of the bias, instead
    # of 512·10 + 10 of a dense layer.
    own = 512 * 256 + 256 + 128 * 10 * 8 * 16 + 160
    assert model.count_params() - own == dense.count_params() - (512 * 10 + 10)


def test_with_a_decoder():
    model = network(use_reconstruction=True)
    assert model(IMAGES)["reconstruction"].shape == (3, *IMAGE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"blocks": (1,)}, r"as many widths as stages. Received: blocks=1, widths=4,6$"),
        ({"blocks": (0, 0)}, r"at least one block. Received: blocks=0,0$"),
        ({"widths": (4, 0)}, r"every entry of widths .* Received: 0$"),
        ({"stem": "wide"}, r"pooled.* Received: .?wide"),
    ],
)
def test_wrong_trunk(arguments, message):
    with pytest.raises(UsageError, match=message):
        network(**arguments)
