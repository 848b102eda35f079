"""Input capsules that are masked, and a number of them that isn't known, against those alone."""

import re

import keras
import numpy as np
import pytest

from tests import backend, reference
from tfcaps import layers, routing
from tfcaps.errors import UsageError

B, COUNT, D = 3, 5, 4
CAPSULES = np.random.default_rng(0).normal(size=(B, COUNT, D)).astype("float32")
# Another number in each sample, and not the last ones only.
MASK = np.array([[1, 0, 1, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 1, 0]], bool)
# What is masked may be anything.
MASKED = np.where(MASK[..., None], CAPSULES, np.float32(np.nan))
ROUTINGS = {
    **{name: name for name in routing.names()},
    "em-published": {"name": "em", "cost": "published", "iterations": 3},
    "sda-3": {"name": "sda", "iterations": 3},
    "attention-prior": {"name": "attention", "use_prior": True},
}
each_routing = pytest.mark.parametrize("name", ROUTINGS)


def call(layer, capsules, mask=None) -> list[np.ndarray]:
    # An argument, as it is in use: XLA folds a mask of zeros into constants that it divides.
    given = (capsules,) if mask is None else (capsules, mask)

    def run(x, mask=None):
        return layer(x, return_coupling=True, mask=mask)

    return [backend.numpy(output) for output in backend.forward(run, layer.variables)(*given)]


def dense(name: str, **options) -> layers.DenseCapsule:
    layer = layers.DenseCapsule(3, 6, routing=ROUTINGS[name], **options)
    layer.build((None, COUNT, D))
    if layer.routing.weights and name == "attention-prior":
        prior = np.random.default_rng(1).normal(size=(3, COUNT))
        layer.routing.prior.assign(prior)
    return layer


@each_routing
def test_masked_capsules_change_nothing(name):
    """A layer with the rows of the kernel and the prior of those that are there gives the same."""
    layer = dense(name)
    capsules, coupling = call(layer, MASKED, mask=MASK)
    for sample, there in enumerate(MASK):
        alone = layers.DenseCapsule(3, 6, routing=ROUTINGS[name])
        alone.build((None, there.sum(), D))
        for weight, full in zip(alone.weights, layer.weights, strict=True):
            own = backend.numpy(full.value)
            weight.assign(own[:, there] if own.ndim > 1 and own.shape[1] == COUNT else own)
        expected = call(alone, CAPSULES[sample : sample + 1, there])
        np.testing.assert_allclose(capsules[sample], expected[0][0], rtol=0, atol=1e-5)
        np.testing.assert_allclose(coupling[sample][:, there], expected[1][0], rtol=0, atol=1e-5)
        np.testing.assert_array_equal(coupling[sample][:, ~there], 0.0)


@each_routing
def test_all_masked_and_none_masked(name):
    layer = dense(name)
    none = call(layer, CAPSULES, mask=np.ones((B, COUNT), bool))
    for actual, expected in zip(none, call(layer, CAPSULES), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)
    for output in call(layer, CAPSULES, mask=np.zeros((B, COUNT), bool)):
        assert np.all(np.isfinite(output))


