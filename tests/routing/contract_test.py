"""The contract that every registered routing keeps, for every kind of votes.

A new routing is tested here as soon as it has a name; it needs its formula in tests/reference.py.
"""

import dataclasses
import functools
import inspect
import random
from collections.abc import Callable

import keras
import numpy as np
import pytest

from tests import backend, reference
from tfcaps import routing
from tfcaps.errors import UsageError

BATCH, PLACES, OUT, IN, D, E = 2, (1, 2), 3, 4, 3, 5
# Registered routings with other arguments.
_ALTERED = ("em-published", "sda-batch", "attention-prior")
VARIANTS = (*routing.names(), *_ALTERED)
HUGE, TINY = 1e4, 1e-20
# Logits are made, then changed, then used.
ITERATIONS = 3


def make(variant: str, **options) -> routing.Routing:
    """A fresh routing; "sda-batch" is "sda" with one distance scale for the batch.

    "em-published" is "em" with the published cost.

    "attention-prior" is "attention" with a prior, which is zero as long as nothing is learnt.
    """
    if variant == "attention-prior":
        return routing.SelfAttentionRouting(use_prior=True, **options)
    if variant == "em-published":
        return routing.EMRouting(cost="published", **options)
    if variant == "sda-batch":
        return routing.ScaledDistanceRouting(scale="batch", **options)
    return type(routing.get(variant))(**options)


@functools.cache
def _built(variant: str, out: int, iterations: int, **options) -> routing.Routing:
    """A routing with its weights; always the same one, so that nothing is compiled twice."""
    random.seed(0)  # where Keras' initialisers take their seeds from
    layer = make(variant, iterations=iterations, **options)
    layer(keras.KerasTensor((BATCH, out, IN, E)), keras.KerasTensor((BATCH, IN)))
    return layer


