"""Bundle entropy where TensorFlow's graphs and replicas matter."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcaps.errors import UsageError
from tfcaps.metrics import BundleEntropy

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
