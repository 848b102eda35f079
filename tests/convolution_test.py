"""Convolutions as matrix products, against the float64 reference."""

import numpy as np
import pytest

from tests import backend, reference
from tfcaps import ops
from tfcaps.convolution import for_any_server, unfolded_conv
from tfcaps.layers import PrimaryCapsule

pytestmark = pytest.mark.skipif(backend.IS_JAX, reason="for TensorFlow alone")


def arrays(height, width, channels, kernel_size):
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(2, height, width, channels))
    return maps, rng.normal(size=(kernel_size, kernel_size, channels, 3))


def direct(maps, kernel, strides):
    """Each output by its sum, in float64."""
    size = kernel.shape[0]
    rows = [
        [
            np.einsum("bhwc,hwcf->bf", maps[:, y : y + size, x : x + size], kernel)
            for x in range(0, maps.shape[2] - size + 1, strides)
        ]
        for y in range(0, maps.shape[1] - size + 1, strides)
    ]
    return np.stack([np.stack(row, 1) for row in rows], 1)


@pytest.mark.parametrize(
    ("height", "width", "kernel_size", "strides"),
    [(7, 6, 3, 2), (5, 5, 2, 1), (8, 9, 2, 3), (3, 4, 3, 2)],
    ids=["remainder", "stride 1", "gaps", "one row"],
)
def test_value_and_gradients(height, width, kernel_size, strides):
    """The gradients of `Σ y g` are linear: each is a difference of two values, exactly."""
    import tensorflow as tf

    maps, kernel = arrays(height, width, 5, kernel_size)
    expected = direct(maps, kernel, strides)
    weights = np.random.default_rng(1).normal(size=expected.shape)
    sources = tf.constant(maps), tf.constant(kernel)
    with tf.GradientTape() as tape:
        tape.watch(sources)
        found = unfolded_conv(*sources, (strides, strides))
        total = tf.reduce_sum(found * weights)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    for source, gradient in zip((maps, kernel), tape.gradient(total, sources), strict=True):
        direction = np.random.default_rng(2).normal(size=source.shape)
        pair = (direction, kernel) if source is maps else (maps, direction)
        slope = (direct(*pair, strides) * weights).sum()
        assert (gradient.numpy() * direction).sum() == pytest.approx(slope, rel=1e-10)


def test_second_derivative():
    """Of `½ ‖y‖²` along directions of both arguments, against differences of the first one."""
    import tensorflow as tf

    maps, kernel = arrays(5, 6, 2, 3)
    rng = np.random.default_rng(3)
    directions = rng.normal(size=maps.shape), rng.normal(size=kernel.shape)

    def slope(maps, kernel):
        y = direct(maps, kernel, 2)
        dy = direct(directions[0], kernel, 2) + direct(maps, directions[1], 2)
        return (y * dy).sum()

    sources = tf.constant(maps), tf.constant(kernel)
    with tf.GradientTape() as outer:
        outer.watch(sources)
        with tf.GradientTape() as inner:
            inner.watch(sources)
            half = 0.5 * tf.reduce_sum(tf.square(unfolded_conv(*sources, (2, 2))))
        first = inner.gradient(half, sources)
        product = sum(tf.reduce_sum(g * d) for g, d in zip(first, directions, strict=True))
    assert float(product) == pytest.approx(slope(maps, kernel), rel=1e-10)
    second = outer.gradient(product, sources)
    step = 1e-5
    for place, gradient in enumerate(second):
        direction = rng.normal(size=gradient.shape)
        ends = []
        for sign in (1, -1):
            at = [maps, kernel]
            at[place] = at[place] + sign * step * direction
            ends.append(slope(*at))
        expected = (ends[0] - ends[1]) / (2 * step)
        assert (gradient.numpy() * direction).sum() == pytest.approx(expected, rel=1e-6)


def operations(layer, images):
    """The types of all operations that the layer is traced to."""
    import tensorflow as tf

    graph = tf.function(lambda x: layer(x)).get_concrete_function(images).graph.as_graph_def()
    return [node.op for part in (graph, *graph.library.function) for node in _nodes(part)]


def _nodes(part):
    return getattr(part, "node", None) or part.node_def


@pytest.mark.parametrize(("channels", "is_unfolded"), [(63, False), (64, True)])
def test_primary_capsules_of_many_channels(channels, is_unfolded):
    """The layer takes that way, one for other runtimes doesn't, and one for servers has both."""
    images = np.random.default_rng(0).normal(size=(2, 7, 6, channels)).astype("float32")
    layer = PrimaryCapsule(3, 4, 3, 2)
    layer.build(images.shape)
    expected = reference.primary_capsule(images, **backend.weights(layer), dim=4, strides=2)
    np.testing.assert_allclose(layer(images), expected, rtol=0, atol=1e-5)
    assert ("Conv2D" in operations(layer, images)) != is_unfolded
    with ops.without_compilation():
        np.testing.assert_allclose(layer(images), expected, rtol=0, atol=1e-5)
        found = operations(layer, images)
        assert "Conv2D" in found and "MatMul" not in found
        with for_any_server():
            found = operations(layer, images)
            assert "Conv2D" in found and ("MatMul" in found) == is_unfolded
    assert layer(images[:0]).shape == (0, 18, 4)
