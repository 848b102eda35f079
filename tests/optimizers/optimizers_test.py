"""Rectified Adam and Lookahead against optax' implementations, and inside Keras."""

import keras
import numpy as np
import pytest

from tests import forks, runs
from tfcaps.errors import UsageError
from tfcaps.optimizers import Lookahead, RectifiedAdam

STEPS = 24
LEARNING_RATE = 1e-3


# Arguments of RectifiedAdam, and what optax calls them.
CASES = [
    ({}, {}),
    ({"weight_decay": 0.5}, {"weight_decay": 0.5}),
    ({"weight_decay": None}, {"weight_decay": 0.0}),
    ({"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3}, {"b1": 0.5, "b2": 0.9, "eps": 1e-3}),
    ({"beta_1": 0.0}, {"b1": 0.0}),
]


def make_problem():
    """Two weights, and gradients of very different sizes for each step."""
    rng = np.random.default_rng(0)
    # Small weights: 24 roundings of a weight of 2 to float32 can add up to 1e-6.
    weights = [0.3 * rng.normal(size=(3, 4)), 0.3 * rng.normal(size=5)]
    gradients = [
        [rng.normal(size=w.shape) * 10 ** rng.uniform(-4, 1) for w in weights] for _ in range(STEPS)
    ]
    return weights, gradients


@pytest.fixture(scope="module")
def problem():
    return make_problem()


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What optax comes to, in a process of its own: JAX has threads, and forks don't like them."""
    path = tmp_path_factory.mktemp("optax") / "steps.npz"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "jax")  # TensorFlow isn't needed there
        code, _, errors = runs.finish(runs.start_code(BY_OPTAX, path))
    assert code == 0, errors
    with np.load(path) as file:
        return dict(file)


def by_keras(optimizer, problem):
    weights, gradients = problem
    variables = [keras.Variable(w.astype("float32")) for w in weights]
    after = []
    for step in gradients:
        optimizer.apply([keras.ops.array(g.astype("float32")) for g in step], variables)
        after.append([v.numpy() for v in variables])
    return after


# In float64; results are (steps, elements of both weights).
BY_OPTAX = """
import sys
import jax, numpy as np, optax
from tests.optimizers import optimizers_test as here

jax.config.update("jax_enable_x64", True)
weights, gradients = here.make_problem()

def run(lookahead, weight_decay=1e-2, **arguments):
    inner = optax.chain(
        optax.scale_by_radam(**{"b1": 0.9, "b2": 0.999, "eps": 1e-6, **arguments}),
        optax.add_decayed_weights(weight_decay),
        optax.scale(-here.LEARNING_RATE),
    )
    params = [jax.numpy.asarray(w) for w in weights]
    optimizer = inner
    if lookahead:
        optimizer = optax.lookahead(inner, 6, 0.5)
        params = optax.LookaheadParams.init_synced(params)
    state = optimizer.init(params)
    for step in gradients:
        updates, state = optimizer.update([jax.numpy.asarray(g) for g in step], state, params)
        params = optax.apply_updates(params, updates)
        fast = params.fast if lookahead else params
        yield np.concatenate([np.ravel(p) for p in fast])

np.savez(sys.argv[1], **{
    f"{index}-{lookahead}": np.stack(list(run(lookahead, **theirs)))
    for index, (_, theirs) in enumerate(here.CASES)
    for lookahead in (False, True)
})
"""


@pytest.mark.parametrize("lookahead", [False, True])
@pytest.mark.parametrize("index", range(len(CASES)))
def test_each_step_is_that_of_optax(problem, expected, lookahead, index):
    optimizer = RectifiedAdam(LEARNING_RATE, **CASES[index][0])
    if lookahead:
        optimizer = Lookahead(optimizer)
    found = [np.concatenate([np.ravel(w) for w in step]) for step in by_keras(optimizer, problem)]
    np.testing.assert_allclose(found, expected[f"{index}-{lookahead}"], rtol=0, atol=1e-6)


def test_a_small_beta_is_never_rectified(problem):
    # ρ_∞ = 2/(1 − 0.5) − 1 = 3 is below 5, so every step is one of momentum alone.
    found = by_keras(RectifiedAdam(LEARNING_RATE, beta_2=0.5, weight_decay=None), problem)
    weights, gradients = problem
    mean = [np.zeros_like(w) for w in weights]
    for t, step in enumerate(gradients, start=1):
        mean = [0.9 * m + 0.1 * g for m, g in zip(mean, step, strict=True)]
        weights = [w - LEARNING_RATE * m / (1 - 0.9**t) for w, m in zip(weights, mean, strict=True)]
        for one, other in zip(found[t - 1], weights, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("steps_before", [0, 4, 5, 900, 1100, 20000])
def test_late_steps(steps_before):
    """One step after many, from the published formula; ρ is above 5 from t = 6 on."""
    mean, square, gradient, weight = 0.03, 0.002, 0.5, 0.25
    variable = keras.Variable([weight])
    optimizer = RectifiedAdam(0.01, weight_decay=0.1)
    optimizer.build([variable])
    *_, mean_slot, square_slot, steps = optimizer.variables
    steps.assign(steps_before)
    for slot, value in zip((mean_slot, square_slot), (mean, square), strict=True):
        slot.assign([value])
    optimizer.apply([keras.ops.array([gradient])], [variable])

    t = steps_before + 1
    mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
    update = mean / (1 - 0.9**t)
    rho = 1999 - 2 * t * 0.999**t / (1 - 0.999**t)
    if t >= 6:
        rectification = ((rho - 4) * (rho - 2) * 1999 / (1995 * 1997 * rho)) ** 0.5
        update *= rectification / ((square / (1 - 0.999**t)) ** 0.5 + 1e-6)
    expected = weight - 0.01 * (update + 0.1 * weight)
    np.testing.assert_allclose(variable.numpy(), [expected], rtol=1e-6)


def test_keras_arguments_pass_through():
    """Clipping to norm 1, a schedule, and a moving average that becomes the weights, by hand."""
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0], [1.0, 0.5])
    arguments = {"clipnorm": 1.0, "use_ema": True, "ema_momentum": 0.5}
    variable = keras.Variable([0.0, 0.0])
    optimizer = Lookahead(
        RectifiedAdam(schedule, beta_1=0.0, weight_decay=None, **arguments), sync_period=2
    )
    for _ in range(2):  # not adaptive yet: the update is the clipped gradient
        optimizer.apply([keras.ops.array([3.0, 4.0])], [variable])
    # −(0.6, 0.8), then −1.5·(0.6, 0.8), of which lookahead keeps the half.
    np.testing.assert_allclose(variable.numpy(), [-0.45, -0.6], rtol=1e-6)
    assert float(optimizer.learning_rate) == 0.5
    optimizer.finalize_variable_values([variable])
    # The average of −(0.6, 0.8) and what lookahead kept.
    np.testing.assert_allclose(variable.numpy(), [-0.525, -0.7], rtol=1e-6)


