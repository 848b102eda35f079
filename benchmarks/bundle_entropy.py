"""Bundle entropy of an array against a plain loop, and of a network against its forward passes."""

import time

import numpy as np
import tensorflow as tf

from benchmarks.pairwise_bundles import pairwise_bundles
from tfcaps import measure
from tfcaps.metrics import BundleEntropy, bundle_entropy
from tfcaps.models import BlockNetwork

SAMPLES, FEATURES, CLASSES = 512, 16_384, 10
BLOCKS, WIDTHS, IMAGE = (3, 12, 41, 3), (64, 128, 256, 512), (32, 32, 3)
BATCH = 64


def arrays() -> tuple[np.ndarray, np.ndarray]:
    """Activations of which no two rows agree, the slowest case of the loop, and labels."""
    random = np.random.default_rng(0)
    return random.random((SAMPLES, FEATURES), "float32"), random.integers(0, CLASSES, SAMPLES)


def network_programs():
    """All convolutions and dense layers measured, and the bare forward passes of the images."""
    random = np.random.default_rng(0)
    images = random.normal(size=(SAMPLES, *IMAGE)).astype("float32")
    labels = random.integers(0, CLASSES, SAMPLES)
    model = BlockNetwork(IMAGE, CLASSES, "vgg", BLOCKS, WIDTHS)
    inner = [f"{block}/{name}" for block in model.inspector.output for name in ("conv1", "conv2")]
    layers = ["stem_conv", *inner, "logits"]
    forward = tf.function(lambda batch: model(batch, training=False), jit_compile=False)
    sizes = {"batch_size": BATCH, "probe_batch_size": BATCH}
    measured = BundleEntropy(model, layers, learning_rate=1e-3, **sizes)

    def bare():
        for start in range(0, SAMPLES, BATCH):
            forward(images[start : start + BATCH]).numpy()

    return {"forward passes": bare, "bundle entropy": lambda: measured(images, labels)}


def measuring():
    """The measurement alone, for a process of its own."""
    return network_programs()["bundle entropy"]


def main(rounds: int) -> None:
    activations, labels = arrays()
    print(f"\nBundle entropy of {SAMPLES} samples × {FEATURES} features")
    start = time.perf_counter()
    pairwise_bundles(activations, labels, 1e-3, BATCH, 1.0)
    loop = time.perf_counter() - start
    arguments = {"learning_rate": 1e-3, "batch_size": BATCH, "amplitude": 1.0}
    programs = {"package": lambda: bundle_entropy(activations, labels, **arguments)}
    seconds = measure.medians(programs, rounds)["package"]
    print(f"row by row {loop:8.2f} s   (once)")
    print(f"package    {seconds:8.3f} s{loop / seconds:8.0f}× as fast", flush=True)

    layers = 2 * sum(BLOCKS) + 2
    print(f"\nAll {layers} layers of a vgg {BLOCKS} on {SAMPLES} images, {IMAGE}")
    found = measure.medians(network_programs(), min(rounds, 3))
    for name, seconds in found.items():
        print(f"{name:16}{seconds:8.2f} s{seconds / found['forward passes']:8.2f}×")
    print(f"peak memory {measure.peak_megabytes(measuring):6.0f} MB above the network's")
