"""Bundle entropy where TensorFlow's graphs and replicas matter."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.reference import slow_bundles
from tfcaps.errors import UsageError
from tfcaps.metrics import BundleEntropy, weight_amplitude

ARGUMENTS = {"learning_rate": 0.1, "batch_size": 2, "probe_batch_size": 4}


def test_a_model_of_mirrored_variables():
    """It is measured on one replica, inside the strategy's scope or outside."""
    rng = np.random.default_rng(0)
    rows, labels = rng.integers(0, 2, (10, 4)).astype("float32"), np.arange(10) % 2

    def network():
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, "relu", name="hidden")])

    plain = network()
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    with strategy.scope():
        mirrored = network()
        mirrored.set_weights(plain.get_weights())
        inside = BundleEntropy(mirrored, **ARGUMENTS)(rows, labels)
    wanted = BundleEntropy(plain, **ARGUMENTS)(rows, labels)
    assert inside == BundleEntropy(mirrored, **ARGUMENTS)(rows, labels) == wanted


def test_a_model_is_traced_once():
    """Whatever the number of samples: a last batch is filled up."""
    traces = []

    class Counted(keras.layers.Dense):
        def call(self, inputs):
            traces.append(inputs.shape)
            return super().call(inputs)

    model = keras.Sequential([keras.Input((3,)), Counted(2, name="counted")])
    measure = BundleEntropy(model, **ARGUMENTS)
    traces.clear()
    for size in (8, 3, 9):
        measure(np.ones((size, 3), "float32"), np.zeros(size, int))
        model.set_weights([2 * weight for weight in model.get_weights()])
    assert traces == [(4, 3)]


def test_new_weights_are_seen():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, "relu", name="hidden")])
    model.set_weights([np.ones((1, 1)), np.zeros(1)])
    measure = BundleEntropy(model, **ARGUMENTS)
    rows, labels = np.array([[1.0], [2.0]], "float32"), [0, 1]
    assert measure(rows, labels)["hidden"] == (2, 0.0)
    model.set_weights([-np.ones((1, 1)), np.zeros(1)])  # the units die
    assert measure(rows, labels)["hidden"] == (1, pytest.approx(np.log(2)))


def test_a_layer_in_a_loop():
    model = keras.Sequential([keras.Input((3, 2)), keras.layers.LSTM(2, name="memory")])
    rows = np.ones((4, 3, 2), "float32")
    with pytest.raises(UsageError, match=r"not called in a loop\. Received: memory/lstm_cell"):
        BundleEntropy(model, ["memory/lstm_cell"], **ARGUMENTS)(rows, np.zeros(4, int))
    assert list(BundleEntropy(model, **ARGUMENTS)(rows, np.zeros(4, int))) == ["memory"]


class TestAnyModel:
    """Models that can't be traced, and samples that TensorFlow has."""

    X = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
    Y = np.arange(20) % 2

    @staticmethod
    def measure(model, layers=None):
        return BundleEntropy(model, layers, learning_rate=0.05, batch_size=2)

    @staticmethod
    def dense():
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="only")])

    @pytest.mark.parametrize("kind", ["data set", "list", "generator", "number"])
    def test_other_samples(self, kind):
        samples = {
            "data set": lambda: tf.data.Dataset.from_tensor_slices(self.X),
            "list": self.X.tolist,
            "generator": lambda: iter(self.X),
            "number": lambda: np.float32(1.0),
        }[kind]()
        with pytest.raises(UsageError, match=r"the samples as an array.*Received: \w+$"):
            self.measure(self.dense())(samples, self.Y)

    def test_texts(self):
        """A batch of them has a size that isn't known before."""
        words = keras.layers.TextVectorization(output_sequence_length=3)
        words.adapt(["one two", "three"])
        text = keras.Input((1,), dtype="string")
        embedded = keras.layers.Embedding(6, 2, name="embedded")(words(text))
        model = keras.Model(text, keras.layers.Dense(2)(keras.layers.Flatten()(embedded)))
        texts = np.array([["one"], ["two"], ["one two"], ["one"]] * 5)
        labels = np.array([0, 1, 2, 1] * 5)
        found = self.measure(model)(texts, labels)["embedded"]
        # "one" has two labels: half of all samples are in a bundle of both.
        assert (found.number, found.entropy) == (3, pytest.approx(0.5 * np.log(2)))

    def test_an_output_of_unknown_shape(self):
        class Unknown(keras.layers.Layer):
            def call(self, inputs):
                return tf.numpy_function(lambda rows: rows.round(), [inputs], tf.float32)

            def compute_output_shape(self, input_shape):
                return input_shape

        inputs = keras.Input((4,))
        outputs = Unknown(name="unknown")(keras.layers.Dense(3)(inputs))
        model = keras.Model(inputs, outputs)
        found = self.measure(model, ["unknown"])(self.X, self.Y)["unknown"]
        rounded = model(self.X).numpy().round().astype("float32")
        slow = slow_bundles(
            rounded,
            self.Y,
            learning_rate=0.05,
            batch_size=2,
            amplitude=weight_amplitude(model),
        )
        assert found == pytest.approx(slow)

    def test_many_models_without_a_warning(self, caplog):
        for _ in range(8):
            self.measure(self.dense())(self.X, self.Y)
        assert "retracing" not in caplog.text
