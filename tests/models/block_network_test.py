"""Block networks against a float64 forward pass with their weights, and against each other."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import backend, reference
from tests.layers.plain_block_test import branch, normalized
from tests.layers.residual_block_test import shortcut
from tfcaps.errors import UsageError
from tfcaps.models.block_names import block_counts
from tfcaps.models.block_network import (
    BlockNetwork,
    count_flops,
    gaussian_branches,
    zero_branches,
)

ROOT = pathlib.Path(__file__).parents[2]
IMAGE = (9, 8, 3)
IMAGES = np.random.default_rng(0).normal(size=(4, *IMAGE)).astype("float32")
CLASSES = 5


def network(kind="resnet", blocks=(2, 2), widths=(4, 6), *, image=IMAGE, seed=1, **arguments):
    """A network whose weights and moving moments are all at random."""
    model = BlockNetwork(image, CLASSES, kind, blocks=blocks, widths=widths, **arguments)
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "variance" in weight.path or "gamma" in weight.path:
            weight.assign(rng.uniform(0.5, 1.5, size=weight.shape))
        elif "kernel" not in weight.path:
            weight.assign(rng.normal(scale=0.3, size=weight.shape))
    return model


def inherit(child, parent):
    """Gives a network the weights of the layers that another one has, too."""
    layers = {layer.name: layer for layer in parent.layers}
    for layer in child.layers:
        if layer.name in layers:
            layer.set_weights(layers[layer.name].get_weights())


def largest_pooled(x):
    """3×3 windows, 2 apart, as many as there are pairs of pixels."""
    height, width = (-(-size // 2) for size in x.shape[1:3])
    # A pixel before and one after, or, for an even size, just the one after.
    before = [size % 2 for size in x.shape[1:3]]
    x = np.pad(x, [(0, 0), *((b, 3) for b in before), (0, 0)], constant_values=-np.inf)
    rows = [
        [x[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max(axis=(1, 2)) for j in range(width)]
        for i in range(height)
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def forward(model, images, *, strides, pooled=False, removed=()):
    """Outputs of all blocks, and logits; `strides` are those of the stem."""
    x = images.astype("float64")
    kernel = backend.weights(model.get_layer("stem_conv"))["kernel"]
    x = reference.convolution(x, kernel, strides=strides, padding="same")
    x = np.maximum(normalized(x, model.get_layer("stem_bn")), 0.0)
    x = largest_pooled(x) if pooled else x
    outputs = {}
    for name in model.block_names:
        block = model.get_layer(name)
        inner = 0.0 if name in removed else branch(block, x)
        if name in model.residual_blocks:
            inner = inner + shortcut(block, x)
        x = outputs[name] = np.maximum(inner, 0.0)
    dense = backend.weights(model.get_layer("logits"))
    return outputs, x.mean(axis=(1, 2)) @ dense["kernel"] + dense["bias"]


def assert_close(actual, expected, tolerance=1e-4):
    np.testing.assert_allclose(backend.numpy(actual), expected, rtol=tolerance, atol=tolerance)


def softmax(logits):
    return reference.softmax(logits, axis=-1)


class TestForwardPass:
    @pytest.mark.parametrize("kind", ["vgg", "resnet"])
    @pytest.mark.parametrize(("stem", "strides"), [("imagenet", 2), ("cifar", 1)])
    def test_convolutional(self, kind, stem, strides):
        model = network(kind, blocks=(1, 2, 1), widths=(4, 6, 6), stem=stem)
        outputs, logits = forward(model, IMAGES, strides=strides)
        sizes = [tuple(output.shape[1:3]) for output in outputs.values()]
        assert (
            sizes
            == {
                "imagenet": [(5, 4), (3, 2), (3, 2), (2, 1)],
                "cifar": [(9, 8), (5, 4), (5, 4), (3, 2)],
            }[stem]
        )
        taps = model.inspector(IMAGES)
        suffix = "/output" if kind == "resnet" else ""
        for name, expected in outputs.items():
            assert_close(taps[name + suffix], expected)
        assert_close(model(IMAGES), logits)
        assert_close(model.classifier(IMAGES), softmax(logits))

    def test_fully_connected(self):
        model = network("fnn", blocks=(2,), widths=(7,))
        x = IMAGES.astype("float64").reshape((len(IMAGES), -1))
        taps = model.inspector(IMAGES)
        assert list(taps) == ["stage1_block1", "stage1_block2"]
        for name, tap in taps.items():
            weights = backend.weights(model.get_layer(name))
            x = np.maximum(x @ weights["kernel"] + weights["bias"], 0.0)
            assert_close(tap, x)
        dense = backend.weights(model.get_layer("logits"))
        assert_close(model(IMAGES), x @ dense["kernel"] + dense["bias"])

    def test_deep_stem(self):
        """Convolution, normalisation, ReLU; convolution, pooling, normalisation, ReLU."""
        model = network("resnet", blocks=(1, 1), widths=(4, 6), stem="deep")
        first, second = (
            backend.weights(model.get_layer(f"{name}_conv"))["kernel"] for name in ("stem1", "stem")
        )
        assert first.shape[-1] == 2 and second.shape[2:] == (2, 4)
        x = reference.convolution(IMAGES.astype("float64"), first, padding="same")
        x = np.maximum(normalized(x, model.get_layer("stem1_bn")), 0.0)
        x = reference.convolution(x, second, padding="same")
        x = np.pad(x, [(0, 0), (0, 1), (0, 0), (0, 0)], constant_values=-np.inf)
        x = np.max([x[:, i::2, j::2] for i in range(2) for j in range(2)], axis=0)
        x = np.maximum(normalized(x, model.get_layer("stem_bn")), 0.0)
        stem = keras.Model(model.input, model.get_layer("stem_relu").output)
        np.testing.assert_allclose(backend.numpy(stem(IMAGES)), x, rtol=1e-4, atol=1e-5)

    def test_pooled_stem(self):
        """The largest of each 2×2 places of the stem's map; the last ones stand alone."""
        model = network("resnet", blocks=(1, 1), widths=(4, 6), stem="pooled")
        plain = network("resnet", blocks=(1, 1), widths=(4, 6), stem="cifar")
        plain.set_weights(model.get_weights())
        stem = keras.Model(plain.input, plain.get_layer("stem_relu").output)
        maps = np.pad(backend.numpy(stem(IMAGES)), [(0, 0), (0, 1), (0, 0), (0, 0)])
        largest = maps.reshape(len(maps), 5, 2, 4, 2, -1).max(axis=(2, 4))
        pooled = keras.Model(model.input, model.get_layer("stem_pooling").output)
        assert_close(pooled(IMAGES), largest)
        assert model.stem == "pooled"

    @pytest.mark.parametrize(("width", "pooled"), [(50, False), (51, True)])
    def test_wide_images_are_pooled(self, width, pooled):
        images = np.random.default_rng(0).normal(size=(2, 6, width, 1)).astype("float32")
        model = network("vgg", (1,), (3,), image=images.shape[1:])
        outputs, logits = forward(model, images, strides=2, pooled=pooled)
        assert outputs["stage1_block1"].shape[2] == (13 if pooled else 25)
        assert_close(model(images), logits)

    def test_smallest_image(self):
        images = np.ones((2, 1, 1, 1), "float32")
        for kind in ("fnn", "vgg", "resnet"):
            model = network(kind, (1, 1, 1, 1), (2, 2, 2, 2), image=(1, 1, 1))
            assert np.all(np.isfinite(backend.numpy(model(images))))


