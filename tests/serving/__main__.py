"""Asks a server of an exported capsule network many times, and says how long it takes.

python -m tests.serving --requests=10000 --clients=8

The server speaks gRPC with TensorFlow Serving's messages and answers by its loader; a tenth of the
requests are wrong ones, and each other answer is compared with the Keras model's.
"""

import argparse
import contextlib
import pathlib
import sys
import tempfile

import keras
import numpy as np
import tensorflow as tf

from tests import runs
from tests.serving import load, loader, service
from tfcaps import datasets, export, models

_IMAGES = 64


def exported(folder: pathlib.Path) -> tuple[pathlib.Path, np.ndarray, dict[str, np.ndarray]]:
    """An untrained CapsNet of 28×28 images, images, and what Keras says of them."""
    keras.utils.set_random_seed(0)
    classes = tuple("0123456789")
    network = models.CapsNet(
        (28, 28, 1), (16, 16, 10), (8, 8, 16), routing="rba", use_reconstruction=False
    )
    images = datasets.load("mnist5k").test.images[:_IMAGES]
    path = export.export_model(
        network.classifier,
        folder,
        preprocess=lambda pixels: tf.cast(pixels, tf.float32) / 255.0,
        image_shape=(28, 28, 1),
        class_names=classes,
    )
    scores = network.classifier.predict(images.astype("float32") / 255.0, verbose=0)
    ids = scores.argmax(axis=1)
    labels = np.array([classes[number].encode() for number in ids], object)
    return path, images, {"scores": scores, "class_id": ids, "label": labels}


def main() -> int:
    """Asks; 1 where an answer is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.serving", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--wrong", type=float, default=0.1, help="part of them")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    cache = runs.ROOT / ".pytest_cache" / "d" / "export_loader"
    cache.mkdir(parents=True, exist_ok=True)
    program = loader.build(cache)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        path, images, expected = exported(pathlib.Path(folder))
        process = loader.Loader(program, path)
        stack.callback(process.close)
        address = stack.enter_context(service.served(process))
        answers = load.ask(
            *(address, process, images, expected),
            requests=asked.requests,
            clients=asked.clients,
            wrong=asked.wrong,
            seed=asked.seed,
            progress=lambda done: print(f"{done:,} requests", file=sys.stderr),
        )
    print(f"{'signature':16} {'images':>6} {'requests':>9} {'p50':>9} {'p99':>9}")
    for (signature, size), seconds in sorted(answers.seconds.items()):
        p50, p99 = 1e3 * np.percentile(seconds, [50, 99])
        print(f"{signature:16} {size:6} {len(seconds):9,} {p50:6.1f} ms {p99:6.1f} ms")
    print(f"{sum(answers.refused.values()):,} wrong requests were refused: {answers.refused}")
    print(f"{asked.requests / answers.elapsed:,.0f} requests/s by {asked.clients} clients")
    print("MB after each tenth:", *(f"{number:.0f}" for number in answers.megabytes))
    print(f"{len(answers.faults)} faults", *answers.faults[:10], sep="\n  ")
    return bool(answers.faults)


if __name__ == "__main__":
    sys.exit(main())
