"""What dense and convolutional capsule layers have in common: the routing that they are given."""

import keras
import numpy as np
import pytest

from tests import backend
from tfcaps.errors import UsageError
from tfcaps.layers import ConvCapsule, DenseCapsule, PrimaryCapsule
from tfcaps.ops import squash
from tfcaps.routing import ArrayVotes, EMRouting, Routing, names

CAPSULES = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")


class TestOneRoutingForTwoLayers:
    """Each layer gets a copy, so neither sizes nor weights meet."""

    @pytest.mark.parametrize("sizes", [(3, 3), (3, 6)])
    def test_layers_are_what_they_are_alone(self, sizes):
        routing = EMRouting(iterations=3, cost="published", inverse_temperature=0.5)
        first, second = (DenseCapsule(size, 4, routing=routing) for size in sizes)
        outputs = second(first(CAPSULES))
        assert outputs.shape == (2, sizes[1], 4)
        assert first.routing is not second.routing
        assert routing.weights == []
        assert {w.path for w in first.weights}.isdisjoint(w.path for w in second.weights)
        for layer in (first, second):
            assert layer.routing.get_config() | {"name": ""} == routing.get_config() | {"name": ""}
            assert layer.routing.beta_a.shape == (layer.capsules,)

    def test_weights_are_not_shared(self):
        routing = EMRouting()
        first, second = (DenseCapsule(3, 4, routing=routing) for _ in range(2))
        first(CAPSULES)
        second(CAPSULES)
        first.routing.beta_a.assign([7.0, 8.0, 9.0])
        assert np.abs(backend.numpy(second.routing.beta_a.value)).max() < 2.0

    def test_a_model_of_them_can_be_loaded(self, tmp_path):
        routing = EMRouting()
        inputs = keras.Input((5, 4))
        x = DenseCapsule(3, 4, routing=routing)(inputs)
        model = keras.Model(inputs, DenseCapsule(3, 4, routing=routing)(x))
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_allclose(
            backend.numpy(loaded(CAPSULES)), backend.numpy(model(CAPSULES)), rtol=1e-6
        )

    def test_learnt_weights_are_not_dropped(self):
        routing = EMRouting(cost="published")
        routing(np.ones((1, 2, 3, 4), "float32"), np.ones((1, 3), "float32"))
        with pytest.raises(UsageError) as caught:
            DenseCapsule(2, 4, routing=routing)
        assert str(caught.value) == (
            "Expected a routing without weights, as each layer gets a copy of its own. "
            f"Received: {routing.name}, which has 2"
        )


@keras.saving.register_keras_serializable(package="tests")
class Announcing(Routing):
    """Uniform coupling that reads its votes twice, whatever it says before."""

    def __init__(self, linear, quadratic=0, **kwargs):
        super().__init__(**kwargs)
        self.linear, self.quadratic = linear, quadratic

    def route(self, votes, activations, bias):
        x = votes.open(linear=self.linear, quadratic=self.quadratic)
        coupling = x.uniform_coupling()
        first = x.weighted_sum(coupling)
        return squash(first + x.weighted_sum(coupling)), coupling

    def get_config(self):
        return {**super().get_config(), "linear": self.linear, "quadratic": self.quadratic}


class TestAnnouncedReadings:
    @pytest.mark.parametrize(
        ("announced", "received"), [((1, 0), "more"), ((3, 0), "fewer"), ((2, 1), "fewer")]
    )
    def test_wrong_number(self, announced, received):
        sentence = (
            f"Expected {announced[0]} readings of the votes and {announced[1]} of their squares, "
            f"as many as the routing opened them for. Received: {received}"
        )
        votes = np.ones((1, 2, 5, 3), "float32")
        for call in (
            lambda: Announcing(*announced)(votes, np.ones((1, 5), "float32")),
            lambda: DenseCapsule(2, 3, routing=Announcing(*announced))(CAPSULES),
            lambda: ConvCapsule(2, 3, routing=Announcing(*announced))(
                np.ones((1, 4, 4, 2, 3), "float32")
            ),
        ):
            with pytest.raises(UsageError) as caught:
                call()
            assert sentence in str(caught.value)

    def test_as_many(self):
        assert DenseCapsule(2, 3, routing=Announcing(2))(CAPSULES).shape == (2, 2, 3)
        votes = ArrayVotes(np.ones((1, 2, 5, 3), "float32"))
        votes.check_read()  # never opened


class TestFormerNames:
    """Layers that were saved before arguments were called alike."""

    @pytest.mark.parametrize(
        ("layer", "names"),
        [
            (
                ConvCapsule(3, 4, kernel_size=1),
                {"capsules": "out_capsules", "dim": "out_dimension"},
            ),
            (PrimaryCapsule(3, 4, kernel_size=2), {"capsules": "channels"}),
        ],
    )
    def test_configuration(self, layer, names):
        config = layer.get_config()
        former = {names.get(name, name): value for name, value in config.items()}
        assert former.keys() != config.keys()
        loaded = type(layer).from_config(former)
        assert (loaded.capsules, loaded.dim) == (3, 4)
        assert loaded.get_config() == config


@pytest.mark.parametrize("name", [name for name in names() if name != "mean"])
def test_gradient_of_a_gradient_penalty(name):
    """Along itself it is as steep as finite differences of the penalty, in a compiled step."""
    keras.utils.set_random_seed(0)
    layer = DenseCapsule(3, 4, routing=name)
    inputs = np.random.default_rng(0).normal(size=(2, 6, 5)).astype("float32")
    layer(inputs)

    def score(inputs):
        return keras.ops.sum(keras.ops.square(layer(inputs))[:, 0]), ()

    differentiate = backend.gradients(score, layer.trainable_variables)

    def penalty(inputs):
        return keras.ops.sum(keras.ops.square(differentiate(inputs)[1][0])), ()

    step = backend.gradients(penalty, layer.trainable_variables)
    kernel = layer.trainable_variables[0]
    gradient = backend.numpy(backend.jitted(step, layer.trainable_variables)(inputs)[1][1])
    original, length = backend.numpy(kernel.value), np.linalg.norm(gradient)

    def moved(distance):
        kernel.assign((original + distance * gradient / length).astype("float32"))
        return float(penalty(inputs)[0])

    slope = (moved(1e-3) - moved(-1e-3)) / 2e-3
    assert length > 1e-3
    np.testing.assert_allclose(length, slope, rtol=0.01)