class TestArchitecture:
    def test_names_and_numbers_of_blocks(self):
        model = network(blocks=((7, 2), 0, (12, 1, 3)), widths=(4, 6, 4))
        names = ("stage1_block7", "stage1_block2")
        names += ("stage3_block12", "stage3_block1", "stage3_block3")
        assert model.block_names == model.residual_blocks == names
        # The third one halves the maps; its stage needs as many channels as there are.
        assert model.identity_blocks == (*names[:2], *names[3:])
        assert model.get_layer("stage3_block12").strides == 2
        expected = [f"{name}/{tap}" for name in names for tap in ("branch", "output")]
        assert list(model.inspector(IMAGES)) == expected
        assert model.get_config()["blocks"] == ((7, 2), (), (12, 1, 3))

    def test_first_block_that_is_left_has_the_stride(self):
        model = network(blocks=(1, (2, 3)))
        assert model.get_layer("stage2_block2").strides == 2
        assert model.identity_blocks == ("stage1_block1", "stage2_block3")

    def test_plain_networks_have_no_branches(self):
        for kind in ("fnn", "vgg"):
            assert network(kind).residual_blocks == network(kind).identity_blocks == ()

    @pytest.mark.parametrize("num_layers", [4, 10, 20, 30, 50, 76, 100, 120])
    def test_named_depths(self, num_layers):
        """Two convolutions a block, the stem's, and the dense layer."""
        counts = block_counts(num_layers)
        assert len(counts) == 4
        assert 2 * sum(counts) + 2 == num_layers

    @pytest.mark.parametrize(
        ("kind", "parameters"),
        [
            # 7·7·3·4 + 4·4 · 2·(3·3·4·4 + 4·4) · 3·3·4·6 + 3·3·6·6 + 2·4·6 · 6·5 + 5
            ("vgg", 604 + 320 + 588 + 35),
            ("resnet", 604 + 320 + 588 + 35 + (4 * 6 + 4 * 6)),
        ],
    )
    def test_parameters(self, kind, parameters):
        assert network(kind, blocks=(1, 1)).count_params() == parameters

    def test_parameters_of_a_known_network(self):
        """ResNet-18 for 1000 classes, as it is published everywhere."""
        model = BlockNetwork((224, 224, 3), 1000, blocks=(2, 2, 2, 2))
        assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == 11_689_512
        assert count_flops(model) == pytest.approx(2 * 1.814e9, rel=1e-3)

    @pytest.mark.parametrize(
        ("kind", "multiply_accumulates"),
        [
            # The stem's 5×4 map, 5×4 and 3×2 of the stages
            ("vgg", 20 * 588 + 20 * 2 * 144 + 6 * (216 + 324) + 30),
            ("resnet", 20 * 588 + 20 * 2 * 144 + 6 * (216 + 324 + 24) + 30),
            ("fnn", 9 * 8 * 3 * 4 + 4 * 6 + 6 * 5),
        ],
    )
    def test_flops(self, kind, multiply_accumulates):
        assert count_flops(network(kind, blocks=(1, 1))) == 2 * multiply_accumulates