def built(variant: str, out: int = OUT, *, iterations=ITERATIONS, **options) -> routing.Routing:
    return _built(variant, out, iterations, **options)


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of votes: the shapes of its parts, and votes from parts, as tensors and in float64.

    An array is routed by calling the routing, `Votes` by its `route`. `axes` has the axis of the
    input capsules in every part. Votes are linear in the first part.
    """

    shapes: Callable[[int, int, int], list[tuple[int, ...]]]
    build: Callable
    reference: Callable[..., np.ndarray]
    axes: tuple[int, ...]
    places: tuple[int, ...] = ()


def _same(votes):
    return votes


def _dense_array(inputs, kernel):
    return keras.ops.einsum("bid,oied->boie", inputs, kernel)


ARRAY = Kind(lambda b, o, i: [(b, o, i, E)], _same, _same, axes=(2,))
DENSE = Kind(
    lambda b, o, i: [(b, i, D), (o, i, E, D)],
    lambda inputs, kernel: routing.DenseVotes(inputs, kernel),
    reference.dense_votes,
    axes=(1, 1),
)
CONVOLUTIONAL = Kind(
    lambda b, o, i: [(b, *PLACES, o, i, E)], _same, _same, axes=(4,), places=PLACES
)
KINDS = {"array": ARRAY, "dense": DENSE, "convolutional": CONVOLUTIONAL}
if backend.IS_JAX:  # which compiles each case, and these two differ by a leading axis only
    del KINDS["array"]

each_variant = pytest.mark.parametrize("variant", VARIANTS)
each_name = pytest.mark.parametrize("variant", routing.names())
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
# Where values and gradients, which are compared with the formulas for every kind, only have to stay
# finite or to keep a symmetry: an array differs from maps by the leading axes of places only.
each_reading = pytest.mark.parametrize(
    "kind", [DENSE, CONVOLUTIONAL], ids=["dense", "convolutional"]
)


def each_compiled_anew(variants):
    """Every variant with every kind, for a test of functions that no other test runs.

    As JAX compiles each, registered routings have dense votes there, and of the variants that read
    votes alike one has maps.
    """
    on_jax = {"dense": routing.names(), "convolutional": (*_ALTERED, "rba")}
    cases = {
        f"{variant}-{name}": (variant, kind)
        for variant in variants
        for name, kind in KINDS.items()
        if not backend.IS_JAX or variant in on_jax[name]
    }
    return pytest.mark.parametrize(("variant", "kind"), cases.values(), ids=cases)


@dataclasses.dataclass
class Data:
    """One routing problem in float32."""

    kind: Kind
    parts: list[np.ndarray]
    activations: np.ndarray
    bias: np.ndarray

    @property
    def arguments(self) -> list[np.ndarray]:
        return [*self.parts, self.activations, self.bias]


def draw(kind: Kind, batch: int = BATCH, out: int = OUT, capsules: int = IN) -> Data:
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=s).astype("float32") for s in kind.shapes(batch, out, capsules)]
    activations = rng.uniform(0.5, 2.0, (batch, *kind.places, capsules)).astype("float32")
    bias = rng.normal(0.0, 0.3, (out, E)).astype("float32")
    return Data(kind, parts, activations, bias)


def route(layer: routing.Routing, kind: Kind, parts, activations, bias=None):
    votes = kind.build(*parts)
    if isinstance(votes, routing.Votes):
        return layer.route(votes, activations, bias)
    return layer(votes, activations, bias=bias)


def negated(data: Data) -> Data:
    return dataclasses.replace(data, parts=[-data.parts[0], *data.parts[1:]])


def weighted_sum(layer: routing.Routing, kind: Kind) -> Callable:
    """A scalar function of the arguments and of a weight for every entry of the outputs."""

    def function(*arguments):
        *parts, activations, bias, capsule_weights, coupling_weights = arguments
        capsules, coupling = route(layer, kind, parts, activations, bias)
        scalar = keras.ops.sum(capsules * capsule_weights)
        return scalar + keras.ops.sum(coupling * coupling_weights), (capsules, coupling)

    return function


@functools.cache
def _gradients(variant: str, kind: Kind, out: int, iterations: int, **options) -> Callable:
    layer = built(variant, out, iterations=iterations, **options)
    return backend.gradients(weighted_sum(layer, kind), layer.trainable_variables)


def output_weights(data: Data, through: str) -> list[np.ndarray]:
    """Random weights of "capsules", of "coupling", with zeros for the other, or of "both"."""
    rng = np.random.default_rng(1)
    leading, out = data.activations.shape[:-1], data.bias.shape[0]
    shapes = {
        "capsules": (*leading, out, E),
        "coupling": (*leading, out, data.activations.shape[-1]),
    }
    return [
        (rng.normal(size=s) if through in (name, "both") else np.zeros(s)).astype("float32")
        for name, s in shapes.items()
    ]


def evaluate(
    variant: str,
    data: Data,
    *,
    through: str = "capsules",
    iterations: int = ITERATIONS,
    **options,
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Capsules, coupling, and the gradients for votes' parts, activations, bias, own weights."""
    function = _gradients(variant, data.kind, data.bias.shape[0], iterations, **options)
    weights = output_weights(data, through)
    outputs, gradients = function(*data.arguments, *weights)
    return *map(backend.numpy, outputs), _without_weights(data, gradients)


def _without_weights(data: Data, gradients: list) -> list[np.ndarray]:
    """Leaves out those of the two output weights."""
    first = len(data.arguments)
    return [backend.numpy(g) for g in [*gradients[:first], *gradients[first + 2 :]]]


def formula(
    variant: str, data: Data, *, iterations: int = ITERATIONS, **options
) -> tuple[Callable, list[np.ndarray]]:
    """The reference as a function of votes' parts, activations, bias and own weights; and those."""
    options = {"iterations": iterations, **options}
    weights = backend.weights(built(variant, data.bias.shape[0], **options))
    arguments = [a.astype("float64") for a in data.arguments]

    def function(*values):
        *parts, activations, bias = values[: len(arguments)]
        own = dict(zip(weights, values[len(arguments) :], strict=True))
        votes = data.kind.reference(*parts)
        return reference.ROUTINGS[variant](votes, activations, bias, **own, **options)

    return function, [*arguments, *weights.values()]


def assert_is_the_formula(variant: str, data: Data, *, tolerance: float = 1e-5, **options):
    function, arguments = formula(variant, data, **options)
    actual = evaluate(variant, data, **options)
    for a, e in zip(actual, function(*arguments), strict=False):
        np.testing.assert_allclose(a, e, rtol=0, atol=tolerance)


