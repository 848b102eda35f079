"""How much of the gradient reaches the lowest of many capsule layers.

    python -m benchmarks.gradient_depth

Networks `4, 16 × (L − 2), 10` on 32 real digits, margin loss, Adam 1e-3. For each routing, depth
and initializer: the smallest gradient norm of a layer's kernel, as a share of the largest one, at
initialisation and after 20 steps.
"""

import itertools

import keras
import numpy as np
import tensorflow as tf

from tfcaps import datasets, routing
from tfcaps.losses import MarginLoss
from tfcaps.training import CapsuleNetworkConfig, build_model
from tfcaps.training.capsules.configuration import INITIALIZERS

DEPTHS = (2, 7, 12)
STEPS = 20


def shares(name: str, depth: int, *, make_skips: bool, kernel_initializer: str) -> list[float]:
    """The share before each of so many steps, and after the last one."""
    keras.utils.set_random_seed(0)
    config = CapsuleNetworkConfig(
        log_dir="unused",
        layers=(4, *[16] * (depth - 2), 10),
        dimensions=(8, *[10 if name == "em" else 12] * (depth - 2), 16),
        routing=name,
        make_skips=make_skips,
        use_reconstruction=False,
        kernel_initializer=kernel_initializer,
    )
    model = build_model(config, (24, 24, 1), 10)
    first = datasets.load("mnist5k").train.take(np.arange(32))
    images, _ = datasets.preprocessing("mnist5k", "paper").evaluate(first.images)
    labels = np.eye(10, dtype="float32")[first.labels]
    optimizer, loss = keras.optimizers.Adam(1e-3), MarginLoss()
    optimizer.build(model.trainable_variables)
    is_kernel = [
        "capsules_" in variable.path and variable.path.endswith("kernel")
        and "primary" not in variable.path
        for variable in model.trainable_variables
    ]  # fmt: skip

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            value = loss(labels, model(images, training=True)["lengths"])
        gradients = tape.gradient(value, [one.value for one in model.trainable_variables])
        optimizer.apply(gradients, model.trainable_variables)
        chosen = [gradient for gradient, is_one in zip(gradients, is_kernel, strict=True) if is_one]
        return [tf.norm(tf.cast(gradient, tf.float64)) for gradient in chosen]

    found = np.array([[float(norm) for norm in step()] for _ in range(STEPS + 1)])
    return (found.min(axis=1) / found.max(axis=1)).tolist()


if __name__ == "__main__":
    print(
        "| routing | layers | skips | initializer | at first | after 20 steps |\n"
        "|---|---|---|---|---|---|"
    )
    for name, depth, skips, initializer in itertools.product(
        routing.names(), DEPTHS, (False, True), INITIALIZERS
    ):
        found = shares(name, depth, make_skips=skips, kernel_initializer=initializer)
        told = f"{'yes' if skips else 'no'} | {initializer} | {found[0]:.0e} | {found[-1]:.0e}"
        print(f"| {name} | {depth} | {told} |", flush=True)
