"""Batches as `fit` and `evaluate` take them."""

from typing import Any

import tensorflow as tf

from tfcaps.models import CapsuleNetwork


def as_inputs_and_targets(
    batches: tf.data.Dataset, model: CapsuleNetwork, num_classes: int, *, training: bool
) -> tf.data.Dataset:
    """Turns batches of a data set into (inputs, targets) of a capsule network.

    A network whose decoder sees the label's capsule gets the labels in training, and zeros
    otherwise: at inference it reconstructs from the longest capsule.
    """

    def convert(batch: dict[str, tf.Tensor]) -> tuple[Any, dict[str, tf.Tensor]]:
        one_hot = tf.one_hot(batch["label"], num_classes)
        targets = {"lengths": one_hot}
        if model.use_reconstruction:
            targets["reconstruction"] = batch["original"]
        inputs = batch["image"]
        if isinstance(model.input, dict):
            inputs = {"image": inputs, "label": one_hot if training else tf.zeros_like(one_hot)}
        return inputs, targets

    return batches.map(convert, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)
