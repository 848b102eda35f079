import numpy as np
import pytest

from tfcaps.datasets import Split
from tfcaps.datasets.sampling import check_choices, hold_out, probe_set, subset
from tfcaps.errors import UsageError


def _split(labels: list[int]) -> Split:
    """Images whose pixel is their index."""
    images = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    return Split(images, np.array(labels, np.int64))


def _indices(split: Split) -> list[int]:
    return split.images.ravel().tolist()


class TestSubset:
    def test_a_smaller_subset_is_the_start_of_a_larger_one(self):
        split = _split([0] * 100)
        large, small = (_indices(subset(split, count, seed=5)) for count in (60, 20))
        assert large[:20] == small
        assert len(set(large)) == 60

    def test_all_examples_are_a_subset(self):
        assert sorted(_indices(subset(_split([0] * 50), 50, seed=1))) == list(range(50))

    def test_it_is_shuffled_and_follows_the_seed(self):
        split = _split([0] * 100)
        first, again, other = (_indices(subset(split, 30, seed=seed)) for seed in (1, 1, 2))
        assert first == again
        assert first != other
        assert first != sorted(first)

    def test_the_choice_never_changes(self):
        # The order of NumPy's PCG64 stream, which is the same in all its versions.
        raw = np.random.PCG64([3, 0]).random_raw(10).tolist()
        expected = sorted(range(10), key=raw.__getitem__)[:4]
        assert _indices(subset(_split([0] * 10), 4, seed=3)) == expected

    @pytest.mark.parametrize("count", [0, -1, 11])
    def test_another_count_is_refused(self, count):
        with pytest.raises(UsageError, match=f"between 1 and 10, .* Received: {count}$"):
            subset(_split([0] * 10), count, seed=0)


class TestProbeSet:
    def test_the_choice_never_changes(self):
        raw = np.random.PCG64([3, 2]).random_raw(10).tolist()
        expected = sorted(range(10), key=raw.__getitem__)[:4]
        assert _indices(probe_set(_split([0] * 10), 4, seed=3)) == expected

    @pytest.mark.parametrize("count", [0, -1, 11])
    def test_another_count_is_refused(self, count):
        sentence = f"conflicting_samples_size between 1 and 10, .* Received: {count}$"
        with pytest.raises(UsageError, match=sentence):
            probe_set(_split([0] * 10), count, seed=0)


class TestHoldOut:
    @pytest.mark.parametrize(
        ("sizes", "count", "expected"),
        [
            # Shares 4, 4, 2.
            ([20, 20, 10], 10, [4, 4, 2]),
            # Shares 1.2, 0.6, 0.2: the one that is missing comes from the largest remainder.
            ([6, 3, 1], 2, [1, 1, 0]),
            # Shares 1.67, 0.33.
            ([5, 1], 2, [2, 0]),
            # Shares 1.29, 1.29, 0.43: the last class would lose its only example.
            ([3, 3, 1], 3, [2, 1, 0]),
            # Shares 0.5, 0.5: one class has to lose its only example.
            ([1, 1], 1, [1, 0]),
            ([4, 4], 0, [0, 0]),
        ],
    )
    def test_each_class_gives_its_share(self, sizes, count, expected):
        split = _split(np.repeat(np.arange(len(sizes)), sizes).tolist())
        rest, part = hold_out(split, count, seed=0)
        assert np.bincount(part.labels, minlength=len(sizes)).tolist() == expected
        assert len(rest) == sum(sizes) - count

    def test_the_two_results_are_the_split_in_its_order(self):
        split = _split([0, 1, 2] * 20)
        rest, part = hold_out(split, 12, seed=7)
        assert _indices(rest) == sorted(_indices(rest))
        assert _indices(part) == sorted(_indices(part))
        assert sorted(_indices(rest) + _indices(part)) == list(range(60))
        np.testing.assert_array_equal(split.labels[_indices(part)], part.labels)

    def test_it_follows_the_seed(self):
        split = _split([0, 1] * 50)
        first, again, other = (_indices(hold_out(split, 20, seed=s)[1]) for s in (1, 1, 2))
        assert first == again
        assert first != other

    def test_the_labels_need_not_be_consecutive(self):
        _, part = hold_out(_split([3] * 4 + [9] * 4), 2, seed=0)
        assert part.labels.tolist() == [3, 9]

    def test_of_one_class_where_it_is_not_stratified(self):
        # The four with the lowest keys of the stream of parts, whatever their labels.
        raw = np.random.PCG64([3, 1]).random_raw(10).tolist()
        expected = sorted(sorted(range(10), key=raw.__getitem__)[:4])
        rest, part = hold_out(_split(list(range(10))), 4, seed=3, stratified=False)
        assert _indices(part) == expected
        assert _indices(rest) == [index for index in range(10) if index not in expected]


class TestCheckChoices:
    def test_the_ends_of_the_ranges(self):
        check_choices(None, 0, 0)
        check_choices(1, 0.999, 2**63 - 1)

    @pytest.mark.parametrize(
        ("choices", "sentence"),
        [
            ((0, 0.1, 0), "train_examples >= 1. Received: 0"),
            ((None, 1.0, 0), r"validation_fraction in \[0, 1\). Received: 1.0"),
            ((None, float("nan"), 0), "Received: nan"),
            ((None, 0.1, -1), "a seed between 0 and 9223372036854775807. Received: -1"),
            ((None, 0.1, 2**63), "Received: 9223372036854775808"),
        ],
    )
    def test_beyond_them(self, choices, sentence):
        with pytest.raises(UsageError, match=sentence):
            check_choices(*choices)