def test_weights_without_a_gradient_stay():
    moved, still = keras.Variable([1.0]), keras.Variable([1.0])
    optimizer = Lookahead(RectifiedAdam(0.1), sync_period=1)
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply([keras.ops.ones(1), None], [moved, still])
    assert (float(moved[0]) < 1.0, float(still[0])) == (True, 1.0)


def test_a_wrapper_cannot_be_inside():
    wrapper = keras.optimizers.LossScaleOptimizer(RectifiedAdam())
    for inner in (wrapper, Lookahead("sgd")):
        with pytest.raises(UsageError, match=f"Received: {type(inner).__name__}"):
            Lookahead(inner)


def test_lookahead_by_hand():
    """SGD with η = 1 and gradients 1: every second step goes half of the way back."""
    variable = keras.Variable([0.0])
    optimizer = Lookahead(keras.optimizers.SGD(1.0), sync_period=2, slow_step=0.5)
    after = []
    for _ in range(5):
        optimizer.apply([keras.ops.ones(1)], [variable])
        after.append(float(variable[0]))
    assert after == [-1.0, -1.0, -2.0, -2.0, -3.0]
    assert int(optimizer.iterations) == 5


def network(**arguments):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, "relu"),
            *[keras.layers.Dense(3, dtype="float32")],
        ]
    )
    model.compile(
        Lookahead(RectifiedAdam(0.01, clipnorm=0.5), sync_period=3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        **arguments,
    )
    return model


@pytest.fixture(scope="module")
def examples():
    rng = np.random.default_rng(3)
    return rng.normal(size=(32, 4)).astype("float32"), rng.integers(0, 3, 32)


def fit(model, examples, epochs, initial_epoch=0):
    model.fit(
        *examples,
        batch_size=8,
        shuffle=False,
        verbose=0,
        epochs=epochs,
        initial_epoch=initial_epoch,
    )


@pytest.mark.parametrize("jit", [False, True])
def test_slots_are_saved_and_restored(tmp_path, examples, jit):
    model = network(jit_compile=jit)
    fit(model, examples, 2)  # 8 steps: in the middle of the slow weights' period
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    for one, two in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), two.numpy())
    for each in (model, loaded):
        fit(each, examples, 4, initial_epoch=2)
    for one, two in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_weight_that_comes_later_begins_as_any_other():
    """Its steps are those of a new optimizer's weight, and small: rectified, or momentum alone."""
    rng = np.random.default_rng(5)
    old, new, alone = (keras.Variable([0.0], name=name) for name in ("old", "new", "alone"))
    optimizer, fresh = RectifiedAdam(1.0, weight_decay=None), RectifiedAdam(1.0, weight_decay=None)
    optimizer.build([old, new])
    optimizer.iterations.assign(1000)
    optimizer.variables[-2].assign(1000)  # the steps of the old one
    moved = {"old": 0.0, "new": 0.0}
    for _ in range(30):
        gradient = keras.ops.array(rng.normal(1.0, 0.1, 1) * 1e-2)
        before = [float(old[0]), float(new[0])]
        optimizer.apply([gradient, gradient], [old, new])
        fresh.apply([gradient], [alone])
        assert float(new[0]) == float(alone[0])
        moved["old"] += abs(float(old[0]) - before[0])
        moved["new"] += abs(float(new[0]) - before[1])
    # In units of η. With the network's 1,000 steps, empty slots make the first steps large.
    assert moved["new"] < 3
    assert moved["old"] > 30


