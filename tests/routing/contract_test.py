"""The contract that every registered routing keeps, for every kind of votes.

A new routing is tested here as soon as it has a name; it needs its formula in tests/reference.py.
"""

import dataclasses
import inspect
from collections.abc import Callable

import keras
import numpy as np
import pytest

from tests import backend, reference
from tfcaps import routing

BATCH, PLACES, OUT, IN, D, E = 2, (1, 2), 3, 4, 3, 5
VARIANTS = (*routing.names(), "sda-batch")
HUGE, TINY = 1e4, 1e-20


def make(variant: str, **arguments) -> routing.Routing:
    """A fresh routing; "sda-batch" is "sda" with one distance scale for the batch."""
    if variant == "sda-batch":
        return routing.ScaledDistanceRouting(scale="batch", **arguments)
    return type(routing.get(variant))(**arguments)


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of votes: what it is made of, as arrays, tensors and float64.

    `axes` has the axis of the input capsules in every part; the first part is the one that the
    votes are linear in when the weights stay.
    """

    shapes: Callable[[int, int, int], dict[str, tuple[int, ...]]]
    build: Callable
    reference: Callable[..., np.ndarray]
    places: tuple[int, ...]
    axes: tuple[int, ...]


KINDS = {
    "array": Kind(
        shapes=lambda b, o, i: {"votes": (b, o, i, E)},
        build=lambda votes: votes,
        reference=lambda votes: votes,
        places=(),
        axes=(2,),
    ),
    "dense": Kind(
        shapes=lambda b, o, i: {"inputs": (b, i, D), "kernel": (o, i, E, D)},
        build=lambda inputs, kernel: routing.DenseVotes(inputs, kernel),
        reference=reference.dense_votes,
        places=(),
        axes=(1, 1),
    ),
    "convolutional": Kind(
        shapes=lambda b, o, i: {"votes": (b, *PLACES, o, i, E)},
        build=lambda votes: votes,
        reference=lambda votes: votes,
        places=PLACES,
        axes=(4,),
    ),
}

each_variant = pytest.mark.parametrize("variant", VARIANTS)
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


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


def draw(kind: Kind, batch: int = BATCH, out: int = OUT, capsules: int = IN, seed: int = 0) -> Data:
    rng = np.random.default_rng(seed)
    parts = [
        rng.normal(size=s).astype("float32") for s in kind.shapes(batch, out, capsules).values()
    ]
    activations = rng.uniform(0.5, 2.0, (batch, *kind.places, capsules)).astype("float32")
    bias = rng.normal(0.0, 0.3, (out, E)).astype("float32")
    return Data(kind, parts, activations, bias)


def route(layer: routing.Routing, kind: Kind, *arguments, use_bias: bool = True):
    """`arguments` are the parts of the votes, the activations and the bias."""
    *parts, activations, bias = map(keras.ops.convert_to_tensor, arguments)
    return layer(kind.build(*parts), activations, bias=bias if use_bias else None)


def outputs(layer: routing.Routing, data: Data, use_bias: bool = True) -> list[np.ndarray]:
    return [backend.numpy(t) for t in route(layer, data.kind, *data.arguments, use_bias=use_bias)]


def weighted(layer: routing.Routing, data: Data, capsule_weights, coupling_weights):
    """A scalar function of the arguments that sees every output; and the outputs themselves."""

    def function(*arguments):
        capsules, coupling = route(layer, data.kind, *arguments)
        scalar = keras.ops.sum(capsules * capsule_weights)
        return scalar + keras.ops.sum(coupling * coupling_weights), (capsules, coupling)

    return function


def value_and_gradients(layer: routing.Routing, data: Data):
    """Capsules, coupling, and every gradient of the capsules' weighted sum."""
    shape = (*data.activations.shape[:-1], data.bias.shape[0], E)
    weights = np.random.default_rng(1).normal(size=shape).astype("float32")
    function = weighted(layer, data, weights, np.float32(0.0))
    outputs(layer, data)  # builds the layer
    _, (capsules, coupling), gradients = backend.gradients(
        function, data.arguments, layer.trainable_variables
    )
    return capsules, coupling, gradients


