"""How much the capsules of a layer tell examples apart."""

import keras
from keras import ops

from tfcaps.errors import UsageError
from tfcaps.metrics.sums import sum_dtype
from tfcaps.ops import safe_norm


@keras.saving.register_keras_serializable(package="tfcaps")
class DScore(keras.metrics.Metric):
    """D-score of a capsule layer: how much its most lively capsule's length varies over the data.

    `D = max over capsules o of std over examples of ‖v_o‖`; capsules at different places are
    different capsules. 0: the layer says the same of all examples.

    It is computed over all that was seen since the last `reset_state`, whatever the batches, and
    its sums add up over replicas. They are float64 (on JAX float32), so that a small deviation from
    a large mean is not lost.

    Args:
        name: Default "d_score".
        dtype: Default: Keras' float.

    Call arguments:
        capsules: `(B, O, E)`, or with places `(B, …, O, E)`; always of the same number.

    Raises:
        UsageError: the capsules have fewer than three axes, or are others than before.

    Example:

    >>> import numpy as np
    >>> score = DScore()
    >>> score.update_state(np.array([[[0.0, 0.5], [0.9, 0.0]]], "float32"))    # lengths .5, .9
    >>> score.update_state(np.array([[[0.1, 0.0], [0.0, 0.9]]], "float32"))    # lengths .1, .9
    >>> round(float(score.result()), 4)
    0.2

    Source: Peer et al., γ-capsules, arXiv 1812.09707.
    """

    def __init__(self, name="d_score", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self._examples = self.add_variable((), "zeros", dtype=sum_dtype(), name="examples")
        self._sums = None
        self._squares = None

    def build(self, capsules_shape):
        """Makes the sums for capsules `(…, O)`."""
        self._sums = self.add_variable(capsules_shape, "zeros", dtype=sum_dtype(), name="sums")
        self._squares = self.add_variable(
            capsules_shape, "zeros", dtype=sum_dtype(), name="squares"
        )

    def update_state(self, capsules):
        capsules = ops.convert_to_tensor(capsules)
        shape = tuple(capsules.shape[1:-1])
        if len(capsules.shape) < 3:
            raise UsageError(
                "Expected capsules of shape (B, O, E) or (B, ..., O, E). "
                f"Received: {tuple(capsules.shape)}"
            )
        if self._sums is None:
            self.build(shape)
        if shape != tuple(self._sums.shape):
            raise UsageError(
                f"Expected {tuple(self._sums.shape)} capsules as before. Received: {shape}"
            )
        lengths = safe_norm(ops.cast(capsules, self._sums.dtype))
        self._examples.assign_add(ops.cast(ops.shape(capsules)[0], self._examples.dtype))
        self._sums.assign_add(ops.sum(lengths, axis=0))
        self._squares.assign_add(ops.sum(ops.square(lengths), axis=0))

    def result(self):
        if self._sums is None:
            return ops.zeros((), self.dtype)
        means = ops.divide_no_nan(self._sums, self._examples)
        variances = ops.divide_no_nan(self._squares, self._examples) - ops.square(means)
        # Rounding may leave a constant length a variance just below 0.
        return ops.cast(ops.sqrt(ops.maximum(ops.max(variances), 0.0)), self.dtype)