def in_graph(function):
    return tf.function(function)


def in_xla(function):
    return tf.function(function, jit_compile=True)


each_compiler = pytest.mark.parametrize("compiler", [lambda f: f, in_graph, in_xla])


class TestIdentity:
    """Bit for bit."""

    @each_compiler
    def test_zeroed_blocks_change_nothing(self, compiler):
        parent = network(blocks=(1, (1, 2)))
        child = network(blocks=((4, 1, 3), (1, 2, 9)), seed=2)
        inherit(child, parent)
        before = compiler(parent)(IMAGES).numpy()
        assert np.any(compiler(child)(IMAGES).numpy() != before)
        zero_branches(child, ["stage1_block4", "stage1_block3", "stage2_block9"])
        assert np.max(np.abs(compiler(child)(IMAGES).numpy() - before)) == 0.0

    @pytest.mark.parametrize(
        ("compiler", "tolerance"),
        # TensorFlow fuses a convolution with what follows it, and the factor may stand between.
        [(lambda f: f, 0.0), (in_graph, 1e-5), (in_xla, 1e-5)],
    )
    def test_removed_blocks(self, compiler, tolerance):
        whole = network(blocks=(3, (1, 2)))
        smaller = network(blocks=((1, 3), 1), seed=2)
        inherit(smaller, whole)
        keep = np.ones((len(IMAGES), 5), "float32")
        lesionable = compiler(whole.lesionable)
        for model in (whole, smaller):
            difference = lesionable({"image": IMAGES, "keep": keep}) - compiler(model)(IMAGES)
            assert np.max(np.abs(difference)) <= tolerance
            keep[:, [1, 4]] = 0.0

    def test_each_image_has_its_own_factors(self):
        model = network()
        keep = np.array([[1, 1, 1, 1], [0, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]], "float32")
        logits = model.lesionable({"image": IMAGES, "keep": keep}).numpy()
        for row in range(4):
            removed = [model.residual_blocks[i] for i in np.flatnonzero(keep[row] == 0)]
            _, expected = forward(model, IMAGES[row : row + 1], strides=2, removed=removed)
            assert_close(logits[row : row + 1], expected)

    def test_gaussian_branches(self):
        model = network(blocks=(40, 1), widths=(16, 4))
        names = [name for name in model.identity_blocks if name != "stage1_block2"]
        before = backend.weights(model.get_layer("stage1_block2").bn2)
        drawn = []
        for _ in range(2):
            gaussian_branches(model, names, seed=3, stddev=0.5)
            drawn.append([backend.weights(model.get_layer(name).bn2) for name in names])
        gammas, again = (np.array([w["gamma"] for w in weights]) for weights in drawn)
        np.testing.assert_array_equal(gammas, again)
        assert len(np.unique(gammas)) == gammas.size
        assert np.std(gammas) == pytest.approx(0.5, rel=0.15)
        assert not np.any([w["beta"] for w in drawn[0]])
        after = backend.weights(model.get_layer("stage1_block2").bn2)
        np.testing.assert_array_equal(after["gamma"], before["gamma"])

    @pytest.mark.parametrize("name", ["stage2_block1", "stage1_block3", "stem_bn"])
    def test_what_cannot_be_an_identity(self, name):
        model = network()
        before = model.get_weights()
        sentence = f"stage1_block1, stage1_block2, stage2_block2. Received: {name}"
        with pytest.raises(UsageError, match=sentence):
            zero_branches(model, ["stage1_block1", name])
        with pytest.raises(UsageError, match=sentence):
            gaussian_branches(model, [name], seed=0)
        for one, two in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(one, two)


