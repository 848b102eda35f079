"""The primary capsules' convolution in several ways, beside one matrix product of its size.

python -m benchmarks.convolution_ways [ROUNDS] [DTYPE]
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# The log level comes first.
import numpy as np
import tensorflow as tf

from tfcaps import measure
from tfcaps.convolution import unfolded_conv

BATCH, SIDE, CHANNELS, KERNEL, STRIDE = 32, 20, 256, 9, 2
PLACES = (SIDE - KERNEL) // STRIDE + 1


def plain(maps, kernel):
    """TensorFlow's own convolution."""
    return tf.nn.conv2d(maps, kernel, STRIDE, "VALID")


def unfolded(maps, kernel):
    """What `PrimaryCapsule` computes on a processor."""
    return unfolded_conv(maps, kernel, (STRIDE, STRIDE))


def by_phases(maps, kernel):
    """Four convolutions without stride, one for each phase of rows and columns."""
    parts = []
    for row in range(STRIDE):
        for column in range(STRIDE):
            part = kernel[row::STRIDE, column::STRIDE]
            seen = maps[:, row::STRIDE, column::STRIDE]
            parts.append(tf.nn.conv2d(seen, part, 1, "VALID")[:, :PLACES, :PLACES])
    return tf.add_n(parts)


WAYS = {"TensorFlow": plain, "unfolded, as kept": unfolded, "phases of the stride": by_phases}


def programs(dtype: str):
    """Functions without arguments: forward, and with one of the gradients, of each way."""
    random = np.random.default_rng(0)

    def drawn(*shape):
        return tf.cast(tf.constant(random.standard_normal(shape, "float32")), dtype)

    maps = drawn(BATCH, SIDE, SIDE, CHANNELS)
    kernel = drawn(KERNEL, KERNEL, CHANNELS, CHANNELS) / 100
    upstream = drawn(BATCH, PLACES, PLACES, CHANNELS)
    windows = drawn(BATCH * PLACES**2, KERNEL**2 * CHANNELS)
    flat = tf.reshape(kernel, (-1, CHANNELS))
    dy = tf.reshape(upstream, (-1, CHANNELS))
    floor = {
        "forward": lambda: windows @ flat,
        "with kernel": lambda: (windows @ flat, tf.matmul(windows, dy, transpose_a=True)),
        "with inputs": lambda: (windows @ flat, tf.matmul(dy, flat, transpose_b=True)),
    }
    found = {f"one product/{part}": tf.function(function) for part, function in floor.items()}
    for name, way in WAYS.items():
        np.testing.assert_allclose(
            *(np.asarray(f(maps, kernel), "float32") for f in (way, plain)), rtol=0.1, atol=0.2
        )
        found[f"{name}/forward"] = tf.function(lambda way=way: way(maps, kernel))
        for part, place in (("with kernel", 1), ("with inputs", 0)):
            found[f"{name}/{part}"] = tf.function(
                lambda way=way, place=place: _with_gradient(way, maps, kernel, upstream, place)
            )
    return found


def _with_gradient(way, maps, kernel, upstream, place):
    asked = (maps, kernel)[place]
    with tf.GradientTape() as tape:
        tape.watch(asked)
        y = way(maps, kernel)
    return y, tape.gradient(y, asked, output_gradients=upstream)


def main(rounds: int = 10, dtype: str = "float32") -> None:
    """Prints milliseconds, and how many times those of one product of the size they are."""
    seconds = measure.medians(programs(dtype), rounds)
    print(f"{KERNEL}×{KERNEL} convolution, stride {STRIDE}, batch {BATCH}, {dtype}")
    for part in ("forward", "with kernel", "with inputs"):
        floor = seconds[f"one product/{part}"]
        for name in ("one product", *WAYS):
            own = seconds[f"{name}/{part}"]
            print(f"{part:12} {name:22}{1e3 * own:8.1f} ms{own / floor:7.2f}×")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:3])
