"""Training on images that are attacked in each step."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfcaps import labels
from tfcaps.robustness.gradient_descent import check_attack, projected_gradient_descent

# In float16, which ends at 6e-8, a pixel's share of the loss could vanish. A power of two changes
# no sign.
_SCALE = 1024.0


def train_on_attacked_images(
    model: keras.Model, *, epsilon: float = 0.1, step_size: float = 0.01, steps: int = 40
) -> None:
    """From now on, `fit` moves each batch of a capsule network uphill before it learns from it.

    Images x become x_adv by `projected_gradient_descent` on the softmax cross-entropy of the
    lengths, as they are at inference; all else of a train step stays as it is. With the usual
    targets the loss is the margin loss at x_adv plus the reconstruction error to the clean image.

    It may be called before or after a `fit`, and again with another attack, which then is the only
    one. The attack belongs to this object's training, not to the network: checkpoints and exported
    models don't know of it, and a loaded model is told once more. `evaluate` is as ever.

    Args:
        model: a `tfcaps.models.CapsuleNetwork`. It is fed images in [0, 1], with targets whose
            `lengths` are one-hot.
        epsilon: the largest change of a pixel, at least 0. Default 0.1.
        step_size: of one step, above 0. Default 0.01.
        steps: how many, at least 1. Default 40.

    Raises:
        UsageError: an argument is out of its range.

    Example:

    >>> import numpy as np
    >>> from tfcaps.losses import MarginLoss
    >>> from tfcaps.models import CapsNet
    >>> model = CapsNet((20, 20, 1), layers=(2, 3), dimensions=(4, 4), use_reconstruction=False)
    >>> model.compile("adam", loss={"lengths": MarginLoss()})
    >>> train_on_attacked_images(model, steps=2)
    >>> images = np.random.default_rng(0).random((6, 20, 20, 1), "float32")
    >>> loss = model.train_on_batch(images, {"lengths": np.eye(3)[[0, 1, 2, 0, 1, 2]]})

    Source: Peer et al., γ-capsules, arXiv 1812.09707.
    """
    check_attack(epsilon=epsilon, step_size=step_size, steps=steps)
    classifier = model.classifier
    plain_step = type(model).train_step

    def train_step(data: Any) -> dict[str, tf.Tensor]:
        inputs, targets, weights = keras.utils.unpack_x_y_sample_weight(data)
        # Step by step in Python, they come as arrays.
        inputs = keras.tree.map_structure(tf.convert_to_tensor, inputs)
        loss = cross_entropy(classifier, targets["lengths"])
        attacked = projected_gradient_descent(
            loss, _images(inputs), epsilon=epsilon, step_size=step_size, steps=steps
        )
        inputs = {**inputs, "image": attacked} if isinstance(inputs, dict) else attacked
        return plain_step(model, (inputs, targets, weights))

    model.train_step = train_step
    # An earlier `fit` left a compiled function of the step that was there before.
    model.train_function = None


def cross_entropy(
    scores: Callable[..., tf.Tensor], one_hot: tf.Tensor
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Softmax cross-entropy of a network's scores, as a function of its images.

    Args:
        scores: model from images to scores `(B, K)`; the softmax comes here.
        one_hot: labels `(B, K)`.

    Returns:
        Function from images to the losses `(B,)`, all of them times the same power of two. Labels
        of another shape are its UsageError.
    """

    def loss(images: tf.Tensor) -> tf.Tensor:
        logits = scores(images, training=False)
        return _SCALE * tf.nn.softmax_cross_entropy_with_logits(
            labels=labels.multi_hot(tf.convert_to_tensor(one_hot), logits), logits=logits
        )

    return loss


def _images(inputs: Any) -> tf.Tensor:
    return inputs["image"] if isinstance(inputs, dict) else inputs
