"""Which pixels a place sees: against the gradient of that place with respect to the pixels."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcaps.explanation import ReceptiveField, receptive_field
from tfcaps.layers import (
    ConvCapsule,
    DepthwisePrimaryCapsule,
    PlainBlock,
    PrimaryCapsule,
    ResidualBlock,
)

LAYERS = keras.layers


def conv(*arguments, **keywords):
    """A convolution that every pixel below its kernel matters to."""
    return LAYERS.Conv2D(1, *arguments, kernel_initializer="ones", **keywords)


@pytest.mark.parametrize(
    "chain",
    [
        [conv(3)],
        [conv(3, strides=2), conv(2)],
        [conv(3, strides=2, padding="same"), conv(4, padding="same")],
        [conv(5, padding="same"), LAYERS.AveragePooling2D(2), conv(3, dilation_rate=2)],
        [conv((3, 2), strides=(2, 1)), LAYERS.BatchNormalization(), conv((1, 3))],
        [LAYERS.DepthwiseConv2D(3, strides=2, padding="same", depthwise_initializer="ones")],
        [PlainBlock(1, 2, kernel_initializer="ones"), conv(1)],
        [ResidualBlock(2, kernel_initializer="ones"), conv(1)],
        [
            LAYERS.AveragePooling2D(2, padding="same"),
            ResidualBlock(1, 2, kernel_initializer="ones"),
        ],
    ],
    ids=str,
)
def test_against_gradients(chain):
    shape = (13, 12)
    x = tf.ones((1, *shape, 1))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = x
        for layer in chain:
            y = layer(y)
        places = [
            [y[0, row, column, 0] for column in range(y.shape[2])] for row in range(y.shape[1])
        ]
    field = receptive_field(chain, shape)
    assert field.places == tuple(y.shape[1:3])
    for row, column in np.ndindex(*field.places):
        seen = np.zeros(shape, bool)
        seen[field.box(row, column)] = True
        gradient = tape.gradient(places[row][column], x)[0, ..., 0].numpy()
        np.testing.assert_array_equal(gradient != 0, seen, err_msg=f"{row}, {column}")


def test_capsule_layers():
    """9 + (9 − 1) = 17 pixels, every 2 of them; (28 − 8 − 8)/2 = 6 places."""
    stem = LAYERS.Conv2D(8, 9)
    field = receptive_field([stem, PrimaryCapsule(2, 4)], (28, 28))
    assert field == ReceptiveField((6, 6), (17, 17), (2, 2), (0, 0), (28, 28))
    # 7 + 2·2 = 11 pixels, of which one place, 2 pixels, lies before the image.
    stem = LAYERS.Conv2D(8, 7, strides=2)
    field = receptive_field([stem, ConvCapsule(2, 4)], (28, 28))
    assert field == ReceptiveField((11, 11), (11, 11), (2, 2), (-2, -2), (28, 28))
    assert field.box(0, 5) == (slice(0, 9), slice(8, 19))


def test_spread():
    """Pixel 2 is seen by both places, pixel 5 by none."""
    field = ReceptiveField((2, 1), (3, 1), (2, 1), (0, 0), (6, 1))
    spread = field.spread(np.array([[1.0], [3.0]]))
    np.testing.assert_array_equal(spread[:, 0], [1, 1, 2, 3, 3, np.nan])


def test_depthwise_primary_capsules_have_one_place():
    """Their kernel covers what two convolutions leave of 20 pixels: 20 − 4 − 2 = 14."""
    summary = DepthwisePrimaryCapsule(2, 4)
    summary.build((None, 14, 14, 8))
    field = receptive_field([LAYERS.Conv2D(8, 5), LAYERS.Conv2D(8, 3), summary], (20, 20))
    assert field == ReceptiveField((1, 1), (20, 20), (1, 1), (0, 0), (20, 20))
