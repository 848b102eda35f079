"""What every layer does, whatever it computes: serialise, save, round, compile, take any batch."""

import dataclasses
import functools
import random
from collections.abc import Callable

import keras
import numpy as np
import pytest

from tests import backend, reference
from tfcaps import layers, routing

BATCH = 2


@dataclasses.dataclass(frozen=True)
class Case:
    """A layer, the shape of one sample of its input, and of one sample of its outputs."""

    make: Callable[..., keras.layers.Layer]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    coupling_shape: tuple[int, ...] | None = None

    @property
    def call_arguments(self) -> dict[str, bool]:
        return {} if self.coupling_shape is None else {"return_coupling": True}


CASES = {
    # height ≠ width; 1 and 3 channels
    "primary gray": Case(lambda **k: layers.PrimaryCapsule(2, 4, 3, **k), (5, 8, 1), (12, 4)),
    "primary colour": Case(lambda **k: layers.PrimaryCapsule(2, 4, 3, **k), (8, 5, 3), (12, 4)),
    **{
        f"dense {name}": Case(
            lambda r=name, **k: layers.DenseCapsule(3, 5, routing=r, **k), (4, 6), (3, 5), (3, 4)
        )
        for name in routing.names()
    },
    **{
        f"shared {name}": Case(
            lambda r=name, **k: layers.DenseCapsule(3, 5, routing=r, shared_kernel=True, **k),
            (4, 6),
            (3, 5),
            (3, 4),
        )
        for name in ("rba", "em")
    },
    "primary signal": Case(lambda **k: layers.PrimaryCapsule(2, 4, 3, **k), (8, 3), (6, 4)),
    "depthwise signal": Case(lambda **k: layers.DepthwisePrimaryCapsule(2, 3, **k), (7, 6), (2, 3)),
    "squash": Case(lambda **k: layers.Squash(axis=1, **k), (3, 4), (3, 4)),
    "depthwise": Case(lambda **k: layers.DepthwisePrimaryCapsule(2, 3, **k), (4, 3, 6), (2, 3)),
    "dense without bias": Case(
        lambda **k: layers.DenseCapsule(1, 4, use_bias=False, **k), (2, 3), (1, 4), (1, 2)
    ),
    "conv em": Case(
        lambda **k: layers.ConvCapsule(3, 5, strides=2, routing="em", **k),
        (4, 3, 2, 6),
        (2, 2, 3, 5),
        (2, 2, 3, 2),
    ),
    "conv valid": Case(
        lambda **k: layers.ConvCapsule(2, 4, kernel_size=2, padding="valid", use_bias=False, **k),
        (3, 4, 1, 3),
        (2, 3, 2, 4),
        (2, 3, 2, 1),
    ),
    "plain block": Case(lambda **k: layers.PlainBlock(4, strides=2, **k), (5, 4, 3), (3, 2, 4)),
    "wide residual block": Case(
        lambda **k: layers.ResidualBlock(3, hidden=5, **k), (5, 4, 3), (5, 4, 3)
    ),
    "residual block": Case(lambda **k: layers.ResidualBlock(3, **k), (5, 4, 3), (5, 4, 3)),
    "projection block": Case(
        lambda **k: layers.ResidualBlock(4, strides=2, **k), (5, 4, 3), (3, 2, 4)
    ),
    "gate": Case(layers.Gate, (3, 4), (3, 4)),
    "length": Case(layers.CapsuleLength, (3, 4), (3,)),
    "mask": Case(layers.CapsuleMask, (3, 4), (3, 4)),
}

# Base classes, which have no call of their own.
BASES = {layers.RoutedCapsule}

each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@pytest.fixture(autouse=True)
def _seeded():
    random.seed(0)  # where Keras' initialisers take their seeds from


