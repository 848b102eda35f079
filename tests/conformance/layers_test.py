"""What every layer does, whatever it computes: serialise, save, round, compile, take any batch."""

import dataclasses
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


def _routed_cases() -> dict[str, Case]:
    cases = {}
    for name in routing.names():
        cases[f"dense {name}"] = Case(
            lambda r=name, **k: layers.DenseCapsule(3, 5, routing=r, **k),
            (4, 6),
            (3, 5),
            (3, 4),
        )
        cases[f"conv {name}"] = Case(
            lambda r=name, **k: layers.ConvCapsule(3, 5, strides=2, routing=r, **k),
            (4, 3, 2, 6),
            (2, 2, 3, 5),
            (2, 2, 3, 2),
        )
    return cases


CASES = {
    # height ≠ width; 1 and 3 channels
    "primary gray": Case(lambda **k: layers.PrimaryCapsule(2, 4, 3, **k), (5, 8, 1), (12, 4)),
    "primary colour": Case(lambda **k: layers.PrimaryCapsule(2, 4, 3, **k), (8, 5, 3), (12, 4)),
    **_routed_cases(),
    "conv valid": Case(
        lambda **k: layers.ConvCapsule(2, 4, kernel_size=2, padding="valid", use_bias=False, **k),
        (3, 4, 1, 3),
        (2, 3, 2, 4),
        (2, 3, 2, 1),
    ),
    "dense without bias": Case(
        lambda **k: layers.DenseCapsule(1, 4, use_bias=False, **k), (2, 3), (1, 4), (1, 2)
    ),
    "length": Case(layers.CapsuleLength, (3, 4), (3,)),
    "mask": Case(layers.CapsuleMask, (3, 4), (3, 4)),
}

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


def call(layer, case: Case, x) -> list:
    return as_list(layer(keras.ops.convert_to_tensor(x), **case.call_arguments))


def model_of(case: Case, layer: keras.layers.Layer) -> keras.Model:
    inputs = keras.Input(case.input_shape)
    return keras.Model(inputs, as_list(layer(inputs, **case.call_arguments)))


def assert_all_close(actual, expected, tolerance: float = 1e-6):
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(backend.numpy(a), backend.numpy(e), rtol=0, atol=tolerance)


# Shapes


@each_case
def test_shapes(case):
    layer, x = case.make(), sample(case)
    expected = [(BATCH, *case.output_shape)]
    if case.coupling_shape is not None:
        expected.append((BATCH, *case.coupling_shape))
    assert [tuple(o.shape) for o in call(layer, case, x)] == expected
    assert tuple(layer(keras.ops.convert_to_tensor(x)).shape) == expected[0]
    assert tuple(layer.compute_output_shape(x.shape)) == expected[0]
    unknown = (None, *case.input_shape)
    assert tuple(layer.compute_output_shape(unknown)) == (None, *case.output_shape)
    assert [tuple(o.shape) for o in model_of(case, case.make()).outputs] == [
        (None, *shape[1:]) for shape in expected
    ]


@each_case
def test_unknown_batch_size(case):
    layer = case.make()
    model = model_of(case, layer)
    for batch in (1, 3):
        x = sample(case, batch)
        assert_all_close(as_list(model(x)), call(layer, case, x))


@each_case
def test_same_capsules_with_and_without_coupling(case):
    layer, x = case.make(), sample(case)
    alone = layer(keras.ops.convert_to_tensor(x))
    capsules, *coupling = call(layer, case, x)
    assert_all_close([alone], [capsules])
    for c in coupling:
        np.testing.assert_allclose(np.sum(backend.numpy(c), axis=-2), 1.0, rtol=0, atol=1e-6)


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
    layer, x = case.make(), sample(case)
    expected = call(layer, case, x)
    copy = type(layer).from_config(layer.get_config())
    call(copy, case, x)
    assert [w.shape for w in copy.weights] == [w.shape for w in layer.weights]
    copy.set_weights(layer.get_weights())
    assert_all_close(call(copy, case, x), expected, 1e-7)


@each_case
def test_saved_model_gives_equal_outputs(case, tmp_path):
    model = model_of(case, case.make())
    for weight in model.weights:  # not what an initialiser would give again
        weight.assign(weight + 0.01)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = sample(case)
    assert_all_close(as_list(loaded(x)), as_list(model(x)), 1e-7)


# Precision and compilation


@pytest.mark.parametrize("policy", backend.HALF_PRECISION, indirect=True)
@each_case
def test_half_precision(case, policy):
    dtype, rounding = backend.HALF_PRECISION[policy]
    half, x = case.make(), sample(case)
    outputs = call(half, case, x)
    single = case.make(dtype="float32")
    call(single, case, x)
    single.set_weights(half.get_weights())
    expected = call(single, case, x)
    assert all(keras.backend.standardize_dtype(w.dtype) == "float32" for w in half.weights)
    assert [keras.backend.standardize_dtype(o.dtype) for o in outputs] == [dtype] * len(outputs)
    # Inputs, weights and sums of a dozen products are rounded, then what is routed is smooth.
    assert_all_close(outputs, expected, 12 * rounding)


