"""What a step was said to need, and its measured peak: `python -m benchmarks.step_memory`."""

import keras
import numpy as np

from tfcaps import losses, measure, models
from tfcaps.training import memory

CASES = (
    ("CapsNet", "rba", 28, 64),
    ("ConvCapsNet", "sda", 28, 64),
    ("EfficientCapsNet", "attention", 28, 64),
    ("CapsNet", "rba", 64, 8),
    ("CapsNet", "em", 28, 128),
    ("EfficientCapsNet", "em", 64, 32),
)
SMALL = {"layers": (16, 10), "dimensions": (8, 16)}


def network(name, routing, side):
    """A network with Adam."""
    sizes = {} if name == "CapsNet" else SMALL
    model = getattr(models, name)((side, side, 1), **sizes, routing=routing)
    terms = {"lengths": losses.MarginLoss(), "reconstruction": losses.ReconstructionLoss()}
    model.compile(keras.optimizers.Adam(), loss=terms, jit_compile=False)
    return model


def step(name, routing, side, batch_size):
    """A training step; the network is made before, and so isn't in the peak."""
    model = network(name, routing, side)
    images = np.zeros((batch_size, side, side, 1), "float32")
    targets = {"lengths": np.eye(10, dtype="float32")[[0] * batch_size], "reconstruction": images}
    return lambda: model.train_on_batch(images, targets)


def main():
    """Prints a row a case."""
    for case in CASES:
        model = network(*case[:3])
        estimate = memory.step_megabytes(model, case[-1])
        measured = measure.peak_megabytes(step, *case) + 4 * model.count_params() / 2**20
        print(*case, f"{estimate:.0f} MB {measured:.0f} MB {estimate / measured:.2f}", sep=" | ")


if __name__ == "__main__":
    main()
