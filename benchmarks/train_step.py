"""The whole training step of a CapsNet, against two floors.

Its capsule layers without routing, and all its products at the speed of one big one.
"""

import contextlib
import itertools

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfcaps import measure
from tfcaps.layers import CapsuleLength, PrimaryCapsule, primary_capsule
from tfcaps.losses import MarginLoss, ReconstructionLoss
from tfcaps.models import CapsNet, decoder

IMAGE = (28, 28, 1)
LAYERS, DIMENSIONS = (32, 32, 10), (8, 8, 16)
ROUTINGS = ("rba", "em", "sda")


class SummedVotes(keras.layers.Layer):
    """Nothing but the matrix product of the votes, `Σ_i W[o,i] u[i]`."""

    def __init__(self, capsules, dim):
        super().__init__()
        self.capsules, self.dim = capsules, dim

    def build(self, input_shape):
        _, count, dim = input_shape
        self.kernel = self.add_weight(shape=(count * dim, self.capsules * self.dim))

    def call(self, inputs):
        flat = ops.reshape(inputs, (-1, inputs.shape[1] * inputs.shape[2]))
        return ops.reshape(ops.matmul(flat, self.kernel), (-1, self.capsules, self.dim))


def network_step(routing: str, batch: int, policy: str = "float32"):
    """A function without arguments that runs one `train_on_batch`."""
    model = CapsNet(IMAGE, LAYERS, DIMENSIONS, routing=routing, dtype=policy)
    return _step(model, batch)


def plain_convolution_step(routing: str, batch: int):
    """As `network_step`, with the backend's convolution in the primary capsules."""
    step = network_step(routing, batch)
    with _plain_convolutions():
        step()  # traces
    return step


@contextlib.contextmanager
def _plain_convolutions():
    before = primary_capsule.unfolds
    primary_capsule.unfolds = lambda channels: False
    try:
        yield
    finally:
        primary_capsule.unfolds = before


def primary_products(batch: int):
    """The three products of the primary capsules' convolution, each at once."""
    channels, places = LAYERS[0] * DIMENSIONS[0], batch * 36
    x = tf.random.stateless_normal((places, 81 * channels), (0, 0))
    kernel = tf.random.stateless_normal((81 * channels, channels), (0, 1))
    dy = tf.random.stateless_normal((places, channels), (0, 2))

    @tf.function
    def products():
        return (
            x @ kernel,
            tf.matmul(x, dy, transpose_a=True),
            tf.matmul(dy, kernel, transpose_b=True),
        )

    return lambda: [product[:1].numpy() for product in products()]


def share_of_primary_products() -> float:
    """All multiplications of products and convolutions of a step, per those of `primary_products`.

    Forward, for the weights and for the inputs; of the first convolution no gradient of the images.
    """
    channels = LAYERS[0] * DIMENSIONS[0]
    primary = 3 * 36 * 81 * channels * channels
    first = 2 * 400 * 81 * channels
    counts = (36 * LAYERS[0], *LAYERS[1:])
    votes = sum(
        3 * below * above * dim_below * dim
        for below, above, dim_below, dim in zip(
            counts[:-1], counts[1:], DIMENSIONS[:-1], DIMENSIONS[1:], strict=True
        )
    )
    widths = (LAYERS[-1] * DIMENSIONS[-1], 512, 1024, IMAGE[0] * IMAGE[1])
    decoder = sum(3 * a * b for a, b in itertools.pairwise(widths))
    return (primary + first + votes + decoder) / primary


def floor_step(batch: int):
    """The same network with `SummedVotes` for its dense capsule layers."""
    images = keras.Input(IMAGE)
    x = keras.layers.Conv2D(LAYERS[0] * DIMENSIONS[0], 9, activation="relu")(images)
    x = PrimaryCapsule(LAYERS[0], DIMENSIONS[0])(x)
    for capsules, dim in zip(LAYERS[1:], DIMENSIONS[1:], strict=True):
        x = SummedVotes(capsules, dim)(x)
    outputs = {
        "lengths": CapsuleLength()(x),
        "reconstruction": decoder(x.shape[1:], IMAGE)(x),
    }
    return _step(keras.Model(images, outputs), batch)


def _step(model, batch):
    model.compile(
        keras.optimizers.Adam(1e-4),
        loss={"lengths": MarginLoss(), "reconstruction": ReconstructionLoss()},
        loss_weights={"lengths": 1.0, "reconstruction": 1e-5},
        jit_compile=False,
    )
    random = np.random.default_rng(0)
    images = random.random((batch, *IMAGE), "float32")
    labels = np.eye(LAYERS[-1], dtype="float32")[random.integers(0, LAYERS[-1], batch)]
    return lambda: model.train_on_batch(images, {"lengths": labels, "reconstruction": images})


def main(rounds: int) -> None:
    print(f"\nTraining step of CapsNet {LAYERS} / {DIMENSIONS}, {IMAGE} images, batch 32")
    steps = {"floor": floor_step(32)}
    steps |= {routing: network_step(routing, 32) for routing in ROUTINGS}
    seconds = measure.medians(steps, rounds)
    print(
        f"{'floor':8}{seconds['floor'] * 1e3:9.1f} ms   (votes as one matrix product, no routing)"
    )
    for routing in ROUTINGS:
        ratio = seconds[routing] / seconds["floor"]
        print(f"{routing:8}{seconds[routing] * 1e3:9.1f} ms{ratio:8.2f}× the floor")
    print("\nThe same steps against all their products at the speed of the largest ones")
    columns = ("plain conv", "float32", "of products", "bfloat16", "of plain")
    print(f"{'':8}" + "".join(f"{column:>12}" for column in columns))
    for routing in ROUTINGS:
        programs = {
            "products": primary_products(32),
            "plain": plain_convolution_step(routing, 32),
            "float32": network_step(routing, 32),
            "bfloat16": network_step(routing, 32, "mixed_bfloat16"),
        }
        seconds = measure.medians(programs, rounds)
        products = share_of_primary_products() * seconds["products"]
        print(
            f"{routing:8}{seconds['plain'] * 1e3:9.1f} ms{seconds['float32'] * 1e3:9.1f} ms"
            f"{seconds['float32'] / products:11.2f}×{seconds['bfloat16'] * 1e3:9.1f} ms"
            f"{seconds['bfloat16'] / seconds['plain']:11.2f}×",
            flush=True,
        )
    print("\nPeak memory that training with batch 128 adds to the process")
    for routing in ROUTINGS:
        print(
            f"{routing:8}{measure.peak_megabytes(network_step, routing, 128):9.0f} MB", flush=True
        )
