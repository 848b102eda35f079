"""What every loss, metric, optimizer, initializer and routing does: it is its configuration."""

import keras
import numpy as np
import pytest

from tests import backend
from tfcaps import initializers, losses, metrics, optimizers, routing

# Each public class with arguments that aren't its defaults.
CASES = {
    "loss margin": lambda: losses.MarginLoss(0.8, 0.2, 0.25, name="other"),
    "loss smoothed cross-entropy": lambda: losses.SmoothedCrossEntropy(0.25, name="other"),
    "loss sparse margin": lambda: losses.SparseMarginLoss(0.8, 0.2, 0.25, name="other"),
    "loss reconstruction": lambda: losses.ReconstructionLoss(name="other"),
    "metric t": lambda: metrics.TScore(name="other"),
    "metric d": lambda: metrics.DScore(name="other"),
    "initializer": lambda: initializers.LengthPreserving(0.5),
    "optimizer rectified": lambda: optimizers.RectifiedAdam(0.25, beta_1=0.8, epsilon=1e-5),
    "optimizer lookahead": lambda: optimizers.Lookahead(
        optimizers.RectifiedAdam(0.25), sync_period=3
    ),
    "schedule warm-up": lambda: optimizers.WarmUp(
        keras.optimizers.schedules.ExponentialDecay(0.25, 5, 0.5), steps=3
    ),
    "schedule warm-up to a number": lambda: optimizers.WarmUp(0.25, steps=3),
    "routing rba": lambda: routing.AgreementRouting(3),
    "routing em": lambda: routing.EMRouting(3, cost="published", inverse_temperature=0.5),
    "routing sda": lambda: routing.ScaledDistanceRouting(3, scale="batch"),
    "routing attention": lambda: routing.SelfAttentionRouting(use_prior=True),
    "routing mean": lambda: routing.MeanRouting(3),
}
each_case = pytest.mark.parametrize("make", CASES.values(), ids=CASES)
VOTES = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype("float32")
ACTIVATIONS = np.linspace(0.1, 0.9, 8).reshape(2, 4).astype("float32")


def test_every_class_is_here():
    """Those that Keras can save: they have a configuration, and are registered."""
    public = {
        cls
        for package in (initializers, losses, metrics, optimizers, routing)
        for cls in (getattr(package, name) for name in package.__all__)
        if isinstance(cls, type) and hasattr(cls, "from_config") and cls is not routing.Routing
    }
    assert public == {type(make()) for make in CASES.values()}


def test_every_routing_has_a_name():
    public = {type(make()) for name, make in CASES.items() if name.startswith("routing")}
    assert public == {type(routing.get(name)) for name in routing.names()}


@each_case
def test_configuration_makes_an_equal_one(make):
    first = make()
    config = first.get_config()
    second = type(first).from_config(config)
    assert second.get_config() == config
    loaded = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(first))
    assert type(loaded) is type(first)
    assert loaded.get_config() == config


@pytest.mark.parametrize("name", routing.names())
def test_routing_is_not_traced_again(name):
    layer, traces = routing.get(name), []
    layer(VOTES, ACTIVATIONS)

    def traced(votes, activations):
        traces.append(votes.shape)
        return layer(votes, activations)

    compiled = backend.jitted(traced, layer.variables)
    compiled(VOTES, ACTIVATIONS)
    compiled(VOTES + 1.0, ACTIVATIONS / 2.0)
    assert len(traces) == 1


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("optimizer")])
def test_optimizer_is_not_traced_again(name):
    """As `fit` has it: several steps of one compiled function, each with other gradients."""
    keras.utils.set_random_seed(0)
    model, traces = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), []

    class Loss(keras.losses.Loss):
        def call(self, y_true, y_pred):
            traces.append(y_pred.shape)
            return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)

    model.compile(CASES[name](), loss=Loss())
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    for step in range(4):
        model.train_on_batch(x + step, x[:, :2])
    first = len(traces)
    for step in range(4):
        model.train_on_batch(x - step, x[:, 1:])
    assert len(traces) == first
    assert int(model.optimizer.iterations) == 8
