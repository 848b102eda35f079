"""The moving statistics of batch normalisations, estimated anew where a network was changed."""

import itertools
import math
from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from tfcaps.training import devices
from tfcaps.training.loop import Session

# Enough that a channel's mean is known to 3 % of its deviation: 1 / √1000.
_EXAMPLES = 1000


class Recalibration:
    """Gives a network's batch normalisations the statistics of some batches of its inputs.

    Moving mean and variance become the means over the batches of what normalises these batches in
    training. No other weight changes; what they were before doesn't matter.

    Args:
        model: the network. Its normalisations have to be trainable, as frozen ones use no batch.

    Example:

    >>> import numpy as np
    >>> normalization = keras.layers.BatchNormalization()
    >>> model = keras.Sequential([keras.Input((1,)), normalization])
    >>> Recalibration(model)([np.array([[1.0], [3.0]]), np.array([[4.0], [8.0]])])
    >>> [float(normalization.moving_mean[0]), float(normalization.moving_variance[0])]
    [4.0, 2.5]

    Source: Izmailov et al., Averaging weights leads to wider optima, arXiv 1803.05407, section 3.2.
    """

    def __init__(self, model: keras.Model):
        layers = [
            layer
            for layer in model._flatten_layers(include_self=False)
            if isinstance(layer, keras.layers.BatchNormalization)
        ]

        @tf.function(reduce_retracing=True, autograph=False)
        def update(inputs, kept):
            momenta = [layer.momentum for layer in layers]
            try:
                for layer in layers:
                    layer.momentum = tf.cast(kept, layer.moving_mean.dtype)
                model(inputs, training=True)
            finally:
                for layer, momentum in zip(layers, momenta, strict=True):
                    layer.momentum = momentum

        self._update = update

    def __call__(self, batches: Iterable[Any]) -> None:
        """Estimates the statistics of these batches of network inputs, at least one."""
        for number, inputs in enumerate(batches):
            # The n-th batch has the part 1 / n of the mean, so the first one leaves nothing behind.
            self._update(inputs, tf.constant(number / (number + 1), "float64"))


def training_inputs(session: Session) -> list[Any]:
    """About a thousand training images as a training's first epoch has them, in its batches.

    Args:
        session: what is trained; inside of `loop.surroundings`.
    """
    config = session.config
    batches = session.task.training_batches(
        session.model, session.data, epochs=range(1), devices=devices.count()
    )
    count = min(math.ceil(_EXAMPLES / config.batch_size), session.steps)
    return [batch[0] for batch in itertools.islice(batches, count)]


def recalibrate(session: Session) -> None:
    """Gives a session's network the statistics of its `training_inputs`, see `Recalibration`.

    Args:
        session: the network, and what it learns from; inside of `loop.surroundings`.
    """
    Recalibration(session.model)(training_inputs(session))
