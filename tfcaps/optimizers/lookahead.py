"""An optimizer that goes a few steps ahead, and then part of the way."""

import keras
from keras import ops

from tfcaps.errors import UsageError, positive_int
from tfcaps.ops import outside_of_graphs


@keras.saving.register_keras_serializable(package="tfcaps")
class Lookahead(keras.optimizers.Optimizer):
    """Lookahead around any Keras optimizer.

    Slow weights φ start at the initial weights. The inner optimizer moves the fast weights w; after
    every k-th step

        φ ← φ + α (w − φ),   w ← φ

    The network holds the fast weights; where the number of steps is a multiple of k, they are the
    slow ones.

    Args:
        inner: the optimizer of the fast weights; it belongs to this one from then on. Clipping,
            weight decay and so on are its business. Loss scaling goes around this optimizer, not
            into it; Keras puts it there by itself under `mixed_float16`.
        sync_period: k. Default 6.
        slow_step: α, in (0, 1]. Default 0.5.
        name: Default "lookahead".

    Raises:
        ValueError: an argument is out of its range, or `inner` wraps an optimizer itself.

    Example:

    >>> import keras
    >>> w = keras.Variable([1.0])
    >>> optimizer = Lookahead(keras.optimizers.SGD(0.1), sync_period=2)
    >>> for _ in range(2):
    ...     optimizer.apply([keras.ops.array([1.0])], [w])
    >>> round(float(w[0]), 4)                       # half of the way from 1 to 0.8
    0.9

    Source: Zhang, Lucas, Hinton, Ba, Lookahead optimizer: k steps forward, 1 step back,
    arXiv 1907.08610.
    """

    def __init__(self, inner, sync_period=6, slow_step=0.5, name="lookahead"):
        positive_int("sync_period", sync_period)
        if not 0 < slow_step <= 1:
            raise UsageError(f"Expected slow_step in (0, 1]. Received: {slow_step}")
        inner = keras.optimizers.get(inner)
        # A wrapper has no update of its own that could be followed by the slow weights'.
        if isinstance(inner, (keras.optimizers.LossScaleOptimizer, Lookahead)):
            raise UsageError(
                "Expected an inner optimizer that doesn't wrap another one. "
                f"Received: {type(inner).__name__}"
            )
        super().__init__(learning_rate=0.0, name=name)
        self.inner = inner
        self.sync_period = sync_period
        self.slow_step = slow_step
        # In the inner optimizer's own update of each variable: that is where a distribution
        # strategy lets a variable be changed, after weight decay and before moving averages.
        self._inner_step = self.inner.update_step
        self.inner.update_step = self.update_step

    def build(self, variables):
        if self.built:
            return
        # Keras builds optimizers while it traces a step; a graph can't begin with weights' values.
        with outside_of_graphs():
            self.inner.build(variables)
            super().build(variables)
            self._slow = [
                self.add_variable_from_reference(variable, "slow", initializer=_value_of(variable))
                for variable in variables
            ]

    def apply(self, grads, trainable_variables=None):
        if not self.built:
            self.build(trainable_variables)
        self.inner.apply(grads, trainable_variables)

    def update_step(self, gradient, variable, learning_rate):
        self._inner_step(gradient, variable, learning_rate)
        slow = self._slow[self.inner._get_variable_index(variable)]
        is_due = (self.inner.iterations + 1) % self.sync_period == 0
        before, fast = ops.convert_to_tensor(slow), ops.convert_to_tensor(variable)
        moved = before + self.slow_step * (fast - before)
        self.assign(slow, ops.where(is_due, moved, before))
        self.assign(variable, ops.where(is_due, moved, fast))

    @property
    def variables(self):
        return [*self._variables, *self.inner.variables]

    def save_own_variables(self, store):
        # Without the inner optimizer's, which saves its own; before the first step there are none.
        if not self.built:
            return
        for index, variable in enumerate(self._variables):
            store[str(index)] = variable.numpy()

    def load_own_variables(self, store):
        if not store.keys():
            # Keras builds an optimizer before it reads the weights that the slow ones begin with.
            for slow, variable in zip(self._slow, self._trainable_variables, strict=True):
                slow.assign(_value_of(variable)(slow.shape, slow.dtype))
            return
        if len(store.keys()) != len(self._variables):
            raise ValueError(
                f"Expected {len(self._variables)} variables of {self.name}. "
                f"Received: {len(store.keys())}"
            )
        for index, variable in enumerate(self._variables):
            variable.assign(store[str(index)])

    @property
    def iterations(self):
        return self.inner.iterations

    @property
    def learning_rate(self):
        return self.inner.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate):
        self.inner.learning_rate = learning_rate

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        self.inner.exclude_from_weight_decay(var_list, var_names)

    def scale_loss(self, loss):
        return self.inner.scale_loss(loss)

    def finalize_variable_values(self, var_list):
        self.inner.finalize_variable_values(var_list)

    def get_config(self):
        # The base class' arguments are the inner optimizer's.
        return {
            "inner": keras.saving.serialize_keras_object(self.inner),
            "sync_period": self.sync_period,
            "slow_step": self.slow_step,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        inner = keras.saving.deserialize_keras_object(
            config["inner"], custom_objects=custom_objects
        )
        return cls(**{**config, "inner": inner})


def _value_of(variable):
    """An initializer that gives a variable's present value."""
    # A copy: JAX hands buffers over to its compiled steps, each of them once.
    return lambda shape, dtype=None: ops.copy(ops.cast(ops.convert_to_tensor(variable), dtype))
