"""How much a layer's routing looks like a tree."""

import math

import keras
from keras import ops

from tfcaps.errors import UsageError
from tfcaps.metrics.sums import sum_dtype


@keras.saving.register_keras_serializable(package="tfcaps")
class TScore(keras.metrics.Metric):
    """T-score of a capsule layer: 1 where each capsule has one parent, 0 where all get the same.

    `T = mean over examples, places and input capsules i of 1 − H(c_i) / log O`, with the entropy
    `H(c_i) = −Σ_o c_oi log c_oi` of the O coupling coefficients of an input capsule. A layer with a
    single output capsule is a tree: T = 1. Input capsules that are masked don't count; all their
    coefficients are 0.

    It is computed over all that was seen since the last `reset_state`, whatever the batches, and
    its sums add up over replicas.

    Args:
        name: Default "t_score".
        dtype: Default: Keras' float.

    Call arguments:
        coupling: coupling coefficients `(B, O, I)`, or with places `(B, …, O, I)`, that sum to 1
            over O.

    Raises:
        UsageError: the coefficients have fewer than three axes.

    Example:

    >>> import numpy as np
    >>> score = TScore()
    >>> score.update_state(np.full((2, 10, 6), 0.1, "float32"))    # two uniform examples
    >>> score.update_state(np.eye(10, dtype="float32")[None])      # one tree
    >>> round(float(score.result()), 4)
    0.3333

    Source: Peer et al., γ-capsules, arXiv 1812.09707.
    """

    def __init__(self, name="t_score", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self._total = self.add_variable((), "zeros", dtype=sum_dtype(), name="total")
        self._examples = self.add_variable((), "zeros", dtype=sum_dtype(), name="examples")

    def update_state(self, coupling):
        coupling = ops.convert_to_tensor(coupling)
        if len(coupling.shape) < 3:
            raise UsageError(
                "Expected coupling coefficients of shape (B, O, I) or (B, ..., O, I). "
                f"Received: {tuple(coupling.shape)}"
            )
        coupling = ops.cast(coupling, "float32")
        is_there = ops.cast(ops.any(coupling != 0, axis=-2), "float32")
        capsules = tuple(range(1, len(is_there.shape)))
        counts = ops.sum(is_there, axis=capsules)
        # Capsules of one example share its weight, so that sums count examples, not capsules.
        scores = ops.divide_no_nan(
            ops.sum(_tree_scores(coupling) * is_there, axis=capsules), counts
        )
        self._total.assign_add(ops.sum(ops.cast(scores, self._total.dtype)))
        self._examples.assign_add(ops.sum(ops.cast(counts > 0, self._examples.dtype)))

    def result(self):
        return ops.cast(ops.divide_no_nan(self._total, self._examples), self.dtype)


def _tree_scores(coupling):
    """`1 − H(c_i) / log O`, shape `(B, …, I)`."""
    outputs = coupling.shape[-2]
    if outputs == 1:
        return ops.ones_like(coupling[..., 0, :])
    # 0·log 0 = 0
    logarithms = ops.log(ops.where(coupling > 0, coupling, ops.ones_like(coupling)))
    return 1.0 + ops.sum(coupling * logarithms, axis=-2) / math.log(outputs)
