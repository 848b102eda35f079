"""Bundle entropy of all kinds of models, layer by layer, against the slow grouping."""

import keras
import numpy as np
import pytest

from tests import backend
from tests.reference import slow_bundles
from tfcaps.errors import UsageError
from tfcaps.metrics import BundleEntropy, weight_amplitude
from tfcaps.metrics.fingerprints import Fingerprints
from tfcaps.models import BlockNetwork, CapsNet

RATE, BATCH = 0.05, 2
COUNT = 23  # no multiple of the probe's batches


@pytest.fixture
def probe():
    """Digits of two values, many of them twice, so that there are bundles of several labels."""
    rng = np.random.default_rng(4)
    patterns = rng.integers(0, 2, (9, 5, 5, 1)).astype("float32")
    return patterns[rng.integers(0, 9, COUNT)], rng.integers(0, 3, COUNT)


@keras.saving.register_keras_serializable(package="tests")
class TwoOutputs(keras.layers.Layer):
    """A block that names its outputs."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(4, name="inner")

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, inputs):
        branch = self.dense(inputs)
        return {"branch": branch, "output": keras.ops.relu(branch)}


class Subclassed(keras.Model):
    """Layers in attributes and in a list, one of them called twice."""

    def __init__(self):
        super().__init__()
        self.flatten = keras.layers.Flatten()
        self.blocks = [TwoOutputs(name="first"), TwoOutputs(name="second")]
        self.twice = keras.layers.Dense(4, name="twice")

    def call(self, inputs, training=None):
        x = self.flatten(inputs)
        for block in self.blocks:
            x = block(x)["output"]
        return self.twice(self.twice(x))


def sequential():
    return keras.Sequential(
        [
            keras.Input((5, 5, 1)),
            keras.layers.Conv2D(3, 3, activation="relu", name="conv"),
            keras.layers.Flatten(),
            keras.layers.Dense(2, activation="relu", name="narrow"),
        ]
    )


def nested():
    images = keras.Input((5, 5, 1))
    return keras.Model(images, keras.layers.Dense(3, name="top")(sequential()(images)))


def subclassed():
    model = Subclassed()
    model(np.zeros((1, 5, 5, 1), "float32"))
    return model


def expected(model, outputs, labels):
    """By the slow grouping, from activations that are all there at once."""
    amplitude = max(np.abs(np.asarray(w)).max() for w in model.trainable_weights)
    return {
        name: slow_bundles(
            np.asarray(output),
            labels,
            learning_rate=RATE,
            batch_size=BATCH,
            amplitude=amplitude,
        )
        for name, output in outputs.items()
    }


def measured(model, probe, layers=None, **arguments):
    arguments = {"learning_rate": RATE, "batch_size": BATCH, "probe_batch_size": 8, **arguments}
    return BundleEntropy(model, layers, **arguments)(*probe)


def assert_same(found, wanted):
    assert list(found) == list(wanted)
    for name, (number, entropy) in wanted.items():
        assert found[name].number == number, name
        assert found[name].entropy == pytest.approx(entropy, abs=1e-6), name


def test_a_sequential_model(probe):
    model = sequential()
    images, labels = probe
    conv = model.get_layer("conv")(images)
    outputs = {"conv": conv, "narrow": model(images)}
    wanted = expected(model, outputs, labels)
    assert_same(measured(model, probe), wanted)
    assert any(entropy > 0 for _, entropy in wanted.values())


def test_a_model_in_a_model(probe):
    model = nested()
    inner = next(layer for layer in model.layers if isinstance(layer, keras.Sequential))
    outputs = {"narrow": inner(probe[0]), "top": model(probe[0])}
    assert_same(measured(model, probe, ["narrow", "top"]), expected(model, outputs, probe[1]))


def test_named_outputs_of_a_subclassed_model(probe):
    model = subclassed()
    flat = probe[0].reshape(COUNT, -1)
    first = model.blocks[0](flat)
    second = model.blocks[1](first["output"])
    outputs = {"first/branch": first["branch"], "second/output": second["output"]}
    assert_same(measured(model, probe, list(outputs)), expected(model, outputs, probe[1]))
    both = {f"first/{key}": first[key] for key in ("branch", "output")}
    assert_same(measured(model, probe, [model.blocks[0]]), expected(model, both, probe[1]))


def test_a_layer_that_is_called_twice(probe):
    model = subclassed()
    found = measured(model, probe, ["twice"])
    assert list(found) == ["twice/0", "twice/1"]
    # It leaves no trace in the model.
    assert "call" not in vars(model.twice)


@pytest.mark.parametrize("kind", ["vgg", "resnet", "fnn"])
def test_block_networks(probe, kind):
    blocks, widths = ((3,), (2,)) if kind == "fnn" else ((1, 2), (2, 3))
    model = BlockNetwork((5, 5, 1), 3, kind, blocks, widths, "cifar")
    outputs = model.inspector(probe[0], training=False)
    assert_same(measured(model, probe), expected(model, outputs, probe[1]))


@pytest.mark.parametrize("mask", ["none", "label"])
def test_capsule_networks(mask):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 2, (4, 17, 17, 1)).astype("float32")[rng.integers(0, 4, COUNT)]
    labels = rng.integers(0, 3, COUNT)
    model = CapsNet((17, 17, 1), (2, 2, 3), (2, 2, 2), mask=mask)
    outputs = model.inspector(images)["capsules"]
    assert_same(measured(model, (images, labels)), expected(model, outputs, labels))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_the_variables_dtype_decides(probe, policy):
    if policy == "float64" and keras.backend.backend() == "jax":
        policy = "float32"  # JAX has no float64 unless it is told so
    model = BlockNetwork((5, 5, 1), 3, "vgg", (1,), (2,), "cifar", dtype=policy)
    number = "float64" if policy == "float64" else "float32"
    outputs = {
        name: backend.numpy(output).astype(number)
        for name, output in model.inspector(probe[0], training=False).items()
    }
    assert_same(measured(model, probe), expected(model, outputs, probe[1]))


def test_the_learning_rate_of_the_optimizer(probe):
    model = sequential()
    model.compile(keras.optimizers.SGD(RATE))
    assert measured(model, probe, learning_rate=None) == measured(model, probe)
    model.optimizer.learning_rate = 1e-30
    assert measured(model, probe, ["conv"], learning_rate=None)["conv"].number == 1


def test_the_probes_batches_change_nothing(probe):
    model = sequential()
    assert all(
        measured(model, probe, probe_batch_size=size) == measured(model, probe)
        for size in (1, 23, 100)
    )


def test_training_is_not_touched(probe):
    model = BlockNetwork((5, 5, 1), 3, "resnet", (1,), (2,), "cifar")
    before = model.get_weights()
    measured(model, probe)
    for one, two in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_amplitude():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2), keras.layers.Dense(1)])
    weights = ([[1.0, -7.0]], [0.0, 2.0], [[9.0], [0.5]], [0.0])
    model.set_weights([np.array(weight) for weight in weights])
    assert weight_amplitude(model) == 9.0
    model.layers[1].trainable = False
    assert weight_amplitude(model) == 7.0


class TestFingerprints:
    """Rows that simple sums and exclusive ors can't tell apart."""

    def distinct(self, rows):
        hashes = np.asarray(Fingerprints()(keras.ops.convert_to_tensor(rows)))
        return len(np.unique(hashes, axis=0))

    def test_permutations(self):
        rows = np.stack([np.roll(np.arange(12, dtype="float32"), shift) for shift in range(12)])
        assert self.distinct(rows) == 12

    def test_one_bit(self):
        bits = np.zeros((33, 7), "int32")
        for row in range(1, 33):
            bits[row, row % 7] = np.int64(1 << (row - 1)).astype("uint32").astype("int32")
        assert self.distinct(bits.view("float32")) == 33

    def test_differences_that_cancel(self):
        rows = np.zeros((64, 64), "float32")
        rows[np.arange(64), np.arange(64)] = 1.0
        rows[np.arange(64), (np.arange(64) + 1) % 64] = -1.0
        assert self.distinct(rows) == 64

    def test_many_rows(self):
        values = np.random.default_rng(0).integers(0, 2, (5000, 20))
        assert self.distinct(values.astype("float32")) == len(np.unique(values, axis=0))

    def test_equal_rows(self):
        assert self.distinct(np.ones((9, 5), "float32")) == 1

    def test_keys_are_random_and_stay(self):
        one, two = Fingerprints(), Fingerprints()
        keys = one.keys(5).copy()
        np.testing.assert_array_equal(one.keys(50)[:, :5], keys)
        assert not np.array_equal(two.keys(5), keys)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_names_the_layer(probe, value):
    model = keras.Sequential(
        [keras.Input((5, 5, 1)), keras.layers.Conv2D(2, 3, name="conv"), keras.layers.Flatten()]
    )
    images = probe[0].copy()
    images[20, 2, 2] = value
    with pytest.raises(UsageError, match=r"Received: NaN or infinity in layer conv$"):
        measured(model, (images, probe[1]))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["missing"], "Expected a layer among .*narrow.* Received: missing"),
        (["conv/branch"], "with such an output. Received: conv/branch"),
    ],
)
def test_layers_that_are_not_there(probe, layers, message):
    with pytest.raises(UsageError, match=message):
        measured(sequential(), probe, layers)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size > 0. Received: 0"),
        ({"learning_rate": -1.0}, "learning_rate > 0. Received: -1.0"),
        ({"probe_batch_size": 0}, "probe_batch_size >= 1. Received: 0"),
        ({"learning_rate": None}, "a learning_rate, or a compiled model"),
        ({"num_classes": 2}, "< 2, the number of classes. Received: 2"),
    ],
)
def test_wrong_arguments(probe, changes, message):
    with pytest.raises(UsageError, match=message):
        measured(sequential(), probe, **changes)


def test_an_empty_probe_set():
    with pytest.raises(UsageError, match=r"at least one sample\. Received: none"):
        measured(sequential(), (np.zeros((0, 5, 5, 1), "float32"), np.zeros(0, "int64")))


def test_a_model_without_weights(probe):
    model = keras.Sequential([keras.Input((5, 5, 1)), keras.layers.Flatten(name="flat")])
    with pytest.raises(UsageError, match="Expected a model with trainable weights"):
        measured(model, probe, ["flat"])
