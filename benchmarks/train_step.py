"""The whole training step of a CapsNet, against a floor: its capsule layers without routing."""

import keras
import numpy as np
from keras import ops

from tfcaps import measure
from tfcaps.layers import CapsuleLength, PrimaryCapsule
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


def network_step(routing: str, batch: int):
    """A function without arguments that runs one `train_on_batch`."""
    model = CapsNet(IMAGE, LAYERS, DIMENSIONS, routing=routing)
    return _step(model, batch)


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
    print("\nPeak memory that training with batch 128 adds to the process")
    for routing in ROUTINGS:
        print(
            f"{routing:8}{measure.peak_megabytes(network_step, routing, 128):9.0f} MB", flush=True
        )
