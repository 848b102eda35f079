"""Forward and backward pass of one dense capsule layer, against the tiled reference.

1152×8 → 10×16 capsules, batch 32, 3 routing iterations: the class layer of a CapsNet on MNIST.
"""

import numpy as np
import tensorflow as tf

from benchmarks import tiled_reference
from tfcaps import measure
from tfcaps.layers import DenseCapsule

BATCH, INPUTS, INPUT_DIM, CAPSULES, DIM, ITERATIONS = 32, 1152, 8, 10, 16, 3
ROUTINGS = ("rba", "em", "sda")


def package_step(routing: str):
    """A function without arguments that computes output and all gradients."""
    layer = DenseCapsule(CAPSULES, DIM, routing={"name": routing, "iterations": ITERATIONS})
    inputs = _inputs()
    layer.build(inputs.shape)
    return _step(layer, inputs, [weight.value for weight in layer.trainable_variables])


def tiled_step(routing: str):
    """The same by the reference, with weights of the same distribution."""
    layer = DenseCapsule(CAPSULES, DIM, routing={"name": routing, "iterations": ITERATIONS})
    inputs = _inputs()
    layer.build(inputs.shape)
    weights = [tf.Variable(weight) for weight in layer.trainable_variables]
    function = getattr(tiled_reference, routing)
    # beta_a, beta_u or nothing, behind kernel and bias
    return _step(lambda u: function(u, *weights[:2], ITERATIONS, *weights[2:]), inputs, weights)


def _inputs() -> tf.Tensor:
    lengths = np.random.default_rng(0).normal(0.0, 0.3, (BATCH, INPUTS, INPUT_DIM))
    return tf.constant(lengths, tf.float32)


def _step(function, inputs, weights):
    @tf.function
    def step(u):
        with tf.GradientTape() as tape:
            tape.watch(u)
            loss = tf.reduce_sum(tf.square(function(u)))
        return tape.gradient(loss, [u, *weights])

    return lambda: [gradient.numpy() for gradient in step(inputs)]


def main(rounds: int) -> None:
    print(
        f"Dense layer {INPUTS}×{INPUT_DIM} → {CAPSULES}×{DIM}, batch {BATCH}, "
        f"{ITERATIONS} iterations, forward + backward"
    )
    print(f"{'':8}{'tiled':>12}{'tfcaps':>12}{'faster':>9}{'tiled':>12}{'tfcaps':>12}{'memory':>9}")
    for routing in ROUTINGS:
        seconds = measure.medians(
            {"tiled": tiled_step(routing), "tfcaps": package_step(routing)}, rounds
        )
        tiled, package = seconds["tiled"], seconds["tfcaps"]
        tiled_memory = measure.peak_megabytes(tiled_step, routing)
        memory = measure.peak_megabytes(package_step, routing)
        print(
            f"{routing:8}{tiled * 1e3:9.1f} ms{package * 1e3:9.1f} ms{tiled / package:8.1f}×"
            f"{tiled_memory:9.0f} MB{memory:9.0f} MB{memory / tiled_memory:9.2f}",
            flush=True,
        )