class TestPrecision:
    def test_double(self):
        model = network(dtype="float64")
        assert model(IMAGES).dtype == "float64"
        _, logits = forward_in_double(model)
        np.testing.assert_allclose(model(IMAGES).numpy(), logits, rtol=0, atol=1e-10)

    @pytest.mark.parametrize(
        ("dtype", "rounding"), [("mixed_float16", 1e-3), ("mixed_bfloat16", 8e-3)]
    )
    @pytest.mark.parametrize("kind", ["fnn", "vgg", "resnet"])
    def test_mixed(self, kind, dtype, rounding):
        single, half = network(kind), network(kind, dtype=dtype)
        half.set_weights(single.get_weights())
        assert all(weight.dtype == "float32" for weight in half.weights)
        keep = np.ones((len(IMAGES), len(half.residual_blocks)), "float32")
        outputs = [half(IMAGES), half.classifier(IMAGES)]
        if kind == "resnet":
            outputs.append(half.lesionable({"image": IMAGES, "keep": keep}))
        assert [output.dtype for output in outputs] == ["float32"] * len(outputs)
        expected = single(IMAGES).numpy()
        # A dozen roundings, one after the other.
        assert_close(outputs[0], expected, 12 * rounding * max(1.0, np.abs(expected).max()))
        block = half.get_layer("stage1_block1")
        assert block.compute_dtype == dtype.removeprefix("mixed_")


def forward_in_double(model):
    # backend.numpy goes through float32; weights that it can hold make that exact.
    model.set_weights([weight.astype("float32") for weight in model.get_weights()])
    return forward(model, IMAGES, strides=2)


class TestSaving:
    @pytest.mark.parametrize("kind", ["fnn", "vgg", "resnet"])
    def test_config(self, kind):
        model = network(kind, blocks=((2, 5), 1), name="some_name", dtype="mixed_bfloat16")
        config = json.loads(json.dumps(model.get_config()))
        copy = BlockNetwork.from_config(config)
        assert copy.get_config() == model.get_config()
        assert [w.path for w in copy.weights] == [w.path for w in model.weights]

    @pytest.mark.parametrize("kind", ["fnn", "vgg", "resnet"])
    def test_file(self, kind, tmp_path):
        model = network(kind, blocks=((2, 5), 1))
        model.inspector  # noqa: B018  what was asked for isn't saved twice
        if model.residual_blocks:
            model.lesionable  # noqa: B018
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert isinstance(loaded, BlockNetwork)
        assert loaded.get_config() == model.get_config()
        np.testing.assert_array_equal(loaded(IMAGES).numpy(), model(IMAGES).numpy())
        for name, tap in model.inspector(IMAGES).items():
            np.testing.assert_array_equal(loaded.inspector(IMAGES)[name].numpy(), tap.numpy())

    def test_graphs_share_their_weights(self):
        model = network()
        count = len(model.weights)
        graphs = [model.classifier, model.inspector, model.lesionable]
        assert len(model.weights) == count
        model.get_layer("stage1_block1").bn2.beta.assign([9.0, 9.0, 9.0, 9.0])
        keep = np.ones((len(IMAGES), 4), "float32")
        assert_close(graphs[0](IMAGES), softmax(model(IMAGES).numpy()))
        assert_close(graphs[1](IMAGES)["stage1_block1/branch"], _measured(model))
        assert_close(graphs[2]({"image": IMAGES, "keep": keep}), model(IMAGES).numpy())


def _measured(model):
    block = model.get_layer("stage1_block1")
    x = reference.convolution(
        IMAGES.astype("float64"),
        backend.weights(model.get_layer("stem_conv"))["kernel"],
        strides=2,
        padding="same",
    )
    x = branch(block, np.maximum(normalized(x, model.get_layer("stem_bn")), 0.0))
    for bn in (block.bn1, block.bn2):
        x = x / np.sqrt(backend.weights(bn)["moving_variance"] + 1e-6)
    return x


