"""T-scores worked out by hand, whatever the batches."""

import keras
import numpy as np
import pytest

from tests import backend
from tfcaps.errors import UsageError
from tfcaps.metrics.t_score import TScore


def score_of(*couplings, metric=None) -> float:
    metric = TScore() if metric is None else metric
    for coupling in couplings:
        metric.update_state(np.asarray(coupling, "float32"))
    return float(backend.numpy(metric.result()))


def one_hot(shape, outputs, seed=0):
    """Coupling coefficients (*shape, O, I) of which one per input capsule is 1."""
    parents = np.random.default_rng(seed).integers(0, outputs, shape)
    return np.swapaxes(np.eye(outputs)[parents], -1, -2)


def random_coupling(shape, seed=0):
    weights = np.random.default_rng(seed).random(shape) ** 4
    return weights / weights.sum(axis=-2, keepdims=True)


def reference(coupling):
    """The definition, in float64."""
    coupling = np.asarray(coupling, "float64")
    entropy = -np.sum(coupling * np.log(np.where(coupling > 0, coupling, 1)), axis=-2)
    return np.mean(1 - entropy / np.log(coupling.shape[-2]))


def test_uniform_is_zero_and_a_tree_is_one():
    assert score_of(np.full((3, 10, 7), 0.1)) == pytest.approx(0.0, abs=1e-6)
    assert score_of(one_hot((3, 7), outputs=10)) == pytest.approx(1.0, abs=1e-6)


def test_by_hand():
    # H(½, ½, 0, 0) = log 2 is half of log 4, and H(1, 0, 0, 0) = 0.
    coupling = np.array([[[0.5, 1.0], [0.5, 0.0], [0.0, 0.0], [0.0, 0.0]]])
    assert score_of(coupling) == pytest.approx((0.5 + 1.0) / 2, rel=1e-6)


def test_masked_capsules_do_not_count():
    """Nor does an example all of whose capsules are masked."""
    coupling = np.zeros((3, 4, 3))
    # As above, and a capsule that isn't there; one capsule; none.
    coupling[0, :, :2] = [[0.5, 1.0], [0.5, 0.0], [0.0, 0.0], [0.0, 0.0]]
    coupling[1, :, 2] = 0.25
    assert score_of(coupling) == pytest.approx((0.75 + 0.0) / 2, rel=1e-6)


def test_batches_of_any_size_are_one_set():
    coupling = random_coupling((10, 5, 6))
    expected = reference(coupling)
    assert 0.1 < expected < 0.9
    for cuts in ([], [7], [1, 2, 9]):
        assert score_of(*np.split(coupling, cuts)) == pytest.approx(expected, rel=1e-6)


def test_mean_over_places():
    coupling = random_coupling((4, 3, 2, 5, 6))
    assert score_of(coupling) == pytest.approx(reference(coupling), rel=1e-6)


def test_a_single_output_capsule_is_a_tree():
    assert score_of(np.ones((2, 1, 4))) == 1.0


def test_nothing_seen_is_zero():
    assert score_of() == 0.0


def test_sums_add_up_over_replicas():
    coupling = random_coupling((12, 5, 6))
    replicas = [TScore(), TScore()]
    for metric, part in zip(replicas, np.split(coupling, [5]), strict=True):
        score_of(part, metric=metric)
    together = TScore()
    for total, *parts in zip(together.variables, *(m.variables for m in replicas), strict=True):
        assert total.aggregation == "sum"
        total.assign(sum(backend.numpy(part) for part in parts))
    assert score_of(metric=together) == pytest.approx(reference(coupling), rel=1e-6)


def test_many_examples():
    """The first example still counts after a million others."""
    metric = TScore()
    metric.update_state(np.full((1, 2, 1), 0.5, "float32"))
    one = np.swapaxes(np.eye(2, dtype="float32")[np.zeros((50_000, 1), int)], -1, -2)
    for _ in range(20):
        metric.update_state(one)
    total, examples = (float(keras.ops.convert_to_numpy(v)) for v in metric.variables)
    assert examples == 1_000_001
    assert examples - total == pytest.approx(1.0, abs=1e-3)


def test_reset_and_half_precision():
    metric = TScore()
    score_of(np.full((2, 4, 3), 0.25), metric=metric)
    metric.reset_state()
    metric.update_state(one_hot((2, 3), outputs=4).astype("float16"))
    assert score_of(metric=metric) == pytest.approx(1.0)


def test_config_round_trip():
    metric = keras.metrics.deserialize(keras.metrics.serialize(TScore(name="tree")))
    assert type(metric) is TScore
    assert metric.name == "tree"


def test_too_few_axes():
    with pytest.raises(UsageError, match=r"\(B, O, I\).*Received: \(4, 3\)"):
        score_of(np.ones((4, 3)))
