"""Forward and backward pass of a convolutional capsule layer, against plain einsums.

7×7 maps of 16×8 → 16×12 capsules, 3×3 kernel, batch 32, 3 iterations. The reference gathers each
place's neighbourhood, has one einsum for each sum of the formulas, and TensorFlow's gradients.
"""

import tensorflow as tf

from benchmarks.tiled_reference import squash
from tfcaps import measure
from tfcaps.layers import ConvCapsule

BATCH, SIDE, TYPES, INPUT_DIM, CAPSULES, DIM, KERNEL, ITERATIONS = 32, 7, 16, 8, 16, 12, 3, 3
ROUTINGS = ("rba",)


def package_step(routing: str):
    """A function without arguments that computes output and all gradients."""
    layer, maps = _layer(routing)
    return _step(layer, maps, [weight.value for weight in layer.trainable_variables])


def plain_step(routing: str):
    """The same by einsums, with weights of the same distribution."""
    layer, maps = _layer(routing)
    weights = [tf.Variable(weight) for weight in layer.trainable_variables]
    return _step(lambda u: {"rba": plain_rba}[routing](u, *weights), maps, weights)


def plain_rba(maps, kernel, bias):
    """(B, H, W, I, D) → (B, H, W, O, E)."""
    around = tf.pad(maps, [[0, 0], [1, 1], [1, 1], [0, 0], [0, 0]])
    places = [around[:, y : y + SIDE, x : x + SIDE] for y in range(KERNEL) for x in range(KERNEL)]
    kernel = tf.reshape(kernel, (KERNEL**2, INPUT_DIM, CAPSULES, DIM))
    votes = tf.einsum("kbhwid,kdoe->bhwoie", tf.stack(places), kernel)
    logits = tf.zeros_like(votes[..., 0])
    for iteration in range(ITERATIONS):
        coupling = tf.nn.softmax(logits, axis=-2)
        v = squash(tf.einsum("bhwoi,bhwoie->bhwoe", coupling, votes) + bias)
        if iteration < ITERATIONS - 1:
            logits += tf.einsum("bhwoie,bhwoe->bhwoi", votes, v)
    return v


def _layer(routing):
    layer = ConvCapsule(CAPSULES, DIM, KERNEL, routing={"name": routing, "iterations": ITERATIONS})
    maps = tf.random.stateless_normal((BATCH, SIDE, SIDE, TYPES, INPUT_DIM), (0, 0), 0.0, 0.3)
    layer.build(maps.shape)
    return layer, maps


def _step(function, maps, weights):
    @tf.function
    def step(u):
        with tf.GradientTape() as tape:
            tape.watch(u)
            loss = tf.reduce_sum(tf.square(function(u)))
        return loss, tape.gradient(loss, [u, *weights])

    return lambda: [result.numpy() for result in tf.nest.flatten(step(maps))]


def main(rounds: int) -> None:
    print(
        f"\nConvolutional layer {SIDE}×{SIDE} of {TYPES}×{INPUT_DIM} → {CAPSULES}×{DIM}, "
        f"{KERNEL}×{KERNEL}, batch {BATCH}, {ITERATIONS} iterations, forward + backward"
    )
    print(f"{'':8}{'einsum':>12}{'tfcaps':>12}{'faster':>9}{'einsum':>12}{'tfcaps':>12}")
    for routing in ROUTINGS:
        seconds = measure.medians(
            {"plain": plain_step(routing), "tfcaps": package_step(routing)}, rounds
        )
        plain, package = seconds["plain"], seconds["tfcaps"]
        print(
            f"{routing:8}{plain * 1e3:9.1f} ms{package * 1e3:9.1f} ms{plain / package:8.1f}×"
            f"{measure.peak_megabytes(plain_step, routing):9.0f} MB"
            f"{measure.peak_megabytes(package_step, routing):9.0f} MB",
            flush=True,
        )
