"""From a configuration to a compiled network."""

import keras
import numpy as np
import pytest

from tests import runs
from tfcaps import layers
from tfcaps.errors import UsageError
from tfcaps.models import CapsNet, ConvCapsNet

SHAPE = (20, 20, 1)


def build(**changes):
    return runs.config("x", **changes).task().network(SHAPE, 10)


def test_capsnet():
    model = build(layers=(2, 3, 10), dimensions=(4, 5, 6), use_reconstruction=True)
    assert isinstance(model, CapsNet)
    capsules = model.inspector.output["capsules"]
    # 20 → 12 by the stem → 2 by primary capsules: 2·2·2 capsules of dimension 4.
    assert {name: tensor.shape for name, tensor in capsules.items()} == {
        "primary_capsules": (None, 8, 4),
        "capsules_1": (None, 3, 5),
        "capsules_2": (None, 10, 6),
    }
    shapes = {name: tensor.shape for name, tensor in model.output.items()}
    assert shapes == {"lengths": (None, 10), "reconstruction": (None, *SHAPE)}


def test_conv_capsnet_with_label_mask():
    model = build(model="ConvCapsNet", mask="label", use_reconstruction=True)
    assert isinstance(model, ConvCapsNet)
    assert model.mask == "label"
    assert set(model.input) == {"image", "label"}


def test_without_decoder():
    assert build().decoder is None


@pytest.mark.parametrize("use_bias", [True, False])
def test_use_bias(use_bias):
    model = build(use_bias=use_bias)
    # The stem and primary capsules are convolutions, whose bias is another one.
    dense = [layer for layer in model.layers if layer.name in ("capsules_1", "capsules_2")]
    has_bias = ["bias" in [v.name for v in layer.trainable_variables] for layer in dense]
    assert has_bias == [use_bias, use_bias]


@pytest.mark.parametrize("model", ["CapsNet", "ConvCapsNet", "EfficientCapsNet", "CapsHead"])
@pytest.mark.parametrize("word", ["published", "normal"])
def test_published_votes(model, word):
    """N(0, 0.2) in each routed layer, not the same numbers in two; by its former name, too."""
    network = runs.config(
        "x", model=model, layers=(16, 10, 10), dimensions=(8, 8, 8), kernel_initializer=word
    )
    network = network.task().network((28, 28, 1), 10)
    kernels = [np.asarray(each.kernel) for each in network.layers if hasattr(each, "routing")]
    assert len(kernels) >= 2
    for kernel in kernels:
        assert kernel.std() == pytest.approx(0.2, rel=0.1)
    assert len({float(kernel.flat[0]) for kernel in kernels}) == len(kernels)


@pytest.mark.parametrize(
    ("skips", "additions", "gates"),
    [
        ({"make_skips": True, "skip_dist": 2}, 1, 1),
        ({"make_skips": True, "skip_dist": 2, "skip_kind": "published"}, 1, 0),
        ({"make_skips": False}, 0, 0),
    ],
)
def test_make_skips(skips, additions, gates):
    model = build(layers=(4, 4, 4, 4, 10), dimensions=(4, 4, 4, 4, 4), **skips)
    for kind, count in ((keras.layers.Add, additions), (layers.Gate, gates)):
        assert len([x for x in model.layers if isinstance(x, kind)]) == count


def test_only_networks_with_connections_have_their_kind():
    """Networks without them that were begun before there were kinds can be gone on with."""
    assert "skip_kind" not in runs.config("x", make_skips=False).settled()
    assert runs.config("x", make_skips=True).settled()["skip_kind"] == "gated"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"routing": "rba"}, {"iterations": 3}),
        ({"routing": "mean"}, {}),
        ({"routing": "sda", "scale": "batch"}, {"iterations": 3, "scale": "batch"}),
        (
            {
                "routing": "em",
                "em_cost": "published",
                "inverse_temperature": 0.5,
                "inverse_temperature_decay": 0.25,
            },
            {"iterations": 3, "inverse_temperature": 0.5, "inverse_temperature_decay": 0.25},
        ),
    ],
)
def test_routing_gets_its_arguments(changes, expected):
    model = build(iterations=3, **changes)
    for name in ("capsules_1", "capsules_2"):
        config = model.get_layer(name).routing.get_config()
        assert {key: config[key] for key in expected} == expected


def test_last_layer_is_no_class_count():
    with pytest.raises(UsageError) as caught:
        build(layers=(4, 4, 9))
    assert str(caught.value) == (
        "Expected the last entry of --layers to be 10, the number of classes of mnist5k. "
        "Received: 9"
    )


@pytest.mark.parametrize(
    ("model", "size", "smallest"), [("CapsNet", 16, 17), ("ConvCapsNet", 6, 7)]
)
def test_images_too_small_for_the_stem(model, size, smallest):
    with pytest.raises(UsageError) as caught:
        runs.config("x", model=model).task().network((size, size, 1), 10)
    assert f"at least {smallest}×{smallest} pixels" in str(caught.value)
    assert str(caught.value).endswith(f"Received: {size}×{size}")
    # One pixel more is enough.
    runs.config("x", model=model).task().network((smallest, smallest, 1), 10)


def compiled(**changes):
    task = runs.config("x", **changes).task()
    model = task.network(SHAPE, 10)
    task.compile(model, jit=False)
    return model


def test_losses_by_hand():
    model = compiled(use_reconstruction=True, reconstruction_weight=0.125)
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(3, *SHAPE)).astype("float32")
    labels = np.eye(10, dtype="float32")[[1, 1, 7]]
    outputs = model(images, training=False)
    lengths = np.asarray(outputs["lengths"], "float64")
    margin = labels * np.maximum(0, 0.9 - lengths) ** 2
    margin += 0.5 * (1 - labels) * np.maximum(0, lengths - 0.1) ** 2
    difference = np.asarray(outputs["reconstruction"], "float64") - images
    reconstruction = (difference**2).sum(axis=(1, 2, 3)).mean()

    found = model.evaluate(
        images, {"lengths": labels, "reconstruction": images}, verbose=0, return_dict=True
    )

    assert found["lengths_loss"] == pytest.approx(margin.sum(axis=1).mean(), rel=1e-5)
    assert found["reconstruction_loss"] == pytest.approx(reconstruction, rel=1e-5)
    total = margin.sum(axis=1).mean() + 0.125 * reconstruction
    assert found["loss"] == pytest.approx(total, rel=1e-5)
    accuracy = (lengths.argmax(axis=1) == [1, 1, 7]).mean()
    assert found["lengths_accuracy"] == pytest.approx(accuracy)


def test_optimizer():
    model = compiled(learning_rate=0.0625)
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    assert float(model.optimizer.learning_rate) == 0.0625


def test_a_restored_optimizer_is_kept():
    model = compiled()
    optimizer = keras.optimizers.Adam(0.5)
    runs.config("x").task().compile(model, jit=False, optimizer=optimizer)
    assert model.optimizer is optimizer


@pytest.mark.parametrize("enable", [True, False])
def test_enable_tf_function(enable):
    assert compiled(enable_tf_function=enable).run_eagerly is not enable


def test_jit():
    task = runs.config("x", jit="on").task()
    model = task.network(SHAPE, 10)
    for jit in (True, False):
        task.compile(model, jit=jit)
        assert model.jit_compile is jit