def assert_close_gradients(actual, expected):
    for a, e in zip(actual, expected, strict=True):
        scale = max(np.max(np.abs(e)), 1e-3)
        np.testing.assert_allclose(a, e, rtol=1e-3, atol=2e-4 * scale)


def assert_finite(*tensors, message: str = ""):
    for tensor in tensors:
        assert np.all(np.isfinite(tensor)), message


# Values and gradients against the formulas


@pytest.mark.parametrize("iterations", [ITERATIONS] if backend.IS_JAX else [1, 2, ITERATIONS])
@each_kind
@each_variant
def test_value_is_the_formula(variant, kind, iterations):
    assert_is_the_formula(variant, draw(kind), iterations=iterations)


def test_em_schedule():
    """At 1 the output's length is far from 1/2, so that an error in the cost shows."""
    options = {"inverse_temperature": 1.0, "inverse_temperature_decay": 0.5}
    assert_is_the_formula("em-published", draw(CONVOLUTIONAL), **options)


@pytest.mark.parametrize("through", ["capsules", "coupling"])
@each_kind
@each_variant
def test_gradient_is_that_of_finite_differences(variant, kind, through):
    data = draw(kind)
    *_, actual = evaluate(variant, data, through=through)
    function, arguments = formula(variant, data)
    weights = output_weights(data, through)

    def scalar(*values):
        return sum(np.sum(o * w) for o, w in zip(function(*values), weights, strict=True))

    assert_close_gradients(actual, reference.finite_differences(scalar, arguments))


# Of more, JAX compiles twice as much, and the second derivative has no more in it.
_TWICE = 2 if backend.IS_JAX else ITERATIONS


@functools.cache
def _second_derivatives(variant: str, kind: Kind) -> Callable:
    layer = built(variant, iterations=_TWICE)
    return backend.second_derivatives(weighted_sum(layer, kind), layer.trainable_variables)


@each_compiled_anew(VARIANTS)
def test_second_derivative_is_that_of_finite_differences(variant, kind):
    """A row of the Hessian's product with a vector, for every argument."""
    data = draw(kind)
    function, arguments = formula(variant, data, iterations=_TWICE)
    weights = output_weights(data, "both")

    def scalar(*values):
        return sum(np.sum(o * w) for o, w in zip(function(*values), weights, strict=True))

    rng = np.random.default_rng(2)
    direction = [rng.normal(size=a.shape).astype("float32") for a in arguments]
    count = len(data.arguments)
    zeros = [np.zeros_like(w) for w in weights]
    products = _second_derivatives(variant, kind)(
        *data.arguments, *weights, *direction[:count], *zeros, *direction[count:]
    )
    for n, product in enumerate(_without_weights(data, products)):
        row = [np.zeros(a.shape) for a in arguments]
        row[n] = rng.normal(size=row[n].shape)
        expected = reference.mixed_difference(scalar, arguments, direction, row)
        scale = np.linalg.norm(row[n]) * np.linalg.norm(product)
        np.testing.assert_allclose(
            np.sum(product * row[n]), expected, rtol=0, atol=1e-3 * scale + 1e-5
        )


@pytest.mark.parametrize(
    ("batch", "out", "capsules"),
    [(1, 1, IN), (BATCH, 12, 1)],
    ids=["batch 1, one output", "one input, many outputs"],
)
@each_compiled_anew(routing.names())
def test_every_size(variant, kind, batch, out, capsules):
    data = draw(kind, batch, out, capsules)
    assert_is_the_formula(variant, data)
    assert_finite(*evaluate(variant, data)[2])


@each_name
def test_no_bias_is_a_zero_bias(variant):
    layer, data = built(variant), draw(CONVOLUTIONAL)
    data.bias[:] = 0.0
    without = backend.forward(layer, layer.variables)(*data.parts, data.activations)
    for a, b in zip(without, evaluate(variant, data)[:2], strict=True):
        np.testing.assert_allclose(backend.numpy(a), b, rtol=0, atol=1e-6)


@each_variant
def test_no_cancellation_where_votes_agree(variant):
    """All votes near 10 with a spread of 0.1: E[û²] - μ² in float32 would lose four digits."""
    data = draw(CONVOLUTIONAL)
    data.parts[0] = np.float32(10.0 + 0.1 * data.parts[0])
    data.activations += 20.0
    # Attention's logits are products of votes, about 900 here: single numbers there are 6e-5 apart.
    tolerance = 1e-4 if variant.startswith("attention") else 1e-5
    assert_is_the_formula(variant, data, tolerance=tolerance)


