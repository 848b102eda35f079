"""Scores of texts' tasks, against scikit-learn's and SciPy's."""

import numpy as np
import pytest
import sklearn.metrics
from scipy import stats

from tfcaps.errors import UsageError
from tfcaps.metrics import bootstrap_error, majority_score, task_score


@pytest.fixture
def answers():
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 2, 200)
    outputs = generator.random((200, 2)) + 0.5 * np.eye(2)[labels]
    return labels, outputs


class TestTaskScore:
    def test_by_hand(self):
        # True positives 3, false ones 1, false negatives 2, true ones 4.
        labels = np.array([1, 1, 1, 0, 1, 1, 0, 0, 0, 0])
        outputs = np.eye(2)[[1, 1, 1, 1, 0, 0, 0, 0, 0, 0]]
        assert task_score("accuracy", labels, outputs) == pytest.approx(7 / 10)
        assert task_score("f1", labels, outputs) == pytest.approx(6 / 9)
        matthews = (3 * 4 - 1 * 2) / np.sqrt(4 * 5 * 5 * 6)
        assert task_score("matthews", labels, outputs) == pytest.approx(matthews)
        assert task_score("accuracy", [2, 0, 1], np.eye(3)[[2, 1, 1]]) == pytest.approx(2 / 3)
        # Ranks 1 2 3 4 and 1 2 4 3: 1 - 6 · 2 / (4 · 15).
        assert task_score("spearman", [0, 1, 2, 9], [-5, 0, 8, 1]) == pytest.approx(0.8)

    def test_classes(self, answers):
        labels, outputs = answers
        found = outputs.argmax(axis=-1)
        expected = {
            "accuracy": sklearn.metrics.accuracy_score(labels, found),
            "f1": sklearn.metrics.f1_score(labels, found),
            "matthews": sklearn.metrics.matthews_corrcoef(labels, found),
        }
        for metric, value in expected.items():
            assert task_score(metric, labels, outputs) == pytest.approx(value, abs=1e-12)

    def test_numbers_with_ties(self):
        labels = np.array([1.0, 2.0, 2.0, 5.0, 0.5], "float32")
        outputs = np.array([[0.2], [0.2], [0.9], [0.8], [0.1]])
        expected = stats.spearmanr(labels, outputs[:, 0]).statistic
        assert task_score("spearman", labels, outputs) == pytest.approx(expected, abs=1e-12)
        assert task_score("spearman", labels, outputs[:, 0]) == pytest.approx(expected, abs=1e-12)

    def test_constant_answers(self):
        labels, constant = np.array([0, 1, 1]), np.eye(2)[[1, 1, 1]]
        assert task_score("matthews", labels, constant) == 0.0
        assert task_score("spearman", labels.astype("float32"), np.ones(3)) == 0.0
        assert task_score("f1", np.zeros(3, int), np.eye(2)[[0, 0, 0]]) == 0.0

    @pytest.mark.parametrize(
        ("metric", "labels", "outputs"),
        [
            ("rouge", [0], [[1.0]]),
            ("accuracy", [0, 1], [0.5, 0.5]),
            ("accuracy", [[0], [1]], [[0.5, 0.5], [0.5, 0.5]]),
            ("accuracy", [0], [[0.5, 0.5], [0.5, 0.5]]),
            ("spearman", [0.5], [[0.5, 0.5]]),
            ("accuracy", [], np.zeros((0, 2))),
            ("f1", [0, 2], np.eye(3)[[0, 2]]),
            ("matthews", [0, 2], np.eye(3)[[0, 2]]),
            ("accuracy", [0, 1], [[np.nan, np.nan], [0.0, 1.0]]),
            ("spearman", [0.5, 1.5], [0.1, np.nan]),
        ],
    )
    def test_wrong_input(self, metric, labels, outputs):
        with pytest.raises(UsageError, match="Expected"):
            task_score(metric, labels, outputs)


class TestMajority:
    def test_of_the_training_set(self):
        assert majority_score("accuracy", [0, 0, 1], [0, 1, 1, 1]) == 0.25
        assert majority_score("f1", [1, 1, 0], [0, 1, 1, 1]) == pytest.approx(6 / 7)
        assert majority_score("matthews", [1, 1, 0], [0, 1]) == 0.0
        assert majority_score("spearman", [1.5, 2.5], [0.5, 1.5]) == 0.0

    def test_error_of_accuracy(self, answers):
        """Of a difference of proportions the error is known: that of a mean over examples."""
        labels, outputs = answers
        hits = (outputs.argmax(axis=-1) == labels).astype(float) - (labels == 1)
        expected = hits.std() / np.sqrt(len(hits))
        error = bootstrap_error("accuracy", [1, 1, 0], labels, outputs, rounds=4000)
        assert error == pytest.approx(expected, rel=0.05)

    def test_both_scores_are_of_the_same_sample(self):
        """What always answers the majority class is above it by nothing, in every sample."""
        labels = np.array([1, 1, 0, 1, 0] * 20)
        for metric in ("accuracy", "f1", "matthews"):
            assert bootstrap_error(metric, [1, 1, 0], labels, np.eye(2)[[1] * 100]) == 0.0

    @pytest.mark.parametrize("rounds", [0, 1, 2.5])
    def test_too_few_samples(self, rounds):
        with pytest.raises(UsageError, match="rounds"):
            bootstrap_error("accuracy", [0, 1], [0, 1], np.eye(2), rounds=rounds)

    @pytest.mark.parametrize("metric", ["f1", "matthews", "spearman"])
    def test_errors_of_others(self, answers, metric):
        labels, outputs = answers
        outputs = outputs[:, 1] if metric == "spearman" else outputs
        error = bootstrap_error(metric, [1, 1, 0], labels, outputs)
        assert 0.01 < error < 0.15
        assert error == bootstrap_error(metric, [1, 1, 0], labels, outputs)
