"""The attacks of the library: names, bounds, and what happens without it."""

import sys

import keras
import numpy as np
import pytest

from tfcaps.errors import UsageError
from tfcaps.robustness import attacks

IMAGES = np.random.default_rng(0).random((4, 5, 5, 1), "float32")


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((5, 5, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])


@pytest.mark.parametrize("attack", ["fgsm", "pgd", "deepfool", "noise", "fgsm_l2", "pgd_l2"])
def test_changes_stay_within_their_bound(network, attack):
    labels = np.argmax(network(IMAGES), axis=-1)
    epsilons = [0.05, 0.0, 0.5]
    ((attacked, is_wrong),) = attacks.attacked_images(
        network, [(IMAGES, labels)], attack, epsilons, step_size=0.1
    )
    assert attacked.shape == (3, *IMAGES.shape)
    change = attacked - IMAGES
    size = {
        "L∞": np.abs(change).max(axis=(1, 2, 3, 4)),
        "L2": np.sqrt(np.square(change).sum(axis=(2, 3, 4))).max(axis=1),
    }[attacks.norm(attack)]
    assert np.all(size <= np.array(epsilons) + 1e-5)
    assert size[1] == 0
    assert size[0] > 0.001
    for images, wrong in zip(attacked, is_wrong, strict=True):
        assert wrong.tolist() == (np.argmax(network(images), axis=-1) != labels).tolist()
    assert not is_wrong[1].any()


def test_carlini_wagner_is_found():
    assert hasattr(attacks._foolbox().attacks, attacks._entry("carlini_wagner")[1])


def test_no_change_needs_only_the_scores(network):
    right = np.argmax(network(IMAGES), axis=-1)
    labels = np.where(np.arange(4) < 1, (right + 1) % 3, right)
    ((attacked, is_wrong),) = attacks.attacked_images(network, [(IMAGES, labels)], "pgd", [0.0])
    np.testing.assert_array_equal(attacked[0], IMAGES)
    assert is_wrong.tolist() == [[True, False, False, False]]


@pytest.mark.parametrize(
    ("labels", "received"),
    [
        (np.zeros((4, 2), int), r"int64, \(4, 2\)"),
        (np.eye(4)[:, :3], r"float64, \(4, 3\)"),
        ([0, 1], r"int64, \(2,\)"),
        ([0, 1, 2, 3], "3"),
    ],
    ids=["two columns", "one-hot", "too few", "no class"],
)
def test_wrong_labels(network, labels, received):
    with pytest.raises(UsageError, match=f"Received: {received}$"):
        next(attacks.attacked_images(network, [(IMAGES, labels)], "pgd", [0.0]))


@pytest.mark.parametrize(
    ("attack", "epsilons", "sentence"),
    [
        ("pdg", [0.1], "Expected an attack among fgsm, pgd, deepfool, .*Received: pdg$"),
        ("pgd", [0.1, -0.2], "Expected every epsilon >= 0.*Received: -0.2$"),
        ("pgd", [], "at least one. Received: none$"),
        ("pgd", [float("nan")], "Received: nan$"),
    ],
)
def test_wrong_arguments(attack, epsilons, sentence):
    with pytest.raises(UsageError, match=sentence):
        attacks._check(attack, epsilons)


def test_without_the_library(network, monkeypatch):
    monkeypatch.setitem(sys.modules, "foolbox", None)
    with pytest.raises(UsageError, match=r"pip install 'tfcaps\[robustness\]'"):
        next(attacks.attacked_images(network, [(IMAGES, np.zeros(4, int))], "pgd", [0.1]))
