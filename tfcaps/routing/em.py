"""EM routing for vector capsules."""

import math

import keras
from keras import ops

from tfcaps.errors import UsageError
from tfcaps.ops import EPSILON, compiled, unit
from tfcaps.routing.registry import register
from tfcaps.routing.routing import Routing, add_bias, softmax_over_outputs

COSTS = ("relative", "published")
# Keeps a cluster of identical votes from an infinite density: published, as a variance; relative,
# as a part of the mean variance, and another one of means, as votes may be of any size.
MIN_VARIANCE = 1e-4
_OF_VARIANCES = 1e-2
_OF_MEANS = 1e-6  # far above the rounding of single precision
_OF_NOTHING = 1e-16
MIN_SHARE = 1e-3  # of the mean total weight, where no vote is left for a cluster
# Of the relative cost: how much the logit grows for a cluster that is tighter by a factor e.
STEEPNESS = 8.0
# Of hidden capsules at first: with few of them active, little of what is below gets through.
_HIDDEN_ACTIVATION = 0.8
# The root mean square of s · cost over the output capsules stays below: clusters of a few votes in
# a few dimensions differ so much that the logistic would saturate.
_LARGEST_LOGIT = 4.0
# What published arguments are, unless they are given.
_SCHEDULE = {"inverse_temperature": 0.01, "inverse_temperature_decay": 0.95}