def test_one_mean_distance_for_the_batch():
    """Over all the capsules that are there: the reference takes it over the samples at once."""
    layer = layers.DenseCapsule(3, 6, routing={"name": "sda", "scale": "batch"}, shared_kernel=True)
    layer.build((None, COUNT, D))
    # Two capsules of each sample, so that those alone are an array.
    mask = np.array([[1, 0, 1, 0, 0], [0, 0, 0, 1, 1], [0, 1, 1, 0, 0]], bool)
    alone = CAPSULES[mask].reshape(B, 2, D)
    np.testing.assert_allclose(
        call(layer, CAPSULES, mask=mask)[0], call(layer, alone)[0], rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("name", ["rba", "em", "sda"])
def test_gradient(name):
    """What is masked has none, and the others' is that of those alone."""
    layer = dense(name, shared_kernel=True)
    weights = np.random.default_rng(2).normal(size=(1, 3, 6)).astype("float32")

    def derivative(capsules, mask):
        def scalar(x):
            output = layer(x, mask=mask)
            return keras.ops.sum(output * weights), output

        return backend.gradients(scalar, layer.trainable_variables)(capsules)[1]

    there = MASK[0]
    inputs, *actual = derivative(MASKED[:1], MASK[:1])
    inputs_alone, *expected = derivative(CAPSULES[:1, there], None)
    np.testing.assert_array_equal(backend.numpy(inputs)[0, ~there], 0.0)
    for one, two in zip(actual, expected, strict=True):
        np.testing.assert_allclose(backend.numpy(one), backend.numpy(two), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(
        backend.numpy(inputs)[:, there], backend.numpy(inputs_alone), rtol=1e-3, atol=1e-6
    )


class TestSharedKernel:
    @pytest.mark.parametrize("name", routing.names())
    def test_value_is_the_formula(self, name):
        """With each input capsule's kernel the same."""
        layer = dense(name, shared_kernel=True)
        weights = backend.weights(layer)
        assert weights["kernel"].shape == (3, 6, D)
        weights["kernel"] = np.repeat(weights["kernel"][:, None], COUNT, axis=1)
        expected = reference.dense_capsule(CAPSULES.astype("float64"), name, **weights)
        for a, e in zip(call(layer, CAPSULES), expected, strict=True):
            np.testing.assert_allclose(a, e, rtol=0, atol=1e-5)

    @pytest.mark.parametrize("name", routing.names())
    def test_none_at_all(self, name):
        """A sequence of length 0: nothing votes, and nothing is beyond a number."""
        capsules, coupling = call(dense(name, shared_kernel=True), CAPSULES[:, :0])
        assert capsules.shape == (len(CAPSULES), 3, 6)
        assert coupling.shape == (len(CAPSULES), 3, 0)
        assert np.all(np.isfinite(capsules))

    @pytest.mark.parametrize("name", routing.names())
    def test_any_number_in_a_model(self, name):
        inputs = keras.Input((None, D))
        layer = layers.DenseCapsule(3, 6, routing=name, shared_kernel=True)
        outputs = layer(inputs, return_coupling=True)
        assert [tuple(output.shape) for output in outputs] == [(None, 3, 6), (None, 3, None)]
        assert layer.compute_output_shape((None, None, D)) == (None, 3, 6)
        model = keras.Model(inputs, outputs)
        run = backend.jitted(model, model.variables)
        for count in (COUNT, 2):
            actual = run(CAPSULES[:, :count])
            for a, e in zip(actual, call(layer, CAPSULES[:, :count]), strict=True):
                np.testing.assert_allclose(backend.numpy(a), e, rtol=0, atol=1e-6)

    def test_a_prior_fixes_the_number(self):
        layer = layers.DenseCapsule(3, 6, routing=ROUTINGS["attention-prior"], shared_kernel=True)
        with pytest.raises(UsageError, match="known number of input capsules, as each has a prior"):
            layer.build((None, None, D))

    def test_was_not_written_down_before(self):
        config = layers.DenseCapsule(3, 6).get_config()
        del config["shared_kernel"]
        assert not layers.DenseCapsule.from_config(config).shared_kernel


class TestMasksOfLayersBelow:
    def test_masking(self):
        inputs = keras.Input((None, D))
        masked = keras.layers.Masking()(inputs)
        layer = layers.DenseCapsule(3, 6, routing="sda", shared_kernel=True)
        model = keras.Model(inputs, layer(masked))
        zeros = np.where(MASK[..., None], CAPSULES, 0.0).astype("float32")
        actual = backend.numpy(backend.forward(model, model.variables)(zeros))
        np.testing.assert_allclose(actual, call(layer, CAPSULES, mask=MASK)[0], rtol=0, atol=1e-6)

    def test_embedding_and_squash(self):
        words = np.array([[1, 2, 0, 0], [3, 1, 2, 2]])
        inputs = keras.Input((None,), dtype="int32")
        embedded = keras.layers.Embedding(4, D, mask_zero=True)(inputs)
        layer = layers.DenseCapsule(3, 6, routing="em", shared_kernel=True)
        model = keras.Model(inputs, layer(layers.Squash()(embedded)))
        run = backend.forward(model, model.variables)
        np.testing.assert_allclose(
            backend.numpy(run(words))[0], backend.numpy(run(words[:1, :2]))[0], rtol=0, atol=1e-6
        )

    @pytest.mark.parametrize("shape", [(B,), (B, COUNT, D), (1, COUNT), (B, 1)])
    def test_masks_of_another_shape(self, shape):
        with pytest.raises(UsageError) as caught:
            dense("rba")(CAPSULES, mask=np.ones(shape, bool))
        sentence = f"Expected a mask of shape ({B}, {COUNT}). Received: {shape}"
        assert re.search(re.escape(sentence), str(caught.value))


class TestMaps:
    MAPS = np.random.default_rng(3).normal(size=(2, 4, 5, 3, D)).astype("float32")

    @pytest.mark.parametrize("name", ["rba", "em", "sda", "attention", "mean"])
    @pytest.mark.parametrize("size", [1, 3])
    def test_a_type_that_is_masked_everywhere(self, name, size):
        layer = layers.ConvCapsule(3, 6, size, routing=name)
        layer.build(self.MAPS.shape)
        mask = np.ones(self.MAPS.shape[:-1], bool)
        mask[..., 1] = False
        capsules, coupling = call(layer, self.MAPS, mask=mask)
        expected = call(layer, self.MAPS[:, :, :, [0, 2]])
        np.testing.assert_allclose(capsules, expected[0], rtol=0, atol=1e-5)
        np.testing.assert_allclose(coupling[..., [0, 2]], expected[1], rtol=0, atol=1e-5)

    @pytest.mark.parametrize("name", ["em", "sda"])
    def test_masked_places_are_as_beyond_the_edge(self, name):
        layer = layers.ConvCapsule(3, 6, 3, routing=name)
        layer.build(self.MAPS.shape)
        mask = np.ones(self.MAPS.shape[:-1], bool)
        mask[:, :, 3:] = False
        actual = call(layer, self.MAPS, mask=mask)[0][:, :, :3]
        np.testing.assert_allclose(actual, call(layer, self.MAPS[:, :, :3])[0], rtol=0, atol=1e-5)

    def test_maps_before_a_dense_layer(self):
        layer = layers.DenseCapsule(3, 6)
        layer.build(self.MAPS.shape)
        mask = MASK[:2].reshape(2, 5)[:, None, :, None] & np.ones((2, 4, 5, 3), bool)
        actual = call(layer, self.MAPS, mask=mask)[0]
        flat = call(layer, self.MAPS.reshape(2, -1, D), mask=mask.reshape(2, -1))[0]
        np.testing.assert_allclose(actual, flat, rtol=0, atol=1e-6)
