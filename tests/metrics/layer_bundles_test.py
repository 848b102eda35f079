"""Bundle entropy of all kinds of models, layer by layer, against the slow grouping."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays

from tests import backend
from tests.reference import slow_bundles
from tfcaps.errors import UsageError
from tfcaps.metrics import BundleEntropy, bundle_entropy, weight_amplitude
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


def test_what_a_model_is_made_of_is_measured(probe):
    """Layers with weights, also of models inside, but not what a layer is made of in turn."""
    assert list(measured(nested(), probe)) == ["conv", "narrow", "top"]
    found = list(measured(subclassed(), probe))
    assert found == [
        *("first/branch", "first/output", "second/branch", "second/output"),
        *("twice/0", "twice/1"),
    ]
    rows = np.arange(COUNT * 6, dtype="float32").reshape(COUNT, 3, 2)
    recurrent = keras.Sequential(
        [keras.Input((3, 2)), keras.layers.Bidirectional(keras.layers.GRU(2), name="both_ways")]
    )
    assert list(measured(recurrent, (rows, probe[1]))) == ["both_ways"]


def test_layers_of_one_name(probe):
    model = subclassed()
    outer, first = model.blocks[0].dense, model.blocks[1].dense
    found = measured(model, probe, [outer, first])
    assert list(found) == ["first/inner", "second/inner"]
    assert found == measured(model, probe, ["first/inner", "second/inner"])
    # What a block's dense layer gives is its branch.
    branches = measured(model, probe, ["first/branch", "second/branch"])
    assert list(found.values()) == list(branches.values())
    with pytest.raises(UsageError, match=r"one of first/inner, second/inner\. Received: inner$"):
        measured(model, probe, ["inner"])
    with pytest.raises(UsageError, match=r"Expected a layer among .* Received: stranger$"):
        measured(model, probe, [keras.layers.Dense(1, name="stranger")])


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


def test_a_rate_of_the_optimizer_is_the_one_that_was_said():
    """0.001 / 100 in float32 is one number, wherever the 0.001 was rounded."""
    model = identity(1)
    model.compile(keras.optimizers.SGD(0.001))
    rows = np.linspace(1.0, 1000.0, 500, dtype="float32")[:, None]
    found = [
        BundleEntropy(model, learning_rate=rate, batch_size=100)(rows, np.arange(500) % 2)
        for rate in (None, 0.001)
    ]
    assert found[0] == found[1]


def identity(features):
    """A model of one layer that gives what it gets; W = 1."""
    model = keras.Sequential(
        [keras.Input((features,)), keras.layers.Dense(features, use_bias=False, name="same")]
    )
    model.set_weights([np.eye(features, dtype="float32")])
    return model


def test_product_and_difference_are_rounded_each():
    """As in a step of training, not once as in a fused multiply-add."""
    rows = np.float32(0.5) + np.arange(4096, dtype="float32")[:, None] * np.float32(2.0**-24)
    labels = np.arange(4096) % 2
    step = np.float32(0.7)
    twice = np.float32(1) - rows * step
    once = (1 - rows.astype("float64") * np.float64(step)).astype("float32")
    assert len(np.unique(once)) != len(np.unique(twice))
    found = BundleEntropy(identity(1), learning_rate=0.7, batch_size=1)(rows, labels)["same"]
    assert found.number == len(np.unique(twice))


@pytest.fixture(scope="module")
def measure():
    """One graph for all of hypothesis' examples."""
    return BundleEntropy(identity(3), learning_rate=0.3, batch_size=2, probe_batch_size=4)


class TestAnyRows:
    """The way over fingerprints against the slow grouping."""

    @settings(deadline=None, max_examples=60)
    @given(data=st.data(), size=st.integers(1, 9))
    def test_any_rows(self, measure, data, size):
        near = [float(np.nextafter(np.float32(1), np.float32(limit))) for limit in (0, 2)]
        tiny = float(np.float32(1e-9))
        few = st.sampled_from([0.0, -0.0, 1.0, -1.0, tiny, 2.0**-25, *near])
        elements = data.draw(st.sampled_from([few, st.floats(-1e6, 1e6, width=32)]))
        rows = data.draw(arrays.arrays("float32", (size, 3), elements=elements))
        labels = np.array(data.draw(st.lists(st.integers(0, 2), min_size=size, max_size=size)))
        found = measure(rows, labels)["same"]
        wanted = slow_bundles(rows, labels, learning_rate=0.3, batch_size=2, amplitude=1.0)
        assert found == (wanted[0], pytest.approx(wanted[1], abs=1e-12))
        assert (found.entropy == 0) == (wanted[1] == 0)
        assert 0 <= found.entropy <= np.log(3) + 1e-12


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
        assert one.keys(5) is one.keys(5)
        assert not np.array_equal(two.keys(5), one.keys(5))
        assert not np.array_equal(one.keys(6)[:, :5], one.keys(5))

    @pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
    def test_the_formula(self, dtype):
        """Σ_j k_j h_j mod 2³² over the halves, in integers of 64 bits."""
        if dtype == "float64" and backend.IS_JAX:
            dtype = "float32"  # JAX has no float64 unless it is told so
        rows = keras.ops.cast(np.random.default_rng(0).normal(size=(5, 7)), dtype)
        fingerprints = Fingerprints()
        hashes = np.asarray(fingerprints(rows))
        raw = np.asarray(keras.ops.convert_to_numpy(rows))
        if dtype in ("float16", "bfloat16"):
            # A half is a word of its own with its sign repeated above it.
            words = raw.view("int16").astype("int32").view("uint32")
        else:
            words = raw.view("uint32").reshape(5, -1)
        words = words.astype("uint64")
        keys = np.asarray(fingerprints.keys(words.shape[1])).astype("uint64")
        low, high = words & 0xFFFF, words >> 16
        wanted = np.stack([low @ keys[i] + high @ keys[i + 1] for i in range(0, 8, 2)], axis=1)
        np.testing.assert_array_equal(hashes.astype("uint32"), wanted.astype("uint32"))


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


