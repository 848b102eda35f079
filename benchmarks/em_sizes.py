"""Whether EM learns whatever the sizes of its layer are.

    python -m benchmarks.em_sizes FILE.csv [LARGEST]

One EM layer on the primary capsules of a small stem, margin loss, Adam, batches of 32 real digits.
Two classes: even and odd; ten: the digits; a hundred: digits, each turned by n·36°. A setting has
learnt when the mean accuracy of its last ten batches is 75, 50 or 10 %; the file says after how
many steps that was, and "" where it wasn't after 400.

Small settings come first. Settings that the file has aren't trained again, so that the program can
be stopped at any time. LARGEST leaves out settings with more votes per image, in millions.
"""

import collections
import csv
import itertools
import math
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from tfcaps import datasets, files
from tfcaps.layers import CapsuleLength, DenseCapsule, PrimaryCapsule
from tfcaps.losses import MarginLoss

COLUMNS = ("inputs", "dim", "classes", "iterations", "learning_rate", "steps")
# The 6×6 places of the primary capsules, with 1, 8, 32 and 128 of them each.
INPUTS, DIMENSIONS, CLASSES, ITERATIONS = (
    (36, 288, 1152, 4608),
    (4, 8, 16, 32),
    (2, 10, 100),
    (1, 2, 3),
)
LEARNING_RATES = (1e-3, 1e-4)
ENOUGH = {2: 0.75, 10: 0.5, 100: 0.1}
BATCH, STEPS, WINDOW = 32, 400, 10


def settings(largest: float) -> list[tuple]:
    """All settings with so many million votes' numbers per image at most, small ones first."""
    every = itertools.product(INPUTS, DIMENSIONS, CLASSES, ITERATIONS, LEARNING_RATES)
    return sorted(
        (one for one in every if math.prod(one[:3]) <= largest * 1e6),
        key=lambda one: math.prod(one[:3]),
    )


def examples(classes: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Digits (N, 28, 28, 1) in [0, 1], and labels."""
    train = datasets.load("mnist5k").train
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(train), count)
    images, labels = train.images[chosen].astype("float32") / 255.0, train.labels[chosen]
    if classes == 2:
        return images, labels % 2
    if classes == 10:
        return images, labels
    turns = rng.integers(0, 10, count)
    cos, sin = np.cos(turns * np.pi / 5), np.sin(turns * np.pi / 5)
    centre = (images.shape[1] - 1) / 2
    zero = np.zeros(count)
    # Where in the image a pixel of the turned one comes from, about the centre.
    transforms = (
        *(cos, -sin, centre * (1 - cos + sin)),
        *(sin, cos, centre * (1 - cos - sin)),
        *(zero, zero),
    )
    turned = keras.ops.image.affine_transform(images, np.stack(transforms, axis=1))
    return np.asarray(turned), labels * 10 + turns


def steps_to_learn(inputs, dim, classes, iterations, learning_rate) -> int | None:
    """After how many steps the setting has learnt; None where it hasn't."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    images = keras.Input((28, 28, 1))
    x = keras.layers.Conv2D(16, 9, activation="relu")(images)
    x = PrimaryCapsule(inputs // 36, 8, 9, 2)(x)
    layer = DenseCapsule(classes, dim, routing={"name": "em", "iterations": iterations})
    model = keras.Model(images, CapsuleLength()(layer(x)))
    optimizer, loss = keras.optimizers.Adam(learning_rate), MarginLoss()
    optimizer.build(model.trainable_variables)

    @tf.function
    def step(images, labels):
        with tf.GradientTape() as tape:
            lengths = model(images, training=True)
            value = loss(tf.one_hot(labels, classes), lengths)
        optimizer.apply(
            tape.gradient(value, [v.value for v in model.trainable_variables]),
            model.trainable_variables,
        )
        return tf.reduce_mean(tf.cast(tf.argmax(lengths, axis=-1) == labels, tf.float32))

    pixels, labels = examples(classes, BATCH * STEPS)
    last = collections.deque(maxlen=WINDOW)
    for number in range(STEPS):
        chosen = slice(number * BATCH, (number + 1) * BATCH)
        last.append(float(step(pixels[chosen], labels[chosen])))
        if len(last) == WINDOW and np.mean(last) >= ENOUGH[classes]:
            return number + 1
    return None


def main(path: pathlib.Path, largest: float) -> None:
    """Measures the settings that the file doesn't have."""
    rows = []
    if path.exists():
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    known = {tuple(float(row[name]) for name in COLUMNS[:-1]) for row in rows}
    for setting in settings(largest):
        if tuple(map(float, setting)) not in known:
            steps = steps_to_learn(*setting)
            rows.append(dict(zip(COLUMNS, (*setting, "" if steps is None else steps), strict=True)))
            files.write_csv(path, rows)
            print(*setting, "steps:", steps, flush=True)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else math.inf)
