import numpy as np
import pytest

from tfcaps.datasets import TextDataset, TextExamples
from tfcaps.errors import UsageError


def _texts(*values: str) -> np.ndarray:
    return np.array(values, object)


class TestTextExamples:
    def test_pairs_are_taken_with_their_labels(self):
        examples = TextExamples((_texts("a", "b", "c"), _texts("x", "y", "z")), np.arange(3))
        taken = examples.take([2, 0])
        assert [column.tolist() for column in taken.texts] == [["c", "a"], ["z", "x"]]
        assert taken.labels.tolist() == [2, 0]
        assert (len(examples), len(taken)) == (3, 2)

    @pytest.mark.parametrize(
        ("texts", "labels", "sentence"),
        [
            ((), np.arange(2), "Received: 0 of"),
            ((_texts("a"),) * 3, np.arange(1), "Received: 3 of"),
            ((_texts("a", "b"), _texts("x")), np.arange(2), "with a label each"),
            ((_texts("a"),), np.arange(2), "with a label each"),
            ((_texts("a"),), np.zeros((1, 1), np.int64), "with a label each"),
            ((_texts("a"),), np.zeros(1, np.float64), "Received: float64"),
            ((_texts("a"),), np.zeros(1, np.int32), "Received: int32"),
        ],
    )
    def test_other_arrays(self, texts, labels, sentence):
        with pytest.raises(UsageError, match=sentence):
            TextExamples(texts, labels)


def test_labels_are_numbers_where_there_are_no_classes():
    examples = TextExamples((_texts("a"),), np.zeros(1, np.float32))
    assert TextDataset("a", (), examples, None, examples, "spearman").is_regression
    assert not TextDataset("a", ("x", "y"), examples, None, examples, "f1").is_regression
