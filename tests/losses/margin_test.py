"""The margin loss against numbers worked out by hand and the float64 reference."""

import keras
import numpy as np
import pytest

from tests import backend, reference
from tfcaps import losses

ONE_HOT = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], "float32")
LENGTHS = np.array([[0.5, 0.3, 0.05], [0.6, 0.1, 0.95]], "float32")
# sample 0: (0.9 - 0.5)² + 0.5·(0.3 - 0.1)² + 0 = 0.16 + 0.02
# sample 1: 0 (0.95 is long enough) + 0.5·(0.6 - 0.1)² + 0 = 0.125
BY_HAND = [0.18, 0.125]


def value(loss: keras.losses.Loss, one_hot=ONE_HOT, lengths=LENGTHS) -> np.ndarray:
    return backend.numpy(loss(one_hot, lengths))


def test_by_hand():
    np.testing.assert_allclose(value(losses.MarginLoss()), np.mean(BY_HAND), rtol=1e-6)
    each = value(losses.MarginLoss(reduction=None))
    np.testing.assert_allclose(each, BY_HAND, rtol=1e-6)


def test_zero_where_every_margin_is_kept():
    lengths = np.array([[0.9, 0.1, 0.0], [0.05, 0.1, 1.0]], "float32")
    np.testing.assert_allclose(value(losses.MarginLoss(), lengths=lengths), 0.0, atol=1e-14)


def test_arguments():
    arguments = {"m_plus": 0.8, "m_minus": 0.2, "down_weight": 1.0}
    expected = reference.margin_loss(ONE_HOT, LENGTHS, **arguments)
    # by hand: (0.3² + 0.1²) and (0.4²), the mean
    assert expected == pytest.approx((0.1 + 0.16) / 2, rel=1e-6)
    np.testing.assert_allclose(value(losses.MarginLoss(**arguments)), expected, rtol=1e-6)


def test_random_values_and_gradient():
    rng = np.random.default_rng(0)
    lengths = rng.uniform(0.0, 1.0, (4, 5))
    one_hot = np.eye(5)[rng.integers(0, 5, 4)]
    loss = losses.MarginLoss()

    def scalar(lengths):
        result = loss(one_hot.astype("float32"), lengths)
        return result, result

    actual, (gradient,) = backend.gradients(scalar)(lengths.astype("float32"))
    np.testing.assert_allclose(
        backend.numpy(actual), reference.margin_loss(one_hot, lengths), rtol=1e-5
    )
    (expected,) = reference.finite_differences(
        lambda x: reference.margin_loss(one_hot, x), [lengths]
    )
    np.testing.assert_allclose(backend.numpy(gradient), expected, rtol=1e-3, atol=1e-6)


def test_gradient_is_finite_at_the_margins():
    lengths = np.array([[0.9, 0.1, 0.0], [1.0, 1.0, 1e-20]], "float32")
    loss = losses.MarginLoss()

    def scalar(lengths):
        result = loss(ONE_HOT, lengths)
        return result, result

    _, (gradient,) = backend.gradients(scalar)(lengths)
    assert np.all(np.isfinite(backend.numpy(gradient)))


def test_config_round_trip():
    loss = losses.MarginLoss(m_plus=0.8, m_minus=0.2, down_weight=1.0)
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(copy) is losses.MarginLoss
    assert copy.get_config() == loss.get_config()
    assert (copy.m_plus, copy.m_minus, copy.down_weight) == (0.8, 0.2, 1.0)
    np.testing.assert_array_equal(value(copy), value(loss))
