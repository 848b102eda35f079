"""Running a network over images in batches, and choosing what to show."""

import keras
import numpy as np
import pytest

from tfcaps.training import probe


@pytest.mark.parametrize("count", [1, 64, 65])
def test_batches_are_joined_in_order(plain_capsnet, count):
    images = np.random.default_rng(0).uniform(size=(count, 2, 3, 1)).astype("float32")

    outputs = probe.in_batches(plain_capsnet(), images)

    assert sorted(outputs) == ["lengths", "reconstruction"]
    np.testing.assert_allclose(outputs["reconstruction"], images, rtol=1e-6)
    lengths = np.sqrt((images[..., 0] ** 2).sum(axis=1))
    np.testing.assert_allclose(outputs["lengths"], lengths, rtol=1e-6)


def test_the_layers_keep_their_order(plain_capsnet, examples):
    outputs = probe.in_batches(plain_capsnet().inspector, examples[0])

    assert list(outputs["capsules"]) == ["hidden", "classes"]
    assert list(outputs["couplings"]) == ["hidden", "classes"]


@pytest.mark.parametrize(("mask", "other"), [("none", 0.1), ("label", 0.0)])
def test_class_capsules(plain_capsnet, mask, other):
    model = plain_capsnet(mask=mask)
    image = np.zeros((2, 2, 3, 1), "float32")
    image[..., 0] = [[[0.1, 0.7, 0.1], [0.0, 0.2, 0.0]], [[0.1, 0.1, 0.0], [0.0, 0.0, 0.9]]]

    capsules = probe.class_capsules(model, probe.in_batches(model.inspector, image))

    np.testing.assert_allclose(
        capsules,
        [
            [[other, 0.0], [0.7, 0.2], [other, 0.0]],
            [[other, 0.0], [other, 0.0], [0.0, 0.9]],
        ],
        rtol=1e-6,
    )


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_low_precision_comes_back_as_float32(policy):
    inputs = keras.Input((3,))
    network = keras.Model(inputs, keras.layers.Dense(2, dtype=policy)(inputs))

    assert probe.in_batches(network, np.ones((2, 3), "float32")).dtype == np.float32


def test_spread_over_classes():
    labels = [5, 5, 5, 2, 2, 9]

    assert probe.spread_over_classes(labels, 3).tolist() == [3, 0, 5]
    assert probe.spread_over_classes(labels, 5).tolist() == [3, 0, 5, 4, 1]
    assert probe.spread_over_classes(labels, 99).tolist() == [3, 0, 5, 4, 1, 2]
