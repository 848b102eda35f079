"""A trained residual network with some of its branches switched off, example by example."""

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfcaps.errors import UsageError
from tfcaps.models.block_network import BlockNetwork


class Verdicts(NamedTuple):
    """What a network makes of N examples.

    Args:
        losses: cross-entropy of each, in nats, float64 (N,).
        predictions: the class that it decides for, integers (N,).
        labels: the class that each has, integers (N,).
    """

    losses: np.ndarray
    predictions: np.ndarray
    labels: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Whether each is classified rightly, bool (N,)."""
        return self.predictions == self.labels


class BranchSwitches:
    """Classifies examples without the branches of some blocks; their shortcuts stay.

    All sets of blocks go through one compiled function: what is switched off is an input of it.

    Args:
        model: a network with residual blocks.
        batches: images, as the network takes them, and integer labels, again for each call.

    Raises:
        UsageError: in a call; there is no such block.

    Example:

    >>> import numpy as np
    >>> from tfcaps.models import BlockNetwork
    >>> model = BlockNetwork((8, 8, 1), 3, blocks=(2,), widths=(4,), stem="cifar")
    >>> images, labels = np.zeros((5, 8, 8, 1), "float32"), np.array([0, 1, 2, 0, 1])
    >>> verdicts = BranchSwitches(model, [(images, labels)])(["stage1_block2"])
    >>> verdicts.losses.shape, verdicts.right.dtype
    ((5,), dtype('bool'))
    """

    def __init__(self, model: BlockNetwork, batches: Iterable[tuple[Any, Any]]):
        self.names = model.residual_blocks
        self._batches = batches
        lesionable = model.lesionable

        @tf.function(reduce_retracing=True)
        def judge(images, labels, keep):
            keep = tf.tile(keep[tf.newaxis], [tf.shape(images)[0], 1])
            logits = lesionable({"image": images, "keep": keep}, training=False)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            return losses, tf.argmax(logits, axis=-1), labels

        self._judge = judge

    def __call__(self, removed: Collection[str]) -> Verdicts:
        """The verdicts without the branches of these blocks."""
        unknown = sorted(set(removed) - set(self.names))
        if unknown:
            raise UsageError(
                f"Expected residual blocks among {', '.join(self.names)}. Received: {unknown[0]}"
            )
        keep = tf.constant([0.0 if name in removed else 1.0 for name in self.names])
        parts = [self._judge(images, labels, keep) for images, labels in self._batches]
        losses, *classes = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Verdicts(losses.astype("float64"), *(each.astype("int64") for each in classes))
