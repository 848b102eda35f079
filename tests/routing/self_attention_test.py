"""Self-attention routing: the learnt prior, numbers by hand, and the squash of the paper."""

import keras
import numpy as np
import pytest

from tests import backend, reference
from tfcaps import layers, routing
from tfcaps.ops import exponential_squash

OUT, IN, E = 3, 4, 5


def with_prior(prior: np.ndarray) -> routing.SelfAttentionRouting:
    layer = routing.SelfAttentionRouting(use_prior=True)
    layer.build((None, *prior.shape, E), (None, prior.shape[-1]))
    layer.set_weights([prior])
    return layer


def evaluate(layer, votes, bias=None):
    activations = np.ones((*votes.shape[:-3], votes.shape[-2]), "float32")
    outputs = backend.forward(layer, layer.variables)(votes, activations, bias)
    return [backend.numpy(output) for output in outputs]


def draw(*leading: int):
    rng = np.random.default_rng(0)
    votes = rng.normal(size=(*leading, OUT, IN, E)).astype("float32")
    prior = rng.normal(size=(OUT, IN)).astype("float32")
    bias = rng.normal(size=(OUT, E)).astype("float32")
    return votes, prior, bias


def test_by_hand():
    """Sums of votes (2, 0) and (0, 0): logits 2/√2 and 0, whatever the input capsule is."""
    votes = np.array([[[[1.0, 0.0], [1.0, 0.0]], [[3.0, 0.0], [-3.0, 0.0]]]], "float32")
    capsules, coupling = evaluate(routing.SelfAttentionRouting(), votes)
    first = 1.0 / (1.0 + np.exp(-np.sqrt(2.0)))
    np.testing.assert_allclose(coupling[0], [[first, first], [1 - first, 1 - first]], atol=1e-6)
    length = 1.0 - np.exp(-2.0 * first)
    np.testing.assert_allclose(capsules[0], [[length, 0.0], [0.0, 0.0]], atol=1e-6)


@pytest.mark.parametrize("leading", [(2,), (2, 1, 3)], ids=["dense", "convolutional"])
def test_learnt_prior_is_the_formula(leading):
    votes, prior, bias = draw(*leading)
    capsules, coupling = evaluate(with_prior(prior), votes, bias)
    expected, expected_coupling = reference.attention(
        votes.astype("float64"), None, bias, prior=prior
    )
    np.testing.assert_allclose(capsules, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(coupling, expected_coupling, rtol=0, atol=1e-5)


def test_prior_goes_with_its_input_capsule():
    votes, prior, _ = draw(2)
    order = [2, 0, 3, 1]
    before, _ = evaluate(with_prior(prior), votes)
    together, _ = evaluate(with_prior(prior[:, order]), votes[:, :, order])
    alone, _ = evaluate(with_prior(prior), votes[:, :, order])
    np.testing.assert_allclose(together, before, rtol=0, atol=1e-6)
    assert np.max(np.abs(alone - before)) > 0.01


def test_iterations_change_nothing():
    votes, *_ = draw(2)
    once, twice = (evaluate(routing.SelfAttentionRouting(iterations=n), votes) for n in (1, 5))
    np.testing.assert_array_equal(once[0], twice[0])


@pytest.mark.parametrize("scale", [1e15, 1e24], ids=str)
def test_huge_votes(scale):
    """Their products leave float32: the coupling is all or nothing, and still the right one."""
    votes, *_ = draw(2)
    _, expected = reference.attention(1e4 * votes.astype("float64"), None)
    layer = routing.SelfAttentionRouting()

    def function(votes):
        capsules, coupling = layer(votes, np.ones((2, IN), "float32"))
        return keras.ops.sum(capsules), (capsules, coupling)

    (capsules, coupling), gradients = backend.gradients(function)(np.float32(scale) * votes)
    np.testing.assert_allclose(backend.numpy(coupling), expected, rtol=0, atol=1e-6)
    lengths = reference.lengths(backend.numpy(capsules))
    assert np.all((np.abs(lengths - 1.0) < 1e-5) | (lengths == 0.0))
    assert np.all(np.isfinite(backend.numpy(gradients[0])))


def test_unknown_number_of_input_capsules():
    with pytest.raises(ValueError, match="None"):
        routing.SelfAttentionRouting(use_prior=True).build((None, OUT, None, E))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda r: layers.DenseCapsule(OUT, E, routing=r), (IN, 6)),
        (lambda r: layers.ConvCapsule(OUT, E, routing=r), (3, 2, IN, 6)),
    ],
    ids=["dense", "convolutional"],
)
def test_capsule_layers_learn_the_prior(layer, shape):
    layer = layer({"name": "attention", "use_prior": True})
    layer.build((None, *shape))
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")

    def function(x):
        capsules = layer(x)
        return keras.ops.sum(capsules), capsules

    derivative = backend.gradients(function, layer.trainable_variables)
    _, gradients = derivative(x)
    shapes = {v.path.rsplit("/")[-1]: tuple(v.shape) for v in layer.trainable_variables}
    assert shapes["prior"] == (OUT, IN)
    prior = gradients[1 + list(shapes).index("prior")]
    assert np.all(backend.numpy(prior) != 0.0)


# The squash of the paper


@pytest.mark.parametrize("length", [0.0, 1e-30, 1e-5, 9e-4, 1.1e-3, 0.1, 3.0, 50.0, 1e25, 3e38])
def test_squash_is_the_formula(length):
    s = np.array([[0.6, -0.8, 0.0]]) * length
    actual = backend.numpy(exponential_squash(s.astype("float32")))
    np.testing.assert_allclose(actual, reference.exponential_squash(s), rtol=1e-6, atol=0)


@pytest.mark.parametrize("length", [0.0, 1e-30, 9e-4, 1.1e-3, 1.0, 1e25])
def test_squash_gradient(length):
    """Along s it is e^-n, and across (1 - e^-n)/n."""
    s = np.array([[0.6, -0.8]]) * length
    across = np.array([[0.8, 0.6]], "float32")
    for direction, expected in [
        (np.array([[0.6, -0.8]], "float32"), np.exp(-length)),
        (across, -np.expm1(-length) / length if length else 1.0),
    ]:

        def function(x, direction=direction):
            y = exponential_squash(x)
            return keras.ops.sum(y * direction), y

        _, (gradient,) = backend.gradients(function)(s.astype("float32"))
        slope = np.sum(backend.numpy(gradient) * direction)
        np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("policy", backend.HALF_PRECISION)
def test_squash_of_half_precision(policy):
    dtype, rounding = backend.HALF_PRECISION[policy]
    s = keras.ops.cast(np.array([[300.0, 400.0], [3e-4, 4e-4]], "float32"), dtype)
    squashed = exponential_squash(s)
    assert keras.backend.standardize_dtype(squashed.dtype) == dtype
    expected = reference.exponential_squash(backend.numpy(s))
    np.testing.assert_allclose(backend.numpy(squashed), expected, rtol=rounding, atol=0)
