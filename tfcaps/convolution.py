"""A convolution that a processor computes at the speed of matrix products."""

import contextlib
from collections.abc import Iterator

import keras
from keras import ops

from tfcaps.ops import is_compilation_enabled

# With fewer channels a row of a window is too short a piece to be copied on its own.
_CHANNELS = 64


_servers = {"any": False}


@contextlib.contextmanager
def for_any_server() -> Iterator[None]:
    """Inside the block convolutions are traced both ways, and the device that runs them chooses."""
    before = _servers["any"]
    _servers["any"] = True
    try:
        yield
    finally:
        _servers["any"] = before


def fastest_conv(inputs, kernel, strides, plain):
    """A valid convolution in the way that is faster: as matrix products, or the backend's own.

    Products are faster on a processor, with TensorFlow, from 64 channels on. Graphs for other
    runtimes have the plain convolution, which each of them knows.

    Args:
        inputs: maps `(B, H, W, C)`.
        kernel: `(k, k', C, F)`.
        strides: `(vertical, horizontal)`.
        plain: the backend's, a function of `inputs` and `kernel`.

    Returns:
        As `unfolded_conv`.
    """
    if not _is_wide(inputs):
        return plain(inputs, kernel)
    import tensorflow as tf

    if _servers["any"]:
        return _conv_of_the_device(inputs, kernel, strides, plain)
    if is_compilation_enabled() and not tf.config.list_logical_devices("GPU"):
        return unfolded_conv(inputs, kernel, strides)
    return plain(inputs, kernel)


def _is_wide(inputs):
    channels = inputs.shape[-1]
    return (
        keras.backend.backend() == "tensorflow" and channels is not None and channels >= _CHANNELS
    )


def unfolded_conv(inputs, kernel, strides):
    """A valid convolution as k matrix products, one for each row of the kernel.

    `y = Σ_r X_r K_r`, where `X_r (B·H'·W', k·C)` has the inputs below row r of the kernel and
    `K_r (k·C, F)` is that row. The gradient of the kernel is `X_rᵀ dy`, k products more; that of
    the inputs is the backend's. All at once, X would be k times as large and leave the cache.

    Args:
        inputs: maps `(B, H, W, C)`, of TensorFlow.
        kernel: `(k, k', C, F)`.
        strides: `(vertical, horizontal)`.

    Returns:
        Maps `(B, H', W', F)` with `H' = (H − k) // strides + 1`, likewise W'.

    Example:

    >>> import numpy as np
    >>> maps, kernel = np.ones((1, 5, 5, 2), "float32"), np.ones((3, 3, 2, 4), "float32")
    >>> y = unfolded_conv(maps, kernel, (2, 2))
    >>> tuple(y.shape), float(y[0, 0, 0, 0])              # 3·3·2 products of ones
    ((1, 2, 2, 4), 18.0)
    """
    import tensorflow as tf

    @tf.custom_gradient
    def convolve(inputs, kernel):
        height, width, channels, filters = kernel.shape
        rows = [(_below(inputs, row, kernel.shape, strides), kernel[row]) for row in range(height)]
        flat = [below @ tf.reshape(part, (-1, filters)) for below, part in rows]
        batch, *sizes, _ = ops.shape(inputs)
        places = _places(sizes, kernel.shape, strides)

        def gradient(upstream):
            maps = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(inputs),
                filter=kernel,
                out_backprop=upstream,
                strides=(1, *strides, 1),
                padding="VALID",
            )
            dy = tf.reshape(upstream, (-1, filters))
            parts = [
                tf.matmul(_below(inputs, row, kernel.shape, strides), dy, transpose_a=True)
                for row in range(height)
            ]
            return maps, tf.reshape(tf.concat(parts, 0), (height, width, channels, filters))

        return tf.reshape(tf.add_n(flat), (batch, *places, filters)), gradient

    return convolve(tf.convert_to_tensor(inputs), tf.convert_to_tensor(kernel))


def _conv_of_the_device(inputs, kernel, strides, plain):
    """Both convolutions, of which a graph runs one: that of the device where it is."""
    import tensorflow as tf

    inputs, kernel = tf.convert_to_tensor(inputs), tf.convert_to_tensor(kernel)
    return tf.switch_case(
        tf.raw_ops.DeviceIndex(device_names=["CPU"]),
        [lambda: unfolded_conv(inputs, kernel, strides)],
        default=lambda: plain(inputs, kernel),
    )


def _places(sizes, kernel_shape, strides):
    return [
        (size - length) // stride + 1
        for size, length, stride in zip(sizes, kernel_shape[:2], strides, strict=True)
    ]


def _below(inputs, row, kernel_shape, strides):
    """`X_r (B·H'·W', k'·C)`: one gather copies whole channels, several times as fast as slices."""
    batch, height, width, channels = ops.shape(inputs)
    down, across = _places((height, width), kernel_shape, strides)
    y = row + strides[0] * ops.arange(down)[:, None, None]
    x = strides[1] * ops.arange(across)[:, None] + ops.arange(kernel_shape[1])
    indices = (ops.arange(batch)[:, None, None, None] * height + y) * width + x
    below = ops.take(ops.reshape(inputs, (-1, channels)), indices, axis=0)
    return ops.reshape(below, (-1, kernel_shape[1] * channels))