def test_archives_without_steps_of_each_weight(examples):
    """Weights that were saved before have had as many steps as the optimizer."""
    model = network()
    fit(model, examples, 2)
    inner = model.optimizer.inner
    store = {str(index): each.numpy() for index, each in enumerate(inner.variables)}
    weights = len(model.trainable_variables)
    old = {name: value for name, value in store.items() if int(name) < len(store) - weights}
    again = RectifiedAdam(0.01)
    again.build(model.trainable_variables)
    again.load_own_variables(old)
    for index, variable in enumerate(again.variables):
        np.testing.assert_array_equal(variable.numpy(), store[str(index)])
    assert int(again.variables[-1]) == 8


def test_saved_before_the_first_step(tmp_path, examples):
    """There is nothing to be lost, as Keras says of the inner optimizer."""
    model = network()
    model.save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match="Skipping variable loading"):
        loaded = keras.models.load_model(tmp_path / "model.keras")
    for each in (model, loaded):
        fit(each, examples, 2)
    for one, two in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    "optimizer",
    [
        RectifiedAdam(0.5, beta_1=0.8, epsilon=1e-4),
        Lookahead(RectifiedAdam(weight_decay=0.25, clipnorm=3.0), sync_period=4, slow_step=0.25),
    ],
)
def test_config(optimizer):
    config = keras.optimizers.serialize(optimizer)
    again = keras.optimizers.deserialize(config)
    assert type(again) is type(optimizer)
    assert keras.optimizers.serialize(again) == config


def test_the_learning_rate_is_the_inner_ones():
    optimizer = Lookahead(RectifiedAdam(0.5))
    optimizer.learning_rate = 0.25
    assert float(optimizer.inner.learning_rate) == 0.25
    assert float(optimizer.learning_rate) == 0.25


def test_mixed_float16(examples):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = network()
        start = model.get_weights()
        fit(model, examples, 3)
    finally:
        keras.config.set_dtype_policy(before)
    assert {v.dtype for v in model.optimizer.inner_optimizer.variables} >= {"float32"}
    assert "float16" not in {v.dtype for v in model.optimizer.variables}
    assert all(np.isfinite(w).all() for w in model.get_weights())
    assert any(np.any(a != b) for a, b in zip(start, model.get_weights(), strict=True))


def test_weights_excluded_from_decay():
    kept, decayed = keras.Variable([1.0], name="kept"), keras.Variable([1.0], name="decayed")
    optimizer = Lookahead(RectifiedAdam(0.1, weight_decay=0.5))
    optimizer.exclude_from_weight_decay(var_names=["kept"])
    optimizer.apply([keras.ops.zeros(1)] * 2, [kept, decayed])
    assert (float(kept[0]), float(decayed[0])) == (1.0, pytest.approx(0.95))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RectifiedAdam(beta_1=1.0), r"beta_1 in \[0, 1\)\. Received: 1\.0"),
        (lambda: RectifiedAdam(beta_2=-0.1), r"beta_2 in \[0, 1\)\. Received: -0\.1"),
        (lambda: RectifiedAdam(epsilon=0.0), r"epsilon > 0\. Received: 0\.0"),
        (lambda: Lookahead("sgd", sync_period=0), "sync_period"),
        (lambda: Lookahead("sgd", slow_step=0.0), r"slow_step in \(0, 1\]\. Received: 0\.0"),
    ],
)
def test_arguments_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


OTHER_SURROUNDINGS = """
import sys
import keras, numpy as np

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    scope = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope()
else:
    import contextlib
    scope = contextlib.nullcontext()
from tests.optimizers import optimizers_test as here

rng = np.random.default_rng(3)
examples = rng.normal(size=(32, 4)).astype("float32"), rng.integers(0, 3, 32)
with scope:
    model = here.network(jit_compile=False)
    model.set_weights([np.full(w.shape, 0.1 * i) for i, w in enumerate(model.get_weights())])
    here.fit(model, examples, 3)
np.savez(sys.argv[1], *model.get_weights())
"""


@pytest.mark.parametrize("surroundings", ["jax", "two devices"])
def test_elsewhere_the_numbers_are_the_same(tmp_path, examples, surroundings, monkeypatch):
    model = network(jit_compile=False)
    model.set_weights([np.full(w.shape, 0.1 * i) for i, w in enumerate(model.get_weights())])
    fit(model, examples, 3)
    start = forks.start_code
    if surroundings == "jax":
        monkeypatch.setenv("KERAS_BACKEND", "jax")
        start = runs.start_code
    code, _, errors = runs.finish(start(OTHER_SURROUNDINGS, tmp_path / "weights.npz"))
    assert code == 0, errors
    with np.load(tmp_path / "weights.npz") as found:
        for one, two in zip(model.get_weights(), found.values(), strict=True):
            np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)
