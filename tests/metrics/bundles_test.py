"""Bundle entropy of arrays against a slow grouping, row by row."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays

from tests.reference import slow_bundles
from tfcaps.errors import UsageError
from tfcaps.metrics import bundle_entropy

RATE, BATCH, AMPLITUDE = 0.01, 4, 0.5
ARGUMENTS = {"learning_rate": RATE, "batch_size": BATCH, "amplitude": AMPLITUDE}


def agree(activations, labels, **arguments):
    arguments = {**ARGUMENTS, **arguments}
    found = bundle_entropy(activations, labels, **arguments)
    number, entropy = slow_bundles(np.asarray(activations), np.asarray(labels), **arguments)
    assert found.number == number
    assert found.entropy == pytest.approx(entropy, abs=1e-12)
    assert (found.entropy == 0) == (entropy == 0)
    assert 0 <= found.entropy <= np.log(len(set(labels))) + 1e-12


class TestByHand:
    def test_one_bundle_of_all(self):
        found = bundle_entropy(np.zeros((4, 3)), [0, 1, 2, 2], **ARGUMENTS)
        # Shares ¼, ¼, ½: ½ log 4 + ½ log 2.
        assert found == (1, pytest.approx(0.5 * np.log(4) + 0.5 * np.log(2)))

    def test_no_two_in_a_bundle(self):
        assert bundle_entropy(np.eye(4), [0, 0, 1, 1], **ARGUMENTS) == (4, 0.0)

    def test_a_bundle_of_one_label_is_no_conflict(self):
        assert bundle_entropy(np.zeros((5, 2)), [3] * 5, **ARGUMENTS) == (1, 0.0)

    def test_conflicts_are_weighted_by_size(self):
        rows = np.array([[0.0]] * 3 + [[100.0]] * 2)
        found = bundle_entropy(rows, [0, 0, 1, 0, 0], **ARGUMENTS)
        shares = np.array([2, 1]) / 3
        assert found == (2, pytest.approx(-0.6 * (shares * np.log(shares)).sum()))

    def test_what_one_step_cannot_tell_apart(self):
        """A weight of 1 in float32 notices changes from 2⁻²⁵ on: half of its last digit below 1."""
        rows = np.array([[0.0], [0.9 * 2**-25], [1.1 * 2**-25]], "float32")
        arguments = {"learning_rate": 1.0, "batch_size": 1, "amplitude": 1.0}
        assert bundle_entropy(rows, [0, 1, 0], **arguments).number == 2
        # A batch of 4 makes the steps 4 times as small; a small weight notices more.
        assert bundle_entropy(rows, [0, 1, 0], **{**arguments, "batch_size": 4}).number == 1
        assert bundle_entropy(rows, [0, 1, 0], **{**arguments, "amplitude": 1 / 64}).number == 3
        assert bundle_entropy(rows.astype("float64"), [0, 1, 0], **arguments).number == 3

    def test_any_integers_are_labels(self):
        """NumPy has no integers that hold both int64 and uint64."""
        for dtype in ("uint8", "int32", "uint64"):
            found = bundle_entropy(np.zeros((2, 1)), np.array([0, 1], dtype), **ARGUMENTS)
            assert found == (1, pytest.approx(np.log(2)))

    def test_an_amplitude_of_minus_zero(self):
        rows = np.array([[0.0], [-0.0]], "float32")
        arguments = {**ARGUMENTS, "amplitude": -0.0}
        assert bundle_entropy(rows, [0, 1], **arguments).number == 1


labels_of = st.integers(1, 12).flatmap(
    lambda n: st.tuples(st.just(n), st.lists(st.integers(0, 3), min_size=n, max_size=n))
)


class TestAgainstTheSlowGrouping:
    @settings(deadline=None)
    @given(data=st.data(), count=labels_of)
    def test_any_numbers(self, data, count):
        size, labels = count
        elements = st.floats(-1e6, 1e6, width=32)
        shape = (size, data.draw(st.integers(1, 4)))
        agree(data.draw(arrays.arrays("float32", shape, elements=elements)), labels)

    @settings(deadline=None)
    @given(data=st.data(), count=labels_of)
    def test_few_values(self, data, count):
        """Many equal rows, and values next to each other."""
        size, labels = count
        values = [0.0, -0.0, 1.0, 1e-9, float(np.nextafter(np.float32(1), np.float32(2))), -1.0]
        elements = st.sampled_from(values)
        shape = (size, data.draw(st.integers(1, 3)))
        agree(data.draw(arrays.arrays("float32", shape, elements=elements)), labels)

    @pytest.mark.parametrize("spread", [1e-12, 1e-7, 1e-5, 1e-3, 1.0])
    @pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
    def test_clusters(self, spread, dtype):
        rng = np.random.default_rng(1)
        centres = rng.normal(size=(5, 6))
        rows = centres[rng.integers(0, 5, 60)] + spread * rng.normal(size=(60, 6))
        agree(rows.astype(dtype), rng.integers(0, 3, 60), amplitude=3.0)

    def test_rows_of_higher_rank(self):
        rows = np.random.default_rng(0).integers(0, 2, (20, 2, 1, 2))
        agree(rows, np.arange(20) % 3)


@pytest.mark.parametrize(
    ("activations", "labels", "changes", "message"),
    [
        (np.zeros((0, 3)), [], {}, "at least one sample. Received: none"),
        (np.zeros((2, 3)), [0], {}, r"Expected 2 integer labels. Received: int64, \(1,\)"),
        (np.zeros((2, 3)), [0.0, 1.0], {}, "Received: float64"),
        (np.zeros((2, 3)), [0, -1], {}, r"labels >= 0\. Received: -1"),
        (np.zeros((2, 3)), [0, 3], {"num_classes": 3}, "< 3, the number of classes. Received: 3"),
        (np.array([[1.0], [np.nan]]), [0, 1], {}, "finite activations. Received: NaN or infinity"),
        (np.array([[1.0], [-np.inf]]), [0, 1], {}, "finite activations"),
        (np.zeros((2, 3)), [0, 1], {"learning_rate": 0.0}, "learning_rate > 0. Received: 0.0"),
        (np.zeros((2, 3)), [0, 1], {"batch_size": -1}, "batch_size > 0. Received: -1"),
        (np.zeros((2, 3)), [0, 1], {"amplitude": -1.0}, "amplitude >= 0. Received: -1.0"),
        (np.zeros((2, 3)), [0, 1], {"amplitude": np.nan}, "amplitude >= 0. Received: nan"),
    ],
)
def test_wrong_input(activations, labels, changes, message):
    with pytest.raises(UsageError, match=message):
        bundle_entropy(activations, labels, **{**ARGUMENTS, **changes})
