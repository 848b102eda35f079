"""D-scores worked out by hand, whatever the batches, and exact for a small deviation."""

import keras
import numpy as np
import pytest

from tests import backend
from tfcaps.errors import UsageError
from tfcaps.metrics.d_score import DScore

ON_JAX = keras.backend.backend() == "jax"


def score_of(*batches, metric=None) -> float:
    metric = DScore() if metric is None else metric
    for capsules in batches:
        metric.update_state(np.asarray(capsules, "float32"))
    return float(backend.numpy(metric.result()))


def with_lengths(lengths):
    """Capsules (..., O, 2) of these lengths in random directions."""
    lengths = np.asarray(lengths, "float64")
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, lengths.shape)
    return lengths[..., None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def test_by_hand():
    # lengths (B, O): capsule 0 is .1 or .3, so ±.1 around .2; capsule 1 is ±.05 around .85.
    assert score_of(with_lengths([[0.1, 0.8], [0.3, 0.9]])) == pytest.approx(0.1, rel=1e-5)


def test_direction_does_not_count():
    assert score_of([[[0.0, 0.5]], [[0.5, 0.0]], [[-0.3, 0.4]]]) == pytest.approx(0.0, abs=1e-7)


def test_batches_of_any_size_are_one_set():
    lengths = np.random.default_rng(1).beta(5, 1, (30, 6))
    expected = lengths.std(axis=0).max()
    for cuts in ([], [13], [1, 2, 29]):
        batches = np.split(with_lengths(lengths), cuts)
        assert score_of(*batches) == pytest.approx(expected, rel=1e-5)
    # The mean over batches would be another number.
    assert np.mean([part.std(axis=0).max() for part in np.split(lengths, [13])]) != pytest.approx(
        expected, rel=1e-3
    )


def test_places_have_capsules_of_their_own():
    lengths = np.random.default_rng(2).random((20, 3, 2, 4))
    expected = lengths.std(axis=0).max()
    assert score_of(with_lengths(lengths)) == pytest.approx(expected, rel=1e-5)


# JAX has no float64 unless it is told so: of large means it loses the deviation.
@pytest.mark.parametrize(
    ("mean", "step"), [(0.9, 2.0**-12)] if ON_JAX else [(0.9, 2.0**-12), (100.0, 2.0**-9)]
)
def test_small_deviation_from_a_large_mean_over_many_examples(mean, step):
    mean = np.float32(mean)
    lengths = np.full((100_000, 1), mean, "float32")
    lengths[::2] += np.float32(2 * step)
    deviation = lengths.astype("float64").std()
    assert deviation == pytest.approx(step, rel=1e-3)
    parts, tolerance = (1, 0.2) if ON_JAX else (10, 1e-4)
    found = score_of(*[lengths[..., None]] * parts)
    assert found == pytest.approx(deviation, rel=tolerance)


def test_sums_add_up_over_replicas():
    lengths = np.random.default_rng(3).random((9, 4))
    replicas = [DScore(), DScore()]
    for metric, part in zip(replicas, np.split(with_lengths(lengths), [4]), strict=True):
        score_of(part, metric=metric)
    together = DScore()
    together.build((4,))
    for total, *parts in zip(together.variables, *(m.variables for m in replicas), strict=True):
        assert total.aggregation == "sum"
        total.assign(sum(backend.numpy(part) for part in parts))
    expected = lengths.std(axis=0).max()
    assert score_of(metric=together) == pytest.approx(expected, rel=1e-5)


def test_reset_and_nothing_seen():
    metric = DScore()
    assert score_of(metric=metric) == 0.0
    score_of(with_lengths([[0.1], [0.9]]), metric=metric)
    metric.reset_state()
    assert score_of(metric=metric) == 0.0
    assert score_of(with_lengths([[0.2], [0.4]]), metric=metric) == pytest.approx(0.1, rel=1e-5)


def test_config_round_trip():
    metric = keras.metrics.deserialize(keras.metrics.serialize(DScore(name="lively")))
    assert type(metric) is DScore
    assert metric.name == "lively"


def test_wrong_shapes():
    with pytest.raises(UsageError, match=r"\(B, O, E\).*Received: \(4, 3\)"):
        score_of(np.ones((4, 3)))
    with pytest.raises(UsageError, match=r"Expected \(3,\) capsules as before. Received: \(2,\)"):
        score_of(np.ones((4, 3, 2)), np.ones((4, 2, 2)))


if not ON_JAX:  # about TensorFlow's graphs

    def test_first_seen_inside_a_graph():
        import tensorflow as tf

        metric = DScore()
        tf.function(metric.update_state)(tf.constant(with_lengths([[0.2], [0.4]]), tf.float32))
        assert score_of(metric=metric) == pytest.approx(0.1, rel=1e-5)