@register("em")
class EMRouting(Routing):
    """EM routing: output capsules are Gaussian clusters of the votes.

    With a_i the length of input capsule i, R = 1/O at first, the bias added to the votes, and
    iterations r = 1, 2, …

        M:  w = R a_i;  μ = Σ_i w û / (Σ_i w + ε);  σ² = Σ_i w (û − μ)² / (Σ_i w + ε) + floor
            a = sigmoid(s (β_a − cost))
        E:  R = softmax over the output capsules of
                [log a − τ Σ_e (½ log σ² + (û − μ)² / (2σ²))]      (not in the last iteration)

    The output is a · μ/‖μ‖. The E step stays in the log domain, for a product of densities under-
    and overflows. There are two costs:

    relative: all is a mean over dimensions, and what counts is how much tighter a cluster is than
    the others, and how many of the votes are its own. So the number of input capsules, their
    dimension and the size of votes don't matter.

        cost_o = ½ mean_e log σ² − (1/E) log(share_o + 1e-3), minus its mean over O
        share_o = Σ_i w, divided by its mean over O
        then cost_o is divided by √(1 + (s/4)² · the mean over O of its square)
        s = 8;  τ = 1/E;  floor = mean over O and E of 0.01 σ² + 1e-6 μ², plus 1e-16

    β_a is learnt, one per output capsule; at first it makes all a be 1/O, as is right for classes,
    or what `first_activation` says, which is 0.8 for hidden capsules of this package's networks. A
    single output capsule has no others: instead of the mean, ½ mean_e log(σ² + μ²) is subtracted
    from its cost, which is that of a cluster about 0.

    published: sums over input capsules and dimensions, so that one λ fits one size of a layer.

        cost = Σ_e (β_u + log σ²) · Σ_i w;  s = λ·(1 − γ^r);  τ = 1;  floor = 1e-4

    β_a and β_u are learnt, one each per output capsule, N(0, 0.2).

    Args:
        iterations: number of iterations, at least 1. Default 2.
        cost: "relative" or "published". Default "relative".
        inverse_temperature: λ of the published cost, above 0. Default 0.01.
        inverse_temperature_decay: γ of the published cost in [0, 1); 0 is s = λ from the first
            iteration on. Default 0.95.
        first_activation: of the relative cost: a of all output capsules before anything is learnt,
            in (0, 1), where their costs are alike. Default None: 1/O.

    Shapes: see `tfcaps.routing.Routing`.

    Raises:
        ValueError: an argument is out of its range, or it is one of the published cost with the
            relative one.

    Example:

    >>> import numpy as np
    >>> votes = np.ones((1, 2, 3, 4), "float32")    # 2 output capsules, 3 inputs, dimension 4
    >>> capsules, coupling = EMRouting()(votes, np.ones((1, 3), "float32"))
    >>> capsules.shape == (1, 2, 4), coupling.shape == (1, 2, 3)
    (True, True)

    Sources: Hinton, Sabour, Frosst: Matrix capsules with EM routing, ICLR 2018; Peer, Stabinger,
    Rodríguez-Sánchez, arXiv 1905.08744; on its pitfalls: Gritzman, arXiv 1907.00652. The relative
    cost is this package's own.
    """

    # The mean is normalised whatever the votes' size is. Beside the bias they are small with this:
    # otherwise a deep network is chaotic at first, and nothing is left of likeness between images.
    vote_gain = 0.03

    def __init__(
        self,
        iterations=2,
        cost="relative",
        inverse_temperature=None,
        inverse_temperature_decay=None,
        first_activation=None,
        **kwargs,
    ):
        super().__init__(iterations, **kwargs)
        if cost not in COSTS:
            raise UsageError(f"Expected cost to be one of {', '.join(COSTS)}. Received: {cost!r}")
        self.cost = cost
        self.inverse_temperature = self._of_schedule("inverse_temperature", inverse_temperature)
        self.inverse_temperature_decay = self._of_schedule(
            "inverse_temperature_decay", inverse_temperature_decay
        )
        if first_activation is not None:
            if cost == "published":
                raise UsageError(
                    "Expected first_activation with cost='relative' only. "
                    f"Received: {first_activation!r} with cost={cost!r}"
                )
            if not 0 < first_activation < 1:
                raise UsageError(
                    f"Expected first_activation in (0, 1). Received: {first_activation!r}"
                )
        self.first_activation = first_activation
        if cost == "published":
            if not self.inverse_temperature > 0:
                raise UsageError(
                    f"Expected inverse_temperature > 0. Received: {inverse_temperature!r}"
                )
            if not 0 <= self.inverse_temperature_decay < 1:
                raise UsageError(
                    "Expected inverse_temperature_decay in [0, 1). "
                    f"Received: {inverse_temperature_decay!r}"
                )

    def _of_schedule(self, name, value):
        if self.cost == "published":
            return _SCHEDULE[name] if value is None else value
        if value is not None:
            raise UsageError(
                f"Expected {name} with cost='published' only. Received: {value!r} with "
                f"cost={self.cost!r}"
            )
        return None

    def build(self, votes_shape, activations_shape=None, bias_shape=None):
        capsules = votes_shape[-3]
        if self.cost == "published":
            # One each: an initializer draws the same numbers every time.
            initializers = {
                name: keras.initializers.RandomNormal(stddev=0.2) for name in ("beta_a", "beta_u")
            }
        else:
            # 1/O: a few are active from the start, as it is to be of classes in the end.
            first = self.first_activation or 1.0 / max(capsules, 2)
            logit = math.log(first / (1.0 - first))
            initializers = {"beta_a": keras.initializers.Constant(logit / STEEPNESS)}
        for name, initializer in initializers.items():
            weight = self.add_weight(
                name=name,
                shape=(capsules,),
                initializer=initializer,
                autocast=False,  # float32 inside a capsule layer of another precision, too
            )
            setattr(self, name, weight)

    def of_hidden_capsules(self):
        if self.cost == "published" or self.first_activation is not None:
            return self
        return self.from_config({**self.get_config(), "first_activation": _HIDDEN_ACTIVATION})

    def route(self, votes, activations, bias):
        # All is computed on x = û − k, where k is the first mean of each output capsule: so the
        # second moments Σ w x² lose nothing to cancellation, and M and E step are products of
        # x and x² with small matrices. The result doesn't depend on k.
        readings = 2 * self.iterations - 1
        x = votes.open(linear=readings, quadratic=readings, centre_weights=activations)
        centre = add_bias(x.centre, bias)
        coupling = x.uniform_coupling()
        for iteration in range(1, self.iterations + 1):
            shift, variance, activation_logit = self._maximize(
                x, centre, coupling * activations[..., None, :], iteration
            )
            if iteration < self.iterations:
                coupling = _expect(x, shift, variance, activation_logit, self._temperature(shift))
        return ops.sigmoid(activation_logit)[..., None] * unit(centre + shift), coupling

    def _maximize(self, x, centre, weights, iteration):
        """M step: `μ − k` and σ² `(..., O, E)`, and the logit of the activations `(..., O)`."""
        total = ops.sum(weights, axis=-1)[..., None]
        first, second = x.moments(weights)
        if self.cost == "published":
            beta_u = ops.convert_to_tensor(self.beta_u)
            shift, variance, cost = _published(total, first, second, centre, beta_u)
            steepness = self.inverse_temperature * (1.0 - self.inverse_temperature_decay**iteration)
        else:
            shift, variance, cost = _relative(total, first, second, centre)
            steepness = STEEPNESS
        return shift, variance, steepness * (self.beta_a - cost)

    def _temperature(self, mean):
        """1/τ."""
        return 1.0 if self.cost == "published" else float(mean.shape[-1])

    def get_config(self):
        return {
            **super().get_config(),
            "cost": self.cost,
            "inverse_temperature": self.inverse_temperature,
            "inverse_temperature_decay": self.inverse_temperature_decay,
            "first_activation": self.first_activation,
        }

    @classmethod
    def from_config(cls, config):
        # Before there was another cost, it wasn't written down.
        return cls(**{"cost": "published", **config})