@pytest.fixture
def policy(request):
    """A global dtype policy, for the length of one test."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


def sample(case: Case, batch: int = BATCH) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(batch, *case.input_shape)).astype("float32")


def as_list(outputs) -> list:
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]


@functools.cache
def _forward(layer: keras.layers.Layer, **arguments) -> Callable:
    return backend.forward(lambda x: layer(x, **arguments), layer.variables)


def call(layer: keras.layers.Layer, case: Case, x) -> list[np.ndarray]:
    """All outputs of a layer."""
    return [backend.numpy(o) for o in as_list(_forward(layer, **case.call_arguments)(x))]


def build(case: Case, **options) -> keras.layers.Layer:
    layer = case.make(**options)
    layer.build((BATCH, *case.input_shape))
    return layer


@functools.cache
def shared(case: Case) -> keras.layers.Layer:
    """One layer per case, for tests that leave it as it is: JAX compiles it just once."""
    random.seed(0)
    return build(case, dtype="float32")


def model_of(case: Case, layer: keras.layers.Layer) -> keras.Model:
    inputs = keras.Input(case.input_shape)
    return keras.Model(inputs, as_list(layer(inputs, **case.call_arguments)))


def assert_all_close(actual, expected, tolerance: float = 1e-6):
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(backend.numpy(a), backend.numpy(e), rtol=0, atol=tolerance)


def test_every_layer_is_here():
    public = {
        cls
        for cls in (getattr(layers, name) for name in layers.__all__)
        if issubclass(cls, keras.layers.Layer)
    }
    assert public - BASES == {type(case.make()) for case in CASES.values()}


# Shapes


@each_case
def test_shapes(case):
    layer, x = shared(case), sample(case)
    outputs = call(layer, case, x)
    expected = [(BATCH, *case.output_shape)]
    if case.coupling_shape is not None:
        expected.append((BATCH, *case.coupling_shape))
        np.testing.assert_allclose(np.sum(outputs[1], axis=-2), 1.0, rtol=0, atol=1e-6)
        assert_all_close([_forward(layer)(x)], outputs[:1])
    assert [o.shape for o in outputs] == expected
    assert tuple(layer.compute_output_shape(x.shape)) == expected[0]
    unknown = (None, *case.input_shape)
    assert tuple(layer.compute_output_shape(unknown)) == (None, *case.output_shape)


@each_case
def test_unknown_batch_size(case):
    layer, x = shared(case), sample(case)
    expected = call(layer, case, x)
    model = model_of(case, layer)
    assert [tuple(o.shape) for o in model.outputs] == [(None, *e.shape[1:]) for e in expected]
    predict = backend.forward(model, model.variables)
    assert_all_close(as_list(predict(x[:1])), [e[:1] for e in expected])


@each_case
def test_empty_batch(case):
    outputs = call(shared(case), case, sample(case, batch=0))
    expected = [case.output_shape, *([case.coupling_shape] if case.coupling_shape else [])]
    assert [output.shape for output in outputs] == [(0, *shape) for shape in expected]


# Serialisation


@each_case
def test_config_round_trip(case):
    layer = case.make(name="some_name")
    config = layer.get_config()
    assert type(layer).from_config(config).get_config() == config
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(copy) is type(layer)
    assert copy.get_config() == config


@each_case
def test_from_config_makes_the_same_layer(case):
    layer, x = shared(case), sample(case)
    copy = type(layer).from_config(layer.get_config())
    copy.build(x.shape)
    assert [(w.name, w.shape) for w in copy.weights] == [(w.name, w.shape) for w in layer.weights]
    copy.set_weights(layer.get_weights())
    assert_all_close(call(copy, case, x), call(layer, case, x), 1e-7)


@each_case
def test_saved_model_gives_equal_outputs(case, tmp_path):
    layer, x = build(case), sample(case)
    model_of(case, layer).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    twin = shared(case)
    before = twin.get_weights()
    twin.set_weights(layer.get_weights())
    expected = call(twin, case, x)
    twin.set_weights(before)
    assert_all_close(as_list(backend.forward(loaded, loaded.variables)(x)), expected, 1e-7)


# Precision and compilation


@pytest.mark.parametrize("policy", backend.HALF_PRECISION, indirect=True)
@each_case
def test_half_precision(case, policy):
    dtype, rounding = backend.HALF_PRECISION[policy]
    x = sample(case)
    half = build(case)
    half.set_weights(shared(case).get_weights())
    outputs = as_list(_forward(half, **case.call_arguments)(x))
    assert all(keras.backend.standardize_dtype(w.dtype) == "float32" for w in half.weights)
    assert [keras.backend.standardize_dtype(o.dtype) for o in outputs] == [dtype] * len(outputs)
    # Inputs, weights and sums of a dozen products are rounded, then what is routed is smooth.
    assert_all_close(outputs, call(shared(case), case, x), 12 * rounding)


# One case of each layer; operation by operation, a JAX suite takes minutes.
COMPILED = {
    name: CASES[name]
    for name in (
        ["dense rba"]
        if backend.IS_JAX
        else ["primary colour", "dense em", "dense sda", "conv em", "length", "mask"]
    )
}


@pytest.mark.parametrize("compiler", backend.compilers().values(), ids=backend.compilers())
@pytest.mark.parametrize("case", COMPILED.values(), ids=COMPILED)
def test_compiled(case, compiler):
    layer, x = shared(case), sample(case)
    compiled = compiler(lambda x: layer(x, **case.call_arguments))
    assert_all_close(as_list(compiled(x)), call(layer, case, x))


if not backend.IS_JAX:  # which goes by the shapes only, whatever a layer does

    @each_case
    def test_is_not_traced_again_for_inputs_of_the_same_shape(case):
        layer, traces = shared(case), []

        def traced(x):
            traces.append(x.shape)
            return layer(x, **case.call_arguments)

        compiled = backend.jitted(traced, layer.variables)
        compiled(sample(case))
        compiled(2.0 * sample(case))
        assert len(traces) == 1


@each_case
def test_gradient_is_finite_and_reaches_everything(case):
    layer, x = shared(case), sample(case)
    weights = np.random.default_rng(1).normal(size=(BATCH, *case.output_shape)).astype("float32")

    def scalar(x):
        capsules = layer(x)
        return keras.ops.sum(capsules * weights), capsules

    derivative = backend.gradients(scalar, layer.trainable_variables)
    _, gradients = derivative(x)
    assert len(gradients) == 1 + len(layer.trainable_variables)
    for gradient in gradients:
        assert np.all(np.isfinite(backend.numpy(gradient)))
        assert np.any(backend.numpy(gradient) != 0.0)
    capsules, gradients = derivative(np.zeros_like(x))
    for tensor in [capsules, *gradients]:
        assert np.all(np.isfinite(backend.numpy(tensor)))


# Bad arguments: the message repeats the value

DENSE = {"capsules": 3, "dim": 4}
CONV = {"capsules": 3, "dim": 4}
PRIMARY = {"capsules": 3, "dim": 4}
BAD_SIZES = [
    *((layers.DenseCapsule, DENSE, name) for name in DENSE),
    *((layers.ConvCapsule, CONV, name) for name in [*CONV, "kernel_size", "strides"]),
    *((layers.PrimaryCapsule, PRIMARY, name) for name in [*PRIMARY, "kernel_size", "strides"]),
]


@pytest.mark.parametrize("value", [0, -1, 2.5, "many", None], ids=str)
@pytest.mark.parametrize(
    ("layer", "good", "argument"), BAD_SIZES, ids=[f"{c.__name__} {a}" for c, _, a in BAD_SIZES]
)
def test_bad_size(layer, good, argument, value):
    with pytest.raises(ValueError, match=f"Received.*{value}"):
        layer(**{**good, argument: value})


@pytest.mark.parametrize(
    ("layer", "arguments", "value"),
    [
        (layers.ConvCapsule, {**CONV, "padding": "full"}, "full"),
        (layers.ConvCapsule, {**CONV, "routing": "no_such"}, "no_such"),
        (layers.DenseCapsule, {**DENSE, "routing": "no_such"}, "no_such"),
        (layers.DenseCapsule, {**DENSE, "routing": 3}, "3"),
        (layers.Squash, {"axis": 0}, "0"),
        (layers.Squash, {"axis": 1.0}, "1.0"),
    ],
    ids=["padding", "conv routing", "dense routing", "number as routing", "batch axis", "no axis"],
)
def test_bad_choice(layer, arguments, value):
    with pytest.raises(ValueError, match=value):
        layer(**arguments)


@pytest.mark.parametrize(
    ("make", "shape", "repeated"),
    [
        (CASES["primary gray"].make, (8,), "8"),
        (CASES["primary signal"].make, (2, 3), "3. Received: 2"),
        (CASES["depthwise signal"].make, (None, 6), "None"),
        (CASES["squash"].make, (), r"axis 1 .*\(None,\)"),
        (CASES["shared em"].make, (7, None), "known dimension"),
        (CASES["dense rba"].make, (None, 3, 7), "shared_kernel=True"),
        (CASES["primary gray"].make, (2, 7, 1), "2"),
        (CASES["dense rba"].make, (7,), "7"),
        (CASES["dense rba"].make, (None, 7), "None"),
        (CASES["conv em"].make, (4, 4, 7), "4, 4, 7"),
        (CASES["conv valid"].make, (1, 9, 2, 3), "1"),
    ],
    ids=[
        "image rank",
        "signal size",
        "unknown signal",
        "no axis",
        "unknown dimension",
        "unknown map",
        "image size",
        "dense rank",
        "unknown capsules",
        "map rank",
        "map size",
    ],
)
def test_bad_input_shape(make, shape, repeated):
    with pytest.raises(ValueError, match=repeated):
        make().build((None, *shape))


# Without bias a network of capsule layers can't tell x from -x


def _lengths_of_both_signs(network: list, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    model = keras.Sequential([keras.Input(x.shape[1:]), *network])
    predict = backend.forward(model, model.variables)
    return tuple(reference.lengths(backend.numpy(predict(sign * x))) for sign in (1, -1))


def _dense_network(name: str, depth: int, use_bias: bool) -> list:
    # Deviation 0.5 as in the paper's experiment; a small bias would drown in em's flat sigmoid.
    normal = keras.initializers.RandomNormal(stddev=0.5, seed=0)
    return [
        layers.DenseCapsule(3, 5, name, use_bias=use_bias, kernel_initializer=normal)
        for _ in range(depth)
    ]


@pytest.mark.parametrize("name", routing.names())
def test_lengths_are_even_without_bias(name):
    network = _dense_network(name, 2, use_bias=False)
    lengths, negative = _lengths_of_both_signs(network, sample(CASES["dense rba"]))
    np.testing.assert_allclose(negative, lengths, rtol=0, atol=1e-6)
    assert np.max(lengths) > 1e-2


@pytest.mark.parametrize("name", routing.names())
def test_lengths_of_maps_are_even_without_bias(name):
    network = [layers.ConvCapsule(3, 5, routing=name, use_bias=False) for _ in range(2)]
    lengths, negative = _lengths_of_both_signs(network, sample(CASES["conv em"]))
    np.testing.assert_allclose(negative, lengths, rtol=0, atol=1e-6)
    assert np.max(lengths) > 1e-2


@pytest.mark.parametrize(("name", "depth"), [("rba", 1), ("sda", 1), ("mean", 1), ("em", 2)])
def test_a_bias_tells_the_sign(name, depth):
    network = _dense_network(name, depth, use_bias=True)
    lengths, negative = _lengths_of_both_signs(network, sample(CASES["dense rba"]))
    assert np.max(np.abs(negative - lengths)) > 1e-4


def test_one_em_layer_with_bias_is_even_still():
    """A shift of all votes leaves the variances, and so the activations, as they are."""
    network = _dense_network("em", 1, use_bias=True)
    lengths, negative = _lengths_of_both_signs(network, sample(CASES["dense rba"]))
    np.testing.assert_allclose(negative, lengths, rtol=0, atol=1e-6)