# Shapes, couplings, extreme values


@each_kind
@each_variant
def test_shapes_and_coupling(variant, kind):
    capsules, coupling, _ = evaluate(variant, draw(kind))
    assert capsules.shape == (BATCH, *kind.places, OUT, E)
    assert coupling.shape == (BATCH, *kind.places, OUT, IN)
    np.testing.assert_allclose(np.sum(coupling, axis=-2), 1.0, rtol=0, atol=1e-6)
    assert np.min(coupling) >= 0.0


@pytest.mark.parametrize("scale", [0.0, TINY, HUGE], ids=["zero", "tiny", "huge"])
@each_reading
@each_variant
def test_extreme_votes_and_activations(variant, kind, scale):
    """Each part of the votes, and the activations, at an extreme, alone and together."""
    parts = range(len(draw(kind).parts))
    for extreme in [*({n} for n in parts), {"activations"}, {0, "activations"}]:
        data = draw(kind)
        for n in extreme - {"activations"}:
            data.parts[n] *= np.float32(scale)
        if "activations" in extreme:
            data.activations *= np.float32(scale)
        capsules, coupling, gradients = evaluate(variant, data, through="both")
        message = f"extreme: {extreme}"
        assert_finite(capsules, coupling, *gradients, message=message)
        assert np.max(reference.lengths(capsules)) <= 1.0 + 1e-5, message
        total = np.sum(coupling, axis=-2)
        np.testing.assert_allclose(total, 1.0, rtol=0, atol=1e-5, err_msg=message)


@pytest.mark.parametrize("scale", [1e-13, 1e-17])
@each_name
def test_gradients_of_tiny_votes(variant, scale):
    """As in a deep stack without bias: votes and activations are tiny alike."""
    data = draw(CONVOLUTIONAL)
    data.parts[0] *= np.float32(scale)
    data.parts[0][..., 1:, :] *= 0.1  # the larger ones don't hide them
    data.activations *= np.float32(scale)
    data.bias[:] = 0.0
    assert_finite(*evaluate(variant, data, through="both")[2])


@each_reading
@each_variant
def test_zero_votes_give_zero_capsules(variant, kind):
    """Zero is the only value that an odd map can have at zero."""
    data = draw(kind)
    data.parts[0][:] = 0.0
    data.bias[:] = 0.0
    capsules, *_ = evaluate(variant, data)
    np.testing.assert_array_equal(capsules, 0.0)


# Symmetries


@pytest.mark.parametrize("scale", [1.0, HUGE], ids=["ordinary", "huge"])
@each_reading
@each_variant
def test_odd_without_bias(variant, kind, scale):
    data = draw(kind)
    data.parts[0] *= np.float32(scale)
    data.bias[:] = 0.0
    capsules, coupling, _ = evaluate(variant, data)
    negative, same, _ = evaluate(variant, negated(data))
    np.testing.assert_allclose(negative, -capsules, rtol=0, atol=1e-6)
    np.testing.assert_allclose(same, coupling, rtol=0, atol=1e-6)
    assert np.max(np.abs(capsules)) > 0.01


@each_reading
@each_variant
def test_not_odd_with_bias(variant, kind):
    data = draw(kind)
    capsules, *_ = evaluate(variant, data)
    negative, *_ = evaluate(variant, negated(data))
    assert np.max(np.abs(negative + capsules)) > 0.01