@pytest.mark.parametrize(("kind", "jit"), [("vgg", False), ("resnet", False), ("resnet", True)])
def test_training(kind, jit):
    keras.utils.set_random_seed(0)
    model = BlockNetwork(IMAGE, 2, kind, blocks=(1, 1), widths=(4, 4))
    model.compile(
        optimizer=keras.optimizers.Adam(0.02),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit,
    )
    before = {w.path: w.numpy() for w in model.weights}
    labels = np.array([0, 1, 1, 0])
    losses = model.fit(IMAGES, labels, batch_size=4, epochs=12, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    assert [path for path, value in before.items() if _equal(model, path, value)] == []


def _equal(model, path, value):
    (weight,) = (w for w in model.weights if w.path == path)
    return np.array_equal(weight.numpy(), value)


ON_JAX = """
import sys
import keras, numpy as np
from tfcaps.models.block_network import BlockNetwork
assert keras.backend.backend() == "jax"
folder = sys.argv[1]
model = keras.models.load_model(folder + "/model.keras")
inputs = dict(np.load(folder + "/inputs.npz"))
logits = model.predict(inputs["image"], verbose=0)
lesioned = model.lesionable.predict(inputs, verbose=0)
branch = model.inspector.predict(inputs["image"], verbose=0)["stage2_block1/branch"]
np.savez(folder + "/outputs.npz", logits=logits, lesioned=lesioned, branch=branch)
model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
loss = model.fit(inputs["image"], np.zeros(len(logits)), verbose=0).history["loss"][0]
assert np.isfinite(loss)
"""


def test_on_jax(tmp_path):
    model = network(blocks=(1, 1))
    keep = np.tile(np.float32([0, 1]), (len(IMAGES), 1))
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "inputs.npz", image=IMAGES, keep=keep)
    environment = {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # most of the time goes into compiling
        "PYTHONPATH": str(ROOT),
    }
    subprocess.run(
        [sys.executable, "-c", ON_JAX, str(tmp_path)], env={**os.environ, **environment}, check=True
    )
    outputs = np.load(tmp_path / "outputs.npz")
    assert_close(outputs["logits"], model(IMAGES).numpy())
    assert_close(outputs["lesioned"], model.lesionable({"image": IMAGES, "keep": keep}).numpy())
    assert_close(outputs["branch"], model.inspector(IMAGES)["stage2_block1/branch"].numpy())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"blocks": (0, 0, 0, 0), "widths": (4,) * 4}, "one block. Received: blocks=0,0,0,0"),
        ({"blocks": ()}, "one block. Received: blocks="),
        ({"blocks": (2, -1)}, "blocks to be >= 0. Received: -1"),
        ({"blocks": (2, 1.5)}, "blocks to be >= 0. Received: 1.5"),
        ({"blocks": (2, True)}, "blocks to be >= 0. Received: True"),
        ({"blocks": (2, "11")}, "blocks to be >= 0. Received: '11'"),
        ({"blocks": ((1, 2, 1), 1)}, r"distinct numbers.*Received: \(1, 2, 1\)"),
        ({"blocks": ((0, 1), 1)}, "number of a block to be a positive integer. Received: 0"),
        ({"blocks": (1, 2, 3)}, "widths as stages. Received: blocks=1,2,3, widths=4,6"),
        ({"widths": (4, -6)}, "widths to be a positive integer. Received: -6"),
        ({"widths": (4, 0)}, "widths to be a positive integer. Received: 0"),
        ({"kind": "densenet"}, "fnn, vgg, resnet. Received: 'densenet'"),
        ({"stem": "none"}, "imagenet, cifar, pooled, deep. Received: 'none'"),
        ({"num_classes": 0}, "num_classes to be a positive integer. Received: 0"),
        ({"input_shape": (8, 8)}, r"\(H, W, C\). Received: \(8, 8\)"),
        ({"input_shape": (8, 0, 3)}, "size of an image to be a positive integer. Received: 0"),
        (
            {"input_shape": (8, None, 3)},
            "size of an image to be a positive integer. Received: None",
        ),
    ],
    ids=str,
)
def test_bad_argument(arguments, sentence):
    good = {"input_shape": IMAGE, "num_classes": CLASSES, "blocks": (1, 1), "widths": (4, 6)}
    with pytest.raises(UsageError, match=sentence):
        BlockNetwork(**{**good, **arguments})


def test_depth_without_a_name():
    with pytest.raises(UsageError, match=r"76, 100, 120\. Received: 18"):
        block_counts(18)
