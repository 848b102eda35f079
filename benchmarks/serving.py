"""Answers of an exported CapsNet: one image, and a batch of 128 against its two convolutions."""

import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf

from benchmarks.train_step import DIMENSIONS, IMAGE, LAYERS
from tfcaps import export, measure
from tfcaps.models import CapsNet

BATCH = 128
ROUTINGS = ("rba", "em", "sda")


def served(routing: str, folder: str):
    """The signature of `serving/1`, as a server calls it."""
    path = export.export_model(
        CapsNet(IMAGE, LAYERS, DIMENSIONS, routing=routing).classifier,
        pathlib.Path(folder, routing),
        preprocess=lambda images: tf.cast(images, "float32") / 255.0,
        image_shape=IMAGE,
        class_names=[str(label) for label in range(LAYERS[-1])],
    )
    model = tf.saved_model.load(path)
    signature = model.signatures["serving_default"]
    images = tf.constant(np.random.default_rng(0).integers(0, 256, (BATCH, *IMAGE)), tf.uint8)
    # `model` goes along: a signature alone does not keep the weights.
    return lambda count, model=model: signature(images[:count])["scores"].numpy()


def convolutions():
    """The network's two, as Keras computes them."""
    channels = LAYERS[0] * DIMENSIONS[0]
    model = keras.Sequential(
        [
            keras.Input(IMAGE),
            keras.layers.Conv2D(channels, 9, activation="relu"),
            keras.layers.Conv2D(channels, 9, strides=2),
        ]
    )
    images = tf.random.stateless_uniform((BATCH, *IMAGE), (0, 0))
    run = tf.function(lambda: tf.reduce_sum(model(images, training=False)))
    return lambda: run().numpy()


def main(rounds: int) -> None:
    print(f"\nServed CapsNet {LAYERS} / {DIMENSIONS}, {IMAGE} images")
    with tempfile.TemporaryDirectory() as folder:
        answers = {routing: served(routing, folder) for routing in ROUTINGS}
        ones = {name: lambda answer=answer: answer(1) for name, answer in answers.items()}
        single = measure.medians(ones, rounds)
        batches = {name: lambda answer=answer: answer(BATCH) for name, answer in answers.items()}
        batches["convolutions"] = convolutions()
        many = measure.medians(batches, rounds)
    alone = many["convolutions"]
    print(f"{'':8}{'1 image':>10}{f'{BATCH} images':>14}   (convolutions {alone * 1e3:.1f} ms)")
    for name in ROUTINGS:
        print(
            f"{name:8}{single[name] * 1e3:7.1f} ms{many[name] * 1e3:11.1f} ms"
            f"{alone / many[name]:8.2f} of the convolutions' rate",
            flush=True,
        )