def own_weights(layer: routing.Routing) -> dict[str, np.ndarray]:
    return {v.name: backend.numpy(v.value) for v in layer.trainable_variables}


def reference_function(variant: str, data: Data, layer: routing.Routing, **options):
    """The reference as a function of votes' parts, activations, bias and the own weights."""
    names = list(own_weights(layer))

    def function(*arguments):
        split = len(data.arguments)
        *parts, activations, bias = arguments[:split]
        weights = dict(zip(names, arguments[split:], strict=True))
        votes = data.kind.reference(*parts)
        return reference.ROUTINGS[variant](votes, activations, bias, **weights, **options)

    return function


def as_float64(data: Data, layer: routing.Routing) -> list[np.ndarray]:
    return [a.astype("float64") for a in data.arguments] + list(own_weights(layer).values())


def assert_matches_reference(variant: str, data: Data, tolerance: float = 1e-5, **options):
    layer = make(variant, **options)
    capsules, coupling = outputs(layer, data)
    expected = reference_function(variant, data, layer, **options)(*as_float64(data, layer))
    np.testing.assert_allclose(capsules, expected[0], rtol=0, atol=tolerance)
    np.testing.assert_allclose(coupling, expected[1], rtol=0, atol=tolerance)


def assert_close_gradients(actual, expected):
    for a, e in zip(actual, expected, strict=True):
        scale = max(np.max(np.abs(e)), 1e-3)
        np.testing.assert_allclose(backend.numpy(a), e, rtol=1e-3, atol=2e-4 * scale)


def all_finite(tensors) -> bool:
    return all(np.all(np.isfinite(backend.numpy(t))) for t in tensors)


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


# Values and gradients against the formulas


@pytest.mark.parametrize("iterations", [1, 2, 3])
@each_kind
@each_variant
def test_value_is_the_formula_s(variant, kind, iterations):
    assert_matches_reference(variant, draw(kind), iterations=iterations)


@pytest.mark.parametrize("decay", [0.0, 0.5])
@pytest.mark.parametrize("limit", [0.01, 1.0])
def test_em_schedule(limit, decay):
    """At 1 the output's length is far from 1/2, so that an error in the cost shows."""
    options = {"inverse_temperature": limit, "inverse_temperature_decay": decay}
    assert_matches_reference("em", draw(KINDS["array"]), iterations=3, **options)


@pytest.mark.parametrize(
    ("batch", "out", "capsules"),
    [(1, OUT, IN), (BATCH, 1, IN), (BATCH, 12, IN), (BATCH, OUT, 1), (1, 1, 1)],
    ids=["batch 1", "one output", "many outputs", "one input", "one of each"],
)
@each_kind
@each_variant
def test_value_and_gradient_at_every_size(variant, kind, batch, out, capsules):
    data = draw(kind, batch, out, capsules)
    assert_matches_reference(variant, data)
    assert all_finite(value_and_gradients(make(variant), data)[2])


@each_kind
@each_variant
def test_value_without_bias_is_that_of_a_zero_bias(variant, kind):
    data = draw(kind)
    data.bias[:] = 0.0
    layer = make(variant)
    with_zeros = outputs(layer, data)
    without = outputs(layer, data, use_bias=False)
    for a, b in zip(with_zeros, without, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-7)


@each_variant
def test_no_cancellation_where_votes_agree(variant):
    """All votes near 10 with a spread of 0.1: E[û²] - μ² in float32 would lose two digits."""
    kind = KINDS["array"]
    data = draw(kind)
    data.parts[0] = np.float32(10.0 + 0.1 * data.parts[0])
    data.activations += 20.0
    assert_matches_reference(variant, data, tolerance=1e-5)


@pytest.mark.parametrize("through", ["capsules", "coupling"])
@each_kind
@each_variant
def test_gradient_is_that_of_finite_differences(variant, kind, through):
    options = {"iterations": 3}
    data = draw(kind)
    layer = make(variant, **options)
    shapes = [o.shape for o in outputs(layer, data)]
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=s) for s in shapes]
    weights[through == "capsules"][:] = 0.0
    _, _, actual = backend.gradients(
        weighted(layer, data, *(w.astype("float32") for w in weights)),
        data.arguments,
        layer.trainable_variables,
    )
    formula = reference_function(variant, data, layer, **options)

    def scalar(*arguments):
        capsules, coupling = formula(*arguments)
        return np.sum(capsules * weights[0]) + np.sum(coupling * weights[1])

    assert_close_gradients(actual, reference.finite_differences(scalar, as_float64(data, layer)))


