"""Scores of a whole network, against NumPy on what its inspector gives."""

import numpy as np
import pytest

from tests import backend
from tfcaps.metrics.scores import capsule_scores
from tfcaps.models import CapsNet, ConvCapsNet

IMAGES = np.random.default_rng(0).random((7, 20, 20, 1), "float32")


# On JAX, each operation of a network is a compilation of its own.
@pytest.mark.parametrize("network", [CapsNet] if backend.IS_JAX else [CapsNet, ConvCapsNet])
def test_against_numpy(network):
    model = network(
        (20, 20, 1), (2, 3, 4), (4, 4, 5), routing={"name": "sda", "iterations": 3}, dtype="float32"
    )
    found = capsule_scores(model, [IMAGES[:4], IMAGES[4:]])

    seen = model.inspector(IMAGES)
    expected = {}
    for layer, coupling in seen["couplings"].items():
        coupling = np.asarray(coupling, "float64")
        entropy = -np.sum(coupling * np.log(np.maximum(coupling, 1e-30)), axis=-2)
        expected[layer] = np.mean(1 - entropy / np.log(coupling.shape[-2]))
    assert list(found.t_scores) == list(expected)
    for layer, score in expected.items():
        assert found.t_scores[layer] == pytest.approx(score, abs=1e-5)
    assert found.t_score == pytest.approx(np.mean(list(expected.values())), abs=1e-5)
    assert 0.01 < found.t_score < 1
    first = np.asarray(seen["capsules"]["capsules_1"], "float64")
    lengths = np.sqrt(np.square(first).sum(axis=-1))
    assert found.d_score == pytest.approx(lengths.std(axis=0).max(), rel=1e-4)
    assert found.d_score > 1e-4