@each_reading
@each_variant
def test_order_of_input_capsules_does_not_matter(variant, kind):
    data = draw(kind)
    order = np.array([2, 0, 3, 1])
    permuted = dataclasses.replace(
        data,
        parts=[np.take(p, order, axis=a) for p, a in zip(data.parts, kind.axes, strict=True)],
        activations=data.activations[..., order],
    )
    capsules, coupling, _ = evaluate(variant, data)
    same, permuted_coupling, _ = evaluate(variant, permuted)
    np.testing.assert_allclose(same, capsules, rtol=0, atol=1e-6)
    np.testing.assert_allclose(permuted_coupling, coupling[..., order], rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", ["em", "sda"])
def test_votes_of_an_inactive_capsule_do_not_matter(variant):
    """Not even large ones: em weights a vote by the activation, sda shortens it to that."""
    data = draw(CONVOLUTIONAL)
    data.activations[..., 0] = 0.0
    large = dataclasses.replace(data, parts=[data.parts[0].copy()])
    large.parts[0][..., 0, :] *= 1e3
    for some in (data, large):
        assert_is_the_formula(variant, some)
    np.testing.assert_allclose(
        evaluate(variant, large)[0], evaluate(variant, data)[0], rtol=0, atol=1e-5
    )


def _with_other_mates(data: Data) -> Data:
    """The first sample stays, every other one is four times as large."""
    factor = np.array([1, *[4] * (BATCH - 1)], "float32")

    def scaled(x):
        return x * factor.reshape((-1, *[1] * (x.ndim - 1)))

    return dataclasses.replace(
        data, parts=[scaled(data.parts[0]), *data.parts[1:]], activations=scaled(data.activations)
    )


@each_reading
@each_name
def test_batch_mates_do_not_matter(variant, kind):
    data = draw(kind)
    before, after = evaluate(variant, data), evaluate(variant, _with_other_mates(data))
    for a, b in zip(before[:2], after[:2], strict=True):
        np.testing.assert_allclose(a[0], b[0], rtol=0, atol=1e-6)
    assert np.max(np.abs(before[0][1] - after[0][1])) > 1e-5


@each_reading
def test_batch_mates_matter_to_the_batch_scale(kind):
    data = draw(kind)
    before, after = evaluate("sda-batch", data), evaluate("sda-batch", _with_other_mates(data))
    for a, b in zip(before[:2], after[:2], strict=True):
        assert np.max(np.abs(a[0] - b[0])) > 1e-3


def test_scaled_distance_prefers_the_nearest():
    """Two equal votes for capsule 0, two opposite ones for capsule 1."""
    votes = np.array([[[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, -1.0]]]], "float32")
    _, coupling = backend.forward(make("sda"))(votes, np.ones((1, 2), "float32"))
    assert np.all(backend.numpy(coupling)[0, 0] > 0.6)


# Votes as an object