# Shapes, couplings, extreme values


@each_kind
@each_variant
def test_shapes_dtypes_and_coupling(variant, kind):
    layer = make(variant)
    data = draw(kind)
    capsules, coupling = route(layer, kind, *data.arguments)
    assert tuple(capsules.shape) == (BATCH, *kind.places, OUT, E)
    assert tuple(coupling.shape) == (BATCH, *kind.places, OUT, IN)
    assert keras.backend.standardize_dtype(capsules.dtype) == "float32"
    total = np.sum(backend.numpy(coupling), axis=-2)
    np.testing.assert_allclose(total, 1.0, rtol=0, atol=1e-6)
    assert np.min(backend.numpy(coupling)) >= 0.0


@pytest.mark.parametrize("scale", [0.0, TINY, HUGE], ids=["zero", "tiny", "huge"])
@each_kind
@each_variant
def test_extreme_votes_and_activations(variant, kind, scale):
    """Each part of the votes, and the activations, at an extreme, alone and together."""
    layer = make(variant)
    ordinary = draw(kind)
    parts = range(len(ordinary.parts))
    for extreme in [*({n} for n in parts), {"activations"}, {0, "activations"}]:
        data = dataclasses.replace(
            ordinary,
            parts=[
                p * np.float32(scale if n in extreme else 1) for n, p in enumerate(ordinary.parts)
            ],
            activations=ordinary.activations * np.float32(scale if "activations" in extreme else 1),
        )
        capsules, coupling, gradients = value_and_gradients(layer, data)
        assert all_finite([capsules, coupling]), extreme
        assert all_finite(gradients), extreme
        assert np.max(reference.lengths(backend.numpy(capsules))) <= 1.0 + 1e-5, extreme
        total = np.sum(backend.numpy(coupling), axis=-2)
        np.testing.assert_allclose(total, 1.0, rtol=0, atol=1e-5, err_msg=str(extreme))


@each_kind
@each_variant
def test_zero_votes_give_zero_capsules(variant, kind):
    """Zero is the only value that an odd map can have at zero."""
    data = draw(kind)
    data.parts[0][:] = 0.0
    capsules, _ = outputs(make(variant), data, use_bias=False)
    np.testing.assert_array_equal(capsules, 0.0)


@each_kind
@each_variant
def test_huge_votes_keep_their_symmetry(variant, kind):
    data = draw(kind)
    data.parts[0] *= np.float32(HUGE)
    _assert_odd(make(variant), data)


# Symmetries


def _assert_odd(layer, data):
    capsules, coupling = outputs(layer, data, use_bias=False)
    negated = dataclasses.replace(data, parts=[-data.parts[0], *data.parts[1:]])
    negative, same = outputs(layer, negated, use_bias=False)
    np.testing.assert_allclose(negative, -capsules, rtol=0, atol=1e-6)
    np.testing.assert_allclose(same, coupling, rtol=0, atol=1e-6)
    assert np.max(np.abs(capsules)) > 0.01


@each_kind
@each_variant
def test_odd_without_bias(variant, kind):
    _assert_odd(make(variant), draw(kind))


@each_kind
@each_variant
def test_not_odd_with_bias(variant, kind):
    layer, data = make(variant), draw(kind)
    capsules, _ = outputs(layer, data)
    negated = dataclasses.replace(data, parts=[-data.parts[0], *data.parts[1:]])
    negative, _ = outputs(layer, negated)
    assert np.max(np.abs(negative + capsules)) > 0.01


@each_kind
@each_variant
def test_order_of_input_capsules_does_not_matter(variant, kind):
    layer, data = make(variant), draw(kind)
    order = np.array([2, 0, 3, 1])
    permuted = dataclasses.replace(
        data,
        parts=[np.take(p, order, axis=a) for p, a in zip(data.parts, kind.axes, strict=True)],
        activations=data.activations[..., order],
    )
    capsules, coupling = outputs(layer, data)
    same, permuted_coupling = outputs(layer, permuted)
    np.testing.assert_allclose(same, capsules, rtol=0, atol=1e-6)
    np.testing.assert_allclose(permuted_coupling, coupling[..., order], rtol=0, atol=1e-6)