@compiled
def _published(total, first, second, centre, beta_u):
    """See `_statistics`; and the published costs `(..., O)`."""
    shift, spread = _statistics(total, first, second, centre)
    variance = spread + MIN_VARIANCE
    log_volume = ops.sum(ops.log(variance), axis=-1)
    return shift, variance, (variance.shape[-1] * beta_u + log_volume) * total[..., 0]


@compiled
def _relative(total, first, second, centre):
    """See `_statistics`; and the relative costs `(..., O)`."""
    shift, spread = _statistics(total, first, second, centre)
    of_means = _OF_MEANS * ops.square(centre + shift)
    floor = ops.mean(_OF_VARIANCES * spread + of_means, axis=(-2, -1), keepdims=True)
    variance = spread + floor + _OF_NOTHING
    weight = total[..., 0]
    share = weight / (ops.mean(weight, axis=-1, keepdims=True) + EPSILON)
    cost = _half_log_volume(variance) - ops.log(share + MIN_SHARE) / variance.shape[-1]
    if variance.shape[-2] == 1:
        cost = cost - _half_log_volume(variance + ops.square(centre + shift))
    else:
        cost = cost - ops.mean(cost, axis=-1, keepdims=True)
    square = ops.mean(ops.square(cost), axis=-1, keepdims=True)
    return shift, variance, cost * ops.rsqrt(1.0 + (STEEPNESS / _LARGEST_LOGIT) ** 2 * square)


def _half_log_volume(variance):
    return 0.5 * ops.mean(ops.log(variance), axis=-1)


def _statistics(total, first, second, centre):
    """`μ − k` and σ² from `Σ w`, `Σ w x` and `Σ w x²`, for votes x + k, k the centre."""
    inverse = 1.0 / (total + EPSILON)
    first, second = first * inverse, second * inverse
    # μ − k, without a difference of large numbers: μ = first + k·Σw/(Σw + ε).
    shift = first - centre * EPSILON * inverse
    spread = second - 2.0 * shift * first + ops.square(shift) * total * inverse
    return shift, ops.maximum(spread, 0.0)


def _expect(x, shift, variance, activation_logit, temperature):
    """E step: the coupling coefficients, in the log domain."""
    linear, quadratic, log_density = _densities(shift, variance, activation_logit, temperature)
    return softmax_over_outputs(log_density[..., None] + x.energies(linear, quadratic))


@compiled
def _densities(shift, variance, activation_logit, temperature):
    """q, p and r of `log a + τ log N(x; shift, σ²) = r + Σ_e (q x + p x²)`, but for a constant."""
    precision = 0.5 / (temperature * variance)
    log_density = (
        ops.log_sigmoid(activation_logit)
        - 0.5 / temperature * ops.sum(ops.log(variance), axis=-1)
        - ops.sum(ops.square(shift) * precision, axis=-1)
    )
    return 2.0 * shift * precision, -precision, log_density
