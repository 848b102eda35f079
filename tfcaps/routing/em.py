"""EM routing for vector capsules."""

import keras
from keras import ops

from tfcaps.errors import UsageError
from tfcaps.ops import EPSILON, compiled, unit
from tfcaps.routing.registry import register
from tfcaps.routing.routing import Routing, add_bias, softmax_over_outputs

MIN_VARIANCE = 1e-4  # keeps a cluster of identical votes from an infinite density


@register("em")
class EMRouting(Routing):
    """EM routing: output capsules are Gaussian clusters of the votes.

    With a_i the length of input capsule i, R = 1/O at first, the bias added to the votes, and
    iterations r = 1, 2, … with the inverse temperature λ_r = λ·(1 − γ^r):

        M:  w = R a_i;  μ = Σ_i w û / (Σ_i w + ε);  σ² = Σ_i w (û − μ)² / (Σ_i w + ε) + 1e-4
            cost = Σ_e (β_u + log σ²) · Σ_i w;  a = sigmoid(λ_r (β_a − cost))
        E:  R = softmax over the output capsules of
                [log a − ½ Σ_e log σ² − Σ_e (û − μ)² / (2σ²)]      (not in the last iteration)

    The output is a · μ/‖μ‖. β_a and β_u are learnt, one each per output capsule, N(0, 0.2). The E
    step stays in the log domain, for a product of densities under- and overflows.

    Args:
        iterations: number of iterations, at least 1. Default 2.
        inverse_temperature: λ, the limit of λ_r, above 0. Default 0.01.
        inverse_temperature_decay: γ in [0, 1); 0 keeps λ_r = λ from the first iteration on.
            Default 0.95.

    Shapes: see `tfcaps.routing.Routing`.

    Raises:
        ValueError: an argument is out of its range.

    Example:

    >>> import numpy as np
    >>> votes = np.ones((1, 2, 3, 4), "float32")    # 2 output capsules, 3 inputs, dimension 4
    >>> capsules, coupling = EMRouting()(votes, np.ones((1, 3), "float32"))
    >>> capsules.shape == (1, 2, 4), coupling.shape == (1, 2, 3)
    (True, True)

    Sources: Hinton, Sabour, Frosst: Matrix capsules with EM routing, ICLR 2018; Peer, Stabinger,
    Rodríguez-Sánchez, arXiv 1905.08744; on its pitfalls: Gritzman, arXiv 1907.00652.
    """

    def __init__(
        self, iterations=2, inverse_temperature=0.01, inverse_temperature_decay=0.95, **kwargs
    ):
        super().__init__(iterations, **kwargs)
        if not inverse_temperature > 0:
            raise UsageError(f"Expected inverse_temperature > 0. Received: {inverse_temperature!r}")
        if not 0 <= inverse_temperature_decay < 1:
            raise UsageError(
                "Expected inverse_temperature_decay in [0, 1). "
                f"Received: {inverse_temperature_decay!r}"
            )
        self.inverse_temperature = inverse_temperature
        self.inverse_temperature_decay = inverse_temperature_decay

    def build(self, votes_shape, activations_shape=None, bias_shape=None):
        capsules = votes_shape[-3]
        for name in ("beta_a", "beta_u"):
            weight = self.add_weight(
                name=name,
                shape=(capsules,),
                initializer=keras.initializers.RandomNormal(stddev=0.2),
                autocast=False,  # float32 inside a capsule layer of another precision, too
            )
            setattr(self, name, weight)

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
                coupling = _expect(x, shift, variance, activation_logit)
        return ops.sigmoid(activation_logit)[..., None] * unit(centre + shift), coupling

    def _maximize(self, x, centre, weights, iteration):
        """M step: `μ − k` and σ² `(..., O, E)`, and the logit of the activations `(..., O)`."""
        shift, variance, cost = _statistics(
            ops.sum(weights, axis=-1)[..., None],
            *x.moments(weights),
            centre,
            ops.convert_to_tensor(self.beta_u),
        )
        return shift, variance, self._inverse_temperature_at(iteration) * (self.beta_a - cost)

    def _inverse_temperature_at(self, iteration):
        return self.inverse_temperature * (1.0 - self.inverse_temperature_decay**iteration)

    def get_config(self):
        return {
            **super().get_config(),
            "inverse_temperature": self.inverse_temperature,
            "inverse_temperature_decay": self.inverse_temperature_decay,
        }


@compiled
def _statistics(total, first, second, centre, beta_u):
    """`μ − k`, σ² and costs from `Σ w`, `Σ w x` and `Σ w x²`, for votes x + k, k the centre."""
    inverse = 1.0 / (total + EPSILON)
    first, second = first * inverse, second * inverse
    # μ − k, without a difference of large numbers: μ = first + k·Σw/(Σw + ε).
    shift = first - centre * EPSILON * inverse
    spread = second - 2.0 * shift * first + ops.square(shift) * total * inverse
    variance = ops.maximum(spread, 0.0) + MIN_VARIANCE
    log_volume = ops.sum(ops.log(variance), axis=-1)
    return shift, variance, (variance.shape[-1] * beta_u + log_volume) * total[..., 0]


def _expect(x, shift, variance, activation_logit):
    """E step: the coupling coefficients, in the log domain."""
    linear, quadratic, log_density = _densities(shift, variance, activation_logit)
    return softmax_over_outputs(log_density[..., None] + x.energies(linear, quadratic))


@compiled
def _densities(shift, variance, activation_logit):
    """q, p and r of `log a + log N(x; shift, σ²) = r + Σ_e (q x + p x²)`, but for a constant."""
    precision = 0.5 / variance
    log_density = (
        ops.log_sigmoid(activation_logit)
        - 0.5 * ops.sum(ops.log(variance), axis=-1)
        - ops.sum(ops.square(shift) * precision, axis=-1)
    )
    return 2.0 * shift * precision, -precision, log_density