def test_outputs_without_a_row_of_each_sample():
    class Total(keras.layers.Layer):
        def build(self, input_shape):
            self.scale = self.add_weight(name="scale", shape=())

        def call(self, inputs):
            return keras.ops.sum(inputs * self.scale)

    model = keras.Sequential([keras.Input((3,)), Total(name="total")])
    with pytest.raises(UsageError, match=r"of each sample in layer total\. Received: \(\)$"):
        measured(model, (np.ones((2, 3), "float32"), np.array([0, 1])))


def test_an_empty_probe_set():
    with pytest.raises(UsageError, match=r"at least one sample\. Received: none"):
        measured(sequential(), (np.zeros((0, 5, 5, 1), "float32"), np.zeros(0, "int64")))


def test_a_model_without_weights(probe):
    model = keras.Sequential([keras.Input((5, 5, 1)), keras.layers.Flatten(name="flat")])
    with pytest.raises(UsageError, match="Expected a model with trainable weights"):
        measured(model, probe, ["flat"])


class TestMargins:
    OCTAVES = range(-6, 30)

    @pytest.fixture
    def measured(self, probe):
        images, labels = probe
        model = sequential()
        measure = BundleEntropy(model, learning_rate=RATE, batch_size=BATCH, probe_batch_size=8)
        return model, images, labels, measure

    def test_as_the_slow_grouping_at_each_rate(self, measured):
        model, images, labels, measure = measured
        rng = np.random.default_rng(0)
        images = images + rng.normal(0.0, 10.0 ** rng.integers(-7, 0, COUNT)[:, None, None, None])
        margins = measure.margins(images.astype("float32"), labels, self.OCTAVES)
        outputs = measure._outputs(images.astype("float32"))
        assert list(margins) == list(outputs)
        for name, output in outputs.items():
            rates = [RATE * 2.0**-octave for octave in self.OCTAVES]
            conflicts = [
                slow_bundles(
                    backend.numpy(output).astype("float32"),
                    labels,
                    learning_rate=rate,
                    batch_size=BATCH,
                    amplitude=weight_amplitude(model),
                )[1]
                > 0
                for rate in rates
            ]
            assert any(conflicts)
            assert margins[name] == 2.0 ** self.OCTAVES[conflicts.index(True)]

    def test_a_layer_that_conflicts_now(self, measured):
        _, images, labels, measure = measured  # equal images of different labels
        assert set(measure.margins(images, labels).values()) == {2.0**-8}
        assert min(bundles.entropy for bundles in measure(images, labels).values()) > 0

    def test_one_label_never_conflicts(self, measured):
        _, images, labels, measure = measured
        assert set(measure.margins(images, np.zeros_like(labels)).values()) == {np.inf}

    def test_no_octaves(self, measured):
        _, images, labels, measure = measured
        with pytest.raises(UsageError, match="at least one octave"):
            measure.margins(images, labels, range(0))


class TestAnyModel:
    """Models that can't be measured, and samples of other forms."""

    X = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
    Y = np.arange(20) % 2

    @staticmethod
    def measure(model, layers=None):
        return BundleEntropy(model, layers, learning_rate=RATE, batch_size=BATCH)

    @staticmethod
    def dense():
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="only")])

    def test_labels_in_a_column(self):
        measure = self.measure(self.dense())
        assert measure(self.X, self.Y[:, None]) == measure(self.X, self.Y)

    @pytest.mark.parametrize("lengths", [(20, 10), (10, 20)])
    def test_inputs_of_unequal_length(self, lengths):
        one, two = keras.Input((4,), name="one"), keras.Input((4,), name="two")
        model = keras.Model(
            {"one": one, "two": two}, keras.layers.Dense(2)(keras.layers.Add()([one, two]))
        )
        samples = {"one": self.X[: lengths[0]], "two": self.X[: lengths[1]]}
        with pytest.raises(UsageError, match=r"Received: 10 and 20 samples$"):
            self.measure(model)(samples, self.Y[: lengths[0]])

    def test_a_model_that_is_not_built(self):
        with pytest.raises(UsageError, match=r"a model that is built.*Received: late$"):
            self.measure(keras.Sequential([keras.layers.Dense(3)], name="late"))(self.X, self.Y)

    @pytest.mark.filterwarnings("ignore:Layer InputLayer does not have:UserWarning")
    def test_a_quantized_model(self):
        model = self.dense()
        model.quantize("int8")
        with pytest.raises(UsageError, match=r"which is quantized \(int8\)$"):
            self.measure(model)(self.X, self.Y)

    def test_half_precision_as_arrays_of_it(self):
        rng = np.random.default_rng(0)
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(2, dtype="float16", name="half")]
        )
        x = rng.normal(size=(20, 4)).astype("float16")
        found = self.measure(model)(x, self.Y)["half"]
        assert found == bundle_entropy(
            backend.numpy(model(x)).astype("float16"),
            self.Y,
            learning_rate=RATE,
            batch_size=BATCH,
            amplitude=weight_amplitude(model),
        )