def _with_other_mates(data: Data) -> Data:
    """The first sample stays, every other one is four times as large."""
    parts = list(data.parts)
    parts[0] = np.concatenate([parts[0][:1], 4 * parts[0][1:]])
    activations = np.concatenate([data.activations[:1], 4 * data.activations[1:]])
    return dataclasses.replace(data, parts=parts, activations=activations)


@each_kind
@pytest.mark.parametrize("variant", routing.names())
def test_batch_mates_do_not_matter(variant, kind):
    layer, data = make(variant), draw(kind)
    for a, b in zip(outputs(layer, data), outputs(layer, _with_other_mates(data)), strict=True):
        np.testing.assert_allclose(a[0], b[0], rtol=0, atol=1e-6)
        assert np.max(np.abs(a[1] - b[1])) > 1e-7 or variant == "mean"


@each_kind
def test_batch_mates_matter_to_the_batch_scale(kind):
    layer, data = make("sda-batch"), draw(kind)
    for a, b in zip(outputs(layer, data), outputs(layer, _with_other_mates(data)), strict=True):
        assert np.max(np.abs(a[0] - b[0])) > 1e-3


def test_scaled_distance_prefers_the_nearest():
    """Two equal votes for capsule 0, two opposite ones for capsule 1."""
    votes = np.array([[[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, -1.0]]]], dtype="float32")
    _, coupling = make("sda")(keras.ops.convert_to_tensor(votes), keras.ops.ones((1, 2)), bias=None)
    assert np.all(backend.numpy(coupling)[0, 0] > 0.6)


# Votes as an object


@each_variant
def test_dense_votes_equal_their_array(variant):
    kind = KINDS["dense"]

    def as_array(inputs, kernel):
        return keras.ops.einsum("bid,oied->boie", inputs, kernel)

    data = draw(kind)
    layer = make(variant)
    lazy = value_and_gradients(layer, data)
    held = value_and_gradients(
        layer, dataclasses.replace(data, kind=dataclasses.replace(kind, build=as_array))
    )
    for a, b in zip(lazy[:2], held[:2], strict=True):
        np.testing.assert_allclose(backend.numpy(a), backend.numpy(b), rtol=0, atol=1e-6)
    assert_close_gradients(lazy[2], [backend.numpy(g) for g in held[2]])


@each_variant
def test_array_votes_equal_their_array(variant):
    data = draw(KINDS["array"])
    wrapped = dataclasses.replace(data.kind, build=routing.ArrayVotes)
    layer = make(variant)
    bare = value_and_gradients(layer, data)
    held = value_and_gradients(layer, dataclasses.replace(data, kind=wrapped))
    for a, b in zip([*bare[:2], *bare[2]], [*held[:2], *held[2]], strict=True):
        np.testing.assert_allclose(backend.numpy(a), backend.numpy(b), rtol=0, atol=1e-7)


# Precision, compilation, symbolic use


@pytest.mark.parametrize("policy", backend.HALF_PRECISION)
@each_kind
@each_variant
def test_routes_in_float32_under_a_half_precision_policy(variant, kind, policy):
    """From the same, already rounded arguments; at 300 a float16 square would overflow."""
    dtype, rounding = backend.HALF_PRECISION[policy]
    data = draw(kind)
    data.parts[0] *= np.float32(300.0)
    rounded = dataclasses.replace(
        data,
        parts=[backend.numpy(keras.ops.cast(p, dtype)).astype("float32") for p in data.parts],
    )
    exact = make(variant)
    half = make(variant, dtype=policy)
    expected = outputs(exact, rounded)
    halved = [keras.ops.cast(p, dtype) for p in rounded.parts]
    arguments = (kind.build(*halved), rounded.activations)
    half(*arguments, bias=rounded.bias)  # builds the layer
    half.set_weights(exact.get_weights())
    actual = half(*arguments, bias=rounded.bias)
    assert all(v.dtype == "float32" for v in half.weights)
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(backend.numpy(a), b, rtol=0, atol=rounding)


