"""How much of the gradient reaches the lowest of many capsule layers.

    python -m benchmarks.gradient_depth

Networks `4, 16 × (L − 2), 10` on 32 real digits, margin loss, Adam 1e-3. For each routing, depth
and initializer: the smallest gradient norm of a layer's kernel, as a share of the largest one, at
initialisation and after 20 steps; "learnt" where no gradient is left, as all digits are right.
"""

import itertools
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from tfcaps import datasets, options, routing
from tfcaps.layers import DenseCapsule
from tfcaps.losses import MarginLoss
from tfcaps.training import CapsuleNetworkConfig

DEPTHS = (2, 7, 12)
NO_SKIPS = "no"
SKIPS = (NO_SKIPS, *options.of(options.fields(CapsuleNetworkConfig)["skip_kind"]).allowed())
INITIALIZERS = options.of(options.fields(CapsuleNetworkConfig)["kernel_initializer"]).allowed()
STEPS = 20


def kernel_gradients(
    name: str, depth: int, *, skips: str, kernel_initializer: str
) -> Iterator[list[np.ndarray]]:
    """The gradients of the dense kernels, from the lowest one on, of one training step each.

    Args:
        name: of the routing.
        depth: L.
        skips: the kind of the residual connections, or "no".
        kernel_initializer: of the votes.
    """
    keras.utils.set_random_seed(0)
    config = CapsuleNetworkConfig(
        log_dir="unused",
        layers=(4, *[16] * (depth - 2), 10),
        dimensions=(8, *[10 if name == "em" else 12] * (depth - 2), 16),
        routing=name,
        make_skips=skips != NO_SKIPS,
        skip_kind=SKIPS[-1] if skips == NO_SKIPS else skips,
        use_reconstruction=False,
        kernel_initializer=kernel_initializer,
    )
    model = config.task().network((24, 24, 1), 10)
    first = datasets.load("mnist5k").train.take(np.arange(32))
    images, _ = datasets.preprocessing("mnist5k", "paper").evaluate(first.images)
    labels = np.eye(10, dtype="float32")[first.labels]
    optimizer, loss = keras.optimizers.Adam(1e-3), MarginLoss()
    optimizer.build(model.trainable_variables)
    kernels = [one.kernel for one in model.layers if isinstance(one, DenseCapsule)]

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            value = loss(labels, model(images, training=True)["lengths"])
        gradients = tape.gradient(value, [one.value for one in model.trainable_variables])
        optimizer.apply(gradients, model.trainable_variables)
        places = [
            [one is kernel for one in model.trainable_variables].index(True) for kernel in kernels
        ]
        return [gradients[place] for place in places]

    while True:
        yield [np.asarray(gradient, "float64") for gradient in step()]


def shares(gradients: Iterator[list[np.ndarray]], steps: int) -> list[float]:
    """The smallest norm as a share of the largest one, at so many steps."""
    norms = np.array(
        [[np.linalg.norm(one) for one in found] for found in itertools.islice(gradients, steps)]
    )
    with np.errstate(invalid="ignore"):  # 0/0 where all is learnt
        return (norms.min(axis=1) / norms.max(axis=1)).tolist()


if __name__ == "__main__":
    print(
        "| routing | layers | skips | initializer | at first | after 20 steps |\n"
        "|---|---|---|---|---|---|"
    )
    for name, depth, skips, initializer in itertools.product(
        routing.names(),
        DEPTHS,
        SKIPS,
        INITIALIZERS,
    ):
        gradients = kernel_gradients(name, depth, skips=skips, kernel_initializer=initializer)
        found = shares(gradients, STEPS + 1)
        first, last = ("learnt" if np.isnan(x) else f"{x:.0e}" for x in (found[0], found[-1]))
        told = f"{skips} | {initializer} | {first} | {last}"
        print(f"| {name} | {depth} | {told} |", flush=True)