@each_name
def test_dense_votes_equal_their_array(variant):
    data = draw(DENSE)
    lazy = evaluate(variant, data)
    held = evaluate(variant, dataclasses.replace(data, kind=_DENSE_ARRAY))
    for a, b in zip(lazy[:2], held[:2], strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
    assert_close_gradients(lazy[2], held[2])


@each_name
def test_array_votes_equal_their_array(variant):
    data = draw(CONVOLUTIONAL)
    bare = evaluate(variant, data)
    held = evaluate(variant, dataclasses.replace(data, kind=_ARRAY_OBJECT))
    for a, b in zip([*bare[:2], *bare[2]], [*held[:2], *held[2]], strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


_DENSE_ARRAY = dataclasses.replace(DENSE, build=_dense_array)
_ARRAY_OBJECT = dataclasses.replace(CONVOLUTIONAL, build=lambda votes: routing.ArrayVotes(votes))


# Precision, compilation, symbolic use


@pytest.mark.parametrize("policy", backend.HALF_PRECISION)
@each_compiled_anew(routing.names())
def test_float32_inside_a_half_precision_policy(variant, kind, policy):
    """From the same, already rounded arguments; at 300 a float16 square would overflow."""
    dtype, rounding = backend.HALF_PRECISION[policy]
    data = draw(kind)
    data.parts[0] *= np.float32(300.0)
    halved = [keras.ops.cast(p, dtype) for p in data.parts]
    data.parts = [backend.numpy(p).astype("float32") for p in halved]
    layer = built(variant, dtype=policy)
    layer.set_weights(built(variant).get_weights())
    assert all(v.dtype == "float32" for v in layer.weights)

    def half(*parts):
        return route(layer, kind, parts, data.activations, data.bias)

    outputs = backend.forward(half, layer.variables)(*halved)
    for a, b in zip(outputs, evaluate(variant, data)[:2], strict=True):
        assert keras.backend.standardize_dtype(a.dtype) in (dtype, "float32")
        np.testing.assert_allclose(backend.numpy(a), b, rtol=0, atol=rounding)


if backend.IS_JAX:  # operation by operation, its suite takes minutes
    COMPILED = [("rba", "dense", "eager")]
else:
    COMPILED = [
        ("em", "dense", "graph"),
        ("rba", "convolutional", "graph"),
        *((name, "dense", "xla") for name in routing.names()),
        ("em", "convolutional", "xla"),
        ("sda", "convolutional", "xla"),
    ]


@pytest.mark.parametrize(("variant", "kind", "compiler"), COMPILED)
def test_compiled_value_and_gradient(variant, kind, compiler):
    layer, data = built(variant), draw(KINDS[kind])
    function = weighted_sum(layer, data.kind)
    compiled = backend.compilers()[compiler](backend.gradients(function, layer.trainable_variables))
    outputs, gradients = compiled(*data.arguments, *output_weights(data, "capsules"))
    capsules, coupling, expected = evaluate(variant, data)
    np.testing.assert_allclose(backend.numpy(outputs[0]), capsules, rtol=0, atol=1e-6)
    np.testing.assert_allclose(backend.numpy(outputs[1]), coupling, rtol=0, atol=1e-6)
    assert_close_gradients(_without_weights(data, gradients), expected)


@each_name
def test_unknown_batch_size(variant):
    data = draw(CONVOLUTIONAL)
    data.bias[:] = 0.0
    inputs = [keras.Input(x.shape[1:]) for x in (data.parts[0], data.activations)]
    capsules, coupling = built(variant)(*inputs)
    assert tuple(capsules.shape) == (None, *PLACES, OUT, E)
    assert tuple(coupling.shape) == (None, *PLACES, OUT, IN)
    model = keras.Model(inputs, [capsules, coupling])
    predict = backend.forward(lambda *x: model(list(x)), model.variables)
    actual = predict(data.parts[0][:1], data.activations[:1])
    for a, b in zip(actual, evaluate(variant, data)[:2], strict=True):
        np.testing.assert_allclose(backend.numpy(a), b[:1], rtol=0, atol=1e-6)


# Construction and serialisation


@each_variant
def test_config_round_trip(variant):
    layer = make(variant, iterations=4)
    config = layer.get_config()
    assert type(layer).from_config(config).get_config() == config
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(copy) is type(layer)
    assert copy.get_config() == config
    assert copy.iterations == 4
    if variant == "sda-batch":
        assert copy.scale == "batch"
    if variant == "attention-prior":
        assert copy.use_prior


@each_variant
def test_every_argument_is_an_attribute_and_in_the_config(variant):
    layer = make(variant)
    for name, parameter in inspect.signature(type(layer).__init__).parameters.items():
        if name != "self" and parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            assert hasattr(layer, name)
            assert name in layer.get_config()


@pytest.mark.parametrize("name", routing.names())
def test_get_takes_name_dict_and_instance(name):
    layer = routing.get(name)
    assert isinstance(layer, routing.Routing)
    assert routing.get(layer) is layer
    assert routing.get(name) is not layer
    copy = routing.get(keras.layers.serialize(layer))
    assert type(copy) is type(layer)
    assert copy.get_config() == layer.get_config()
    short = routing.get({"name": name, "iterations": 3})
    assert type(short) is type(layer)
    assert short.iterations == 3


@pytest.mark.parametrize("identifier", ["no_such", {"name": "no_such"}, 3, None], ids=str)
def test_get_lists_the_known_names(identifier):
    with pytest.raises(ValueError, match=r"no_such|3|None") as error:
        routing.get(identifier)
    for name in routing.names():
        assert name in str(error.value)


def test_the_published_routings_are_registered():
    assert {"rba", "em", "sda", "mean", "attention"} <= set(routing.names())


@pytest.mark.parametrize("iterations", [0, -1, 1.5, "two"])
@each_variant
def test_bad_iterations(variant, iterations):
    with pytest.raises(ValueError, match=f"iterations.*{iterations}"):
        make(variant, iterations=iterations)


@pytest.mark.parametrize(
    "bad", [{"inverse_temperature": 0.0}, {"inverse_temperature_decay": 1.0}], ids=str
)
def test_bad_em_schedule(bad):
    ((name, value),) = bad.items()
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        make("em-published", **bad)


@pytest.mark.parametrize("name", ["inverse_temperature", "inverse_temperature_decay"])
def test_em_schedule_is_of_the_published_cost(name):
    with pytest.raises(ValueError, match=f"{name} with cost='published' only. Received: 0.5"):
        make("em", **{name: 0.5})


def test_bad_em_cost():
    with pytest.raises(ValueError, match=r"one of relative, published\. Received: 'sum'"):
        make("em", cost="sum")


def test_em_before_there_were_two_costs():
    """What was saved then is published EM."""
    config = make("em-published", inverse_temperature=0.5).get_config()
    del config["cost"]
    assert routing.EMRouting.from_config(config).cost == "published"


def test_bad_scale():
    with pytest.raises(ValueError, match="'image'"):
        routing.ScaledDistanceRouting(scale="image")


@each_variant
def test_two_iterations_by_default(variant):
    assert make(variant).iterations == 2


def test_em_weights_are_one_each_per_output_capsule():
    published, relative = (
        {name: value.shape for name, value in backend.weights(built(variant)).items()}
        for variant in ("em-published", "em")
    )
    assert published == {"beta_a": (OUT,), "beta_u": (OUT,)}
    assert relative == {"beta_a": (OUT,)}


@pytest.mark.parametrize("out", [1, 2, 10])
def test_em_of_equal_clusters_makes_all_equally_active(out):
    """1/O each; and 1/2 where there is one only, whose votes are as far apart as they are long."""
    votes = np.stack([np.eye(4), -np.eye(4)]).reshape(1, 1, 8, 4).astype("float32")
    layer = built("em", out)
    capsules, _ = backend.forward(layer, layer.variables)(
        np.repeat(votes, out, axis=1),
        np.ones((1, 8), "float32"),
        np.full((out, 4), 1e-3, "float32"),
    )
    lengths = np.linalg.norm(backend.numpy(capsules), axis=-1)
    np.testing.assert_allclose(lengths, 1 / max(out, 2), rtol=5e-3)


@pytest.mark.parametrize("out", [1, 3])
def test_em_begins_with_the_activation_that_is_asked_for(out):
    votes = np.stack([np.eye(4), -np.eye(4)]).reshape(1, 1, 8, 4).astype("float32")
    layer = built("em", out, first_activation=0.9)
    capsules, _ = backend.forward(layer, layer.variables)(
        np.repeat(votes, out, axis=1),
        np.ones((1, 8), "float32"),
        np.full((out, 4), 1e-3, "float32"),
    )
    lengths = np.linalg.norm(backend.numpy(capsules), axis=-1)
    np.testing.assert_allclose(lengths, 0.9, rtol=5e-3)


def test_em_of_hidden_capsules():
    hidden = make("em", iterations=3).of_hidden_capsules()
    assert (hidden.first_activation, hidden.iterations) == (0.8, 3)
    given = make("em", first_activation=0.5)
    assert given.of_hidden_capsules() is given
    published = make("em-published")
    assert published.of_hidden_capsules() is published


@pytest.mark.parametrize("bad", [0.0, 1.0, -1, float("nan")])
def test_bad_first_activation(bad):
    with pytest.raises(UsageError, match=r"first_activation in \(0, 1\)\. Received: "):
        make("em", first_activation=bad)


def test_first_activation_is_of_the_relative_cost():
    with pytest.raises(UsageError, match=r"with cost='relative' only\. Received: 0\.5"):
        make("em-published", first_activation=0.5)


@pytest.mark.parametrize("size", [1e-3, 1e3])
def test_em_does_not_see_the_size_of_votes(size):
    data = draw(ARRAY, capsules=50)
    larger = dataclasses.replace(data, parts=[data.parts[0] * np.float32(size)])
    larger.bias = data.bias * np.float32(size)
    for one, other in zip(evaluate("em", data)[:2], evaluate("em", larger)[:2], strict=True):
        np.testing.assert_allclose(other, one, atol=1e-3)


def test_em_weights_start_normal_with_deviation_one_fifth():
    values = backend.weights(built("em-published", 500)).values()
    assert len(np.unique(list(values))) == 1000  # none is another's copy
    for value in values:
        assert abs(np.mean(value)) < 0.04
        assert 0.18 < np.std(value) < 0.22
