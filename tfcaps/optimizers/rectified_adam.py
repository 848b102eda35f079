"""Adam whose first steps don't trust a variance that few gradients were seen for."""

import math

import keras
from keras import ops

from tfcaps.errors import UsageError

# Fewer degrees of freedom than this, and the adaptive step's variance is not bounded.
_THRESHOLD = 5.0


@keras.saving.register_keras_serializable(package="tfcaps")
class RectifiedAdam(keras.optimizers.Optimizer):
    """Rectified Adam with decoupled weight decay.

    For step t = 1, 2, …, gradient g and weight w:

        m ← β₁ m + (1 − β₁) g,   v ← β₂ v + (1 − β₂) g²,   m̂ = m / (1 − β₁ᵗ),   v̂ = v / (1 − β₂ᵗ)
        ρ_∞ = 2 / (1 − β₂) − 1,  ρ = ρ_∞ − 2 t β₂ᵗ / (1 − β₂ᵗ)
        u = r m̂ / (√v̂ + ε)  with  r = √[(ρ−4)(ρ−2) ρ_∞ / ((ρ_∞−4)(ρ_∞−2) ρ)]  if ρ ≥ 5, else m̂
        w ← w − η (u + λ w)

    The paper rectifies where ρ > 4; 5 is what its authors' program does, and optax.

    Each weight has a t of its own, so that one that comes later, into a network that grows, has its
    first steps like all others: at the network's t, steps along an unchanging gradient would be up
    to 6.6 η, as √v̂ of empty slots lags behind m̂.

    Args:
        learning_rate: η, a float or a schedule. Default 1e-3.
        beta_1: β₁, decay of the gradients' mean. Default 0.9.
        beta_2: β₂, decay of their squares' mean. Default 0.999.
        epsilon: ε. Default 1e-6.
        weight_decay: λ, or None for none. Default 1e-2.
        name: Default "rectified_adam".
        **kwargs: clipping, moving averages and so on, see `keras.optimizers.Optimizer`.

    Raises:
        ValueError: a β is not in [0, 1), or ε is not positive.

    Example:

    >>> import keras
    >>> w = keras.Variable([1.0])
    >>> optimizer = RectifiedAdam(0.1, weight_decay=None)
    >>> optimizer.apply([keras.ops.array([2.0])], [w])
    >>> round(float(w[0]), 4)                       # not adaptive yet: 1 − 0.1·2
    0.8

    Source: Liu et al., On the variance of the adaptive learning rate and beyond, arXiv 1908.03265.
    """

    def __init__(
        self,
        learning_rate=1e-3,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-6,
        weight_decay=1e-2,
        name="rectified_adam",
        **kwargs,
    ):
        for argument, value in (("beta_1", beta_1), ("beta_2", beta_2)):
            if not 0 <= value < 1:
                raise UsageError(f"Expected {argument} in [0, 1). Received: {value}")
        if not epsilon > 0:
            raise UsageError(f"Expected epsilon > 0. Received: {epsilon}")
        super().__init__(learning_rate, weight_decay=weight_decay, name=name, **kwargs)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._means = self.add_optimizer_variables(variables, "mean")
        self._squares = self.add_optimizer_variables(variables, "square")
        # Behind the slots, which are all that older archives have.
        self._steps = [self._steps_of(variable) for variable in variables]

    def _steps_of(self, variable):
        path = getattr(variable, "path", variable.name).replace("/", "_")
        return self.add_variable((), dtype="int32", name=f"{path}_steps")

    def load_own_variables(self, store):
        known = self.variables
        if self.built and len(store.keys()) == len(known) - len(self._steps):
            # Of a version without steps of each weight: all have those of the optimizer.
            for index, variable in enumerate(known[: len(store.keys())]):
                variable.assign(store[str(index)])
            for steps in self._steps:
                steps.assign(self.iterations)
            return
        super().load_own_variables(store)

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        mean, square, steps = self._means[index], self._squares[index], self._steps[index]
        gradient = ops.cast(gradient, variable.dtype)
        self.assign_add(mean, (gradient - mean) * (1.0 - self.beta_1))
        self.assign_add(square, (ops.square(gradient) - square) * (1.0 - self.beta_2))

        self.assign_add(steps, ops.ones((), steps.dtype))
        step = ops.cast(steps, variable.dtype)
        mean_correction = _one_minus_power(self.beta_1, step)
        square_correction = _one_minus_power(self.beta_2, step)
        plain = mean / mean_correction
        adaptive = plain / (ops.sqrt(square / square_correction) + self.epsilon)
        factor, is_rectified = self._rectification(step)
        update = ops.where(is_rectified, factor * adaptive, plain)
        self.assign_sub(variable, ops.cast(learning_rate, variable.dtype) * update)

    def _rectification(self, step):
        """The factor r, and whether there are enough degrees of freedom for it."""
        largest = 2.0 / (1.0 - self.beta_2) - 1.0
        freedom = _degrees_of_freedom(self.beta_2, step)
        is_rectified = freedom >= _THRESHOLD
        freedom = ops.maximum(freedom, _THRESHOLD)  # keeps the root real in the other case
        ratio = (freedom - 4.0) * (freedom - 2.0) / freedom
        # A small β₂ never gets there: nothing is rectified then, whatever the factor.
        limit = max((largest - 4.0) * (largest - 2.0) / largest, 1e-12)
        return ops.sqrt(ratio / limit), is_rectified

    def get_config(self):
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
        }


def _one_minus_power(base, step):
    """1 − baseᵗ. For the first steps the plain difference would lose four of float32's digits."""
    if base == 0:
        return ops.ones_like(step)
    return -ops.expm1(step * math.log(base))


def _degrees_of_freedom(beta, step):
    """ρ = 2/(1 − β) − 1 − 2 t βᵗ / (1 − βᵗ), about t in the first steps.

    Both parts are about 2000 then, so float32 would lose three digits of the difference. With
    a = −log β and x = a t it is the sum of 2/(1 − β) − 1 − 2/a and (2/a)(1 − x / (eˣ − 1)).
    """
    if beta == 0:
        return ops.ones_like(step)
    rate = -math.log(beta)
    x = rate * step
    series = x / 2.0 - x**2 / 12.0 + x**4 / 720.0 - x**6 / 30240.0
    closed = 1.0 - x / ops.expm1(x)
    constant = 2.0 / (1.0 - beta) - 1.0 - 2.0 / rate
    return constant + 2.0 / rate * ops.where(x < 1.0, series, closed)