@pytest.mark.parametrize("compiler", backend.compilers().values(), ids=backend.compilers())
@each_case
def test_compiled(case, compiler):
    layer, x = case.make(), sample(case)
    expected = call(layer, case, x)
    assert_all_close(compiler(lambda x: call(layer, case, x))(x), expected)


@each_case
def test_gradient_reaches_inputs_and_every_weight(case):
    layer, x = case.make(), sample(case)
    first = call(layer, case, x)[0]
    weights = np.random.default_rng(1).normal(size=tuple(first.shape)).astype("float32")

    def scalar(x):
        capsules = layer(x)
        return keras.ops.sum(capsules * weights), capsules

    _, _, gradients = backend.gradients(scalar, [x], layer.trainable_variables)
    for gradient in gradients:
        assert np.all(np.isfinite(backend.numpy(gradient)))
        assert np.any(backend.numpy(gradient) != 0.0)


@each_case
def test_zero_input_has_finite_value_and_gradient(case):
    layer = case.make()
    x = np.zeros_like(sample(case))
    call(layer, case, x)

    def scalar(x):
        outputs = call(layer, case, x)
        return keras.ops.sum(outputs[0]), outputs

    _, outputs, gradients = backend.gradients(scalar, [x], layer.trainable_variables)
    for tensor in [*outputs, *gradients]:
        assert np.all(np.isfinite(backend.numpy(tensor)))


# Bad arguments: the message repeats the value

DENSE = {"capsules": 3, "dim": 4}
CONV = {"out_capsules": 3, "out_dimension": 4}
PRIMARY = {"channels": 3, "dim": 4}
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
    ],
    ids=["padding", "conv routing", "dense routing", "number as routing"],
)
def test_bad_choice(layer, arguments, value):
    with pytest.raises(ValueError, match=value):
        layer(**arguments)


@pytest.mark.parametrize(
    ("make", "shape", "repeated"),
    [
        (CASES["primary gray"].make, (8, 8), "8, 8"),
        (CASES["primary gray"].make, (2, 7, 1), "2"),
        (CASES["dense rba"].make, (7,), "7"),
        (CASES["dense rba"].make, (None, 7), "None"),
        (CASES["conv rba"].make, (4, 4, 7), "4, 4, 7"),
        (CASES["conv valid"].make, (1, 9, 2, 3), "1"),
    ],
    ids=["image rank", "image size", "dense rank", "unknown capsules", "map rank", "map size"],
)
def test_bad_input_shape(make, shape, repeated):
    with pytest.raises(ValueError, match=repeated):
        make().build((None, *shape))


# Without bias a network of capsule layers can't tell x from -x


def _lengths(network: list, x: np.ndarray) -> np.ndarray:
    capsules = keras.ops.convert_to_tensor(x)
    for layer in network:
        capsules = layer(capsules)
    return reference.lengths(backend.numpy(capsules))


def _dense_network(name: str, depth: int, use_bias: bool) -> list:
    # Deviation 0.5 as in the paper's experiment; a small bias would drown in em's flat sigmoid.
    normal = keras.initializers.RandomNormal(stddev=0.5, seed=0)
    return [
        layers.DenseCapsule(3, 5, name, use_bias=use_bias, kernel_initializer=normal)
        for _ in range(depth)
    ]


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("name", routing.names())
def test_lengths_are_even_without_bias(name, depth):
    network, x = _dense_network(name, depth, use_bias=False), sample(CASES["dense rba"])
    lengths = _lengths(network, x)
    np.testing.assert_allclose(_lengths(network, -x), lengths, rtol=0, atol=1e-6)
    assert np.min(lengths) > 1e-3


@pytest.mark.parametrize("name", routing.names())
def test_lengths_of_maps_are_even_without_bias(name):
    network = [layers.ConvCapsule(3, 5, routing=name, use_bias=False) for _ in range(2)]
    x = sample(CASES["conv rba"])
    np.testing.assert_allclose(_lengths(network, -x), _lengths(network, x), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("name", "depth"), [("rba", 1), ("sda", 1), ("mean", 1), ("em", 2)])
def test_a_bias_tells_the_sign(name, depth):
    network, x = _dense_network(name, depth, use_bias=True), sample(CASES["dense rba"])
    assert np.max(np.abs(_lengths(network, -x) - _lengths(network, x))) > 1e-4


def test_one_em_layer_with_bias_is_even_still():
    """A shift of all votes leaves the variances, and so the activations, as they are."""
    network, x = _dense_network("em", 1, use_bias=True), sample(CASES["dense rba"])
    np.testing.assert_allclose(_lengths(network, -x), _lengths(network, x), rtol=0, atol=1e-6)
