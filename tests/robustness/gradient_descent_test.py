"""Projected gradient descent: bounds, NumPy, foolbox, and the size of its graph."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcaps.errors import UsageError
from tfcaps.robustness import attacks, cross_entropy, projected_gradient_descent

RNG = np.random.default_rng(0)
IMAGES = RNG.random((5, 4, 4, 1), "float32")
LABELS = RNG.integers(0, 3, 5)
ONE_HOT = np.eye(3, dtype="float32")[LABELS]
WEIGHTS = [
    RNG.normal(size=(16, 8)),
    RNG.normal(size=8),
    RNG.normal(size=(8, 3)),
    RNG.normal(size=3),
]


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """Two dense layers, so that the gradient's sign depends on the place."""
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(8, activation="tanh"),
            keras.layers.Dense(3),
        ]
    )
    model.set_weights(WEIGHTS)
    return model


def numpy_attack(images, epsilon, step_size, steps):
    """The definition in float64, with the gradient of the two layers by the chain rule."""
    first, first_bias, second, second_bias = WEIGHTS
    start = images.astype("float64").reshape(len(images), -1)
    x = start.copy()
    for _ in range(steps):
        hidden = np.tanh(x @ first + first_bias)
        logits = hidden @ second + second_bias
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        upstream = odds / odds.sum(axis=1, keepdims=True) - ONE_HOT
        gradient = ((upstream @ second.T) * (1 - hidden**2)) @ first.T
        x = x + step_size * np.sign(gradient)
        x = np.clip(np.clip(x, start - epsilon, start + epsilon), 0, 1)
    return x.reshape(images.shape)


@pytest.mark.parametrize(("epsilon", "step_size", "steps"), [(0.1, 0.01, 40), (0.3, 0.05, 5)])
def test_against_numpy(network, epsilon, step_size, steps):
    found = projected_gradient_descent(
        cross_entropy(network, ONE_HOT),
        tf.constant(IMAGES),
        epsilon=epsilon,
        step_size=step_size,
        steps=steps,
    )
    expected = numpy_attack(IMAGES, epsilon, step_size, steps)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    change = np.abs(found.numpy() - IMAGES)
    assert change.max() == pytest.approx(min(epsilon, steps * step_size), abs=1e-6)
    assert found.numpy().min() >= 0
    assert found.numpy().max() <= 1


def test_against_foolbox(network):
    found = projected_gradient_descent(cross_entropy(network, ONE_HOT), tf.constant(IMAGES))
    ((theirs, is_wrong),) = attacks.attacked_images(
        network, [(IMAGES, LABELS)], "pgd", [0.1], step_size=0.01, steps=40
    )
    np.testing.assert_allclose(found, theirs[0], atol=1e-6)
    wrong = np.argmax(network(found), axis=-1) != LABELS
    assert is_wrong.tolist() == [wrong.tolist()]
    assert wrong.any()


def test_epsilon_zero_changes_nothing(network):
    found = projected_gradient_descent(
        cross_entropy(network, ONE_HOT), tf.constant(IMAGES), epsilon=0.0
    )
    np.testing.assert_array_equal(found, IMAGES)


def operations(graph) -> int:
    definition = graph.as_graph_def()
    inside = sum(len(function.node_def) for function in definition.library.function)
    return len(definition.node) + inside


def test_graph_does_not_grow_with_the_steps(network):
    def graph(steps):
        return (
            tf.function(
                lambda x: projected_gradient_descent(
                    cross_entropy(network, ONE_HOT), x, steps=steps
                )
            )
            .get_concrete_function(tf.TensorSpec((5, 4, 4, 1), tf.float32))
            .graph
        )

    assert operations(graph(1)) == operations(graph(40))


def test_only_the_images_are_differentiated(network):
    """No gradient for a weight is computed in the loop, and none flows out of it."""
    with tf.GradientTape() as tape:
        found = projected_gradient_descent(
            cross_entropy(network, ONE_HOT), tf.constant(IMAGES), steps=2
        )
        total = tf.reduce_sum(found)
    assert tape.gradient(total, network.trainable_variables) == [None] * 4

    products = []

    def count(x):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            loss = tf.reduce_sum(cross_entropy(network, ONE_HOT)(x))
        return tape.gradient(loss, x)

    whole = tf.function(count).get_concrete_function(tf.TensorSpec((5, 4, 4, 1), tf.float32))
    products = [node for node in whole.graph.as_graph_def().node if node.op == "MatMul"]
    assert len(products) == 4  # two forwards, two back; weights would take two more


@pytest.mark.parametrize("jit", [False, True])
def test_images_of_unknown_number_inside_a_graph(network, jit):
    attack = tf.function(
        lambda x, y: projected_gradient_descent(cross_entropy(network, y), x, steps=3),
        input_signature=[
            tf.TensorSpec((None, 4, 4, 1), tf.float32),
            tf.TensorSpec((None, 3), tf.float32),
        ],
        jit_compile=jit,
    )
    for count in (2, 5):
        found = attack(IMAGES[:count], ONE_HOT[:count])
        expected = numpy_attack(IMAGES, 0.1, 0.01, 3)[:count]
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "value"),
    [("epsilon", -0.1), ("epsilon", math.nan), ("step_size", 0.0), ("steps", 0)],
)
def test_wrong_arguments(network, name, value):
    with pytest.raises(UsageError, match=rf"Expected {name} .*Received: {value}$"):
        projected_gradient_descent(
            cross_entropy(network, ONE_HOT), tf.constant(IMAGES), **{name: value}
        )