@pytest.mark.parametrize("compiler", backend.compilers().values(), ids=backend.compilers())
@each_kind
@each_variant
def test_compiled_value_and_gradient(variant, kind, compiler):
    layer, data = make(variant), draw(kind)
    eager = value_and_gradients(layer, data)
    function = weighted(layer, data, _random_like(eager[0]), np.float32(0.0))
    compiled = compiler(
        lambda *arguments: backend.gradients(function, arguments, layer.trainable_variables)
    )
    _, (capsules, coupling), gradients = compiled(*data.arguments)
    np.testing.assert_allclose(backend.numpy(capsules), backend.numpy(eager[0]), rtol=0, atol=1e-6)
    np.testing.assert_allclose(backend.numpy(coupling), backend.numpy(eager[1]), rtol=0, atol=1e-6)
    assert_close_gradients(gradients, [backend.numpy(g) for g in eager[2]])


def _random_like(tensor) -> np.ndarray:
    return np.random.default_rng(1).normal(size=tuple(tensor.shape)).astype("float32")


@pytest.mark.parametrize("name", ["array", "convolutional"])
@each_variant
def test_unknown_batch_size(variant, name):
    kind = KINDS[name]
    data = draw(kind)
    votes = keras.Input(data.parts[0].shape[1:])
    activations = keras.Input(data.activations.shape[1:])
    layer = make(variant)
    capsules, coupling = layer(votes, activations)
    assert tuple(capsules.shape) == (None, *kind.places, OUT, E)
    assert tuple(coupling.shape) == (None, *kind.places, OUT, IN)
    model = keras.Model([votes, activations], [capsules, coupling])
    for batch in (BATCH, 1):
        some = dataclasses.replace(
            data, parts=[data.parts[0][:batch]], activations=data.activations[:batch]
        )
        expected = outputs(layer, some, use_bias=False)
        actual = model([some.parts[0], some.activations])
        for a, b in zip(actual, expected, strict=True):
            np.testing.assert_allclose(backend.numpy(a), b, rtol=0, atol=1e-6)


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


@each_variant
def test_every_argument_is_an_attribute_and_in_the_config(variant):
    layer = make(variant)
    arguments = inspect.signature(type(layer)).parameters
    for name, parameter in arguments.items():
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
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


@pytest.mark.parametrize("identifier", ["no_such_routing", {"name": "no_such_routing"}, 3, None])
def test_get_lists_the_known_names(identifier):
    with pytest.raises(ValueError, match="no_such_routing|3|None") as error:
        routing.get(identifier)
    for name in routing.names():
        assert name in str(error.value)


def test_the_published_routings_are_registered():
    assert {"rba", "em", "sda", "mean"} <= set(routing.names())


@pytest.mark.parametrize("iterations", [0, -1, 1.5])
@pytest.mark.parametrize("variant", VARIANTS)
def test_bad_iterations(variant, iterations):
    with pytest.raises(ValueError, match=f"iterations.*{iterations}"):
        make(variant, iterations=iterations)


@pytest.mark.parametrize(
    "bad", [{"inverse_temperature": 0.0}, {"inverse_temperature_decay": 1.0}], ids=str
)
def test_bad_em_schedule(bad):
    ((name, value),) = bad.items()
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        make("em", **bad)


def test_bad_scale():
    with pytest.raises(ValueError, match="'image'"):
        routing.ScaledDistanceRouting(scale="image")


@pytest.mark.parametrize("variant", VARIANTS)
def test_two_iterations_by_default(variant):
    assert make(variant).iterations == 2


def test_em_weights_are_one_each_per_output_capsule():
    layer = make("em")
    outputs(layer, draw(KINDS["array"]))
    assert {n: w.shape for n, w in own_weights(layer).items()} == {
        "beta_a": (OUT,),
        "beta_u": (OUT,),
    }


def test_em_weights_start_normal_with_deviation_one_fifth():
    layer = make("em")
    outputs(layer, draw(KINDS["array"], out=500, capsules=1))
    for value in own_weights(layer).values():
        assert abs(np.mean(value)) < 0.04
        assert 0.18 < np.std(value) < 0.22
