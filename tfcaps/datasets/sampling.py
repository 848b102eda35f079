"""Which examples go where: subsets and stratified parts, reproducible by their seed."""

from typing import Any, Protocol, TypeVar

import numpy as np

from tfcaps.errors import UsageError

_Part = TypeVar("_Part", covariant=True)


class _Labelled(Protocol):
    """Some examples with their classes."""

    @property
    def labels(self) -> np.ndarray:
        """Integers (N,)."""

    def __len__(self) -> int:
        """How many there are."""

    def take(self, indices: np.ndarray) -> Any:
        """The examples at these indices, in their order."""


# One stream of random numbers for each use of a seed, so that the uses don't depend on each other.
_SUBSET_STREAM, _PART_STREAM, _PROBE_STREAM = 0, 1, 2


_MAX_SEED = 2**63 - 1


def check_choices(train_examples: int | None, validation_fraction: float, seed: int) -> None:
    """Refuses what no training set could be divided by.

    Args:
        train_examples: see `subset`; None: all.
        validation_fraction: of what is held out, in [0, 1).
        seed: 0 to 2^63 - 1.

    Raises:
        UsageError: one of them is out of its range.
    """
    if not 0 <= validation_fraction < 1:
        raise UsageError(f"Expected validation_fraction in [0, 1). Received: {validation_fraction}")
    if not 0 <= seed <= _MAX_SEED:
        raise UsageError(f"Expected a seed between 0 and {_MAX_SEED}. Received: {seed}")
    if train_examples is not None and train_examples < 1:
        raise UsageError(f"Expected train_examples >= 1. Received: {train_examples}")


def subset(split: "_Examples[_Part]", count: int, *, seed: int) -> _Part:
    """The first `count` examples of a seeded shuffle: a smaller subset is part of a larger one.

    Args:
        split: N examples.
        count: How many of them, 1 to N.
        seed: Another seed gives another shuffle.

    Raises:
        UsageError: `count` is not in 1..N.
    """
    if not 1 <= count <= len(split):
        raise UsageError(
            f"Expected train_examples between 1 and {len(split)}, the size of the training set. "
            f"Received: {count}"
        )
    return split.take(np.argsort(_keys(len(split), seed, _SUBSET_STREAM), kind="stable")[:count])


def hold_out(
    split: _Labelled, count: int, *, seed: int, stratified: bool = True
) -> tuple[Any, Any]:
    """Takes a stratified part of `count` examples out of a split.

    Of a class with n of the N examples the part gets count·n/N, rounded down; the examples that
    are then missing come from the classes with the largest remainders, and from a class that would
    lose its last example only when no other is left. Both results keep the split's order.

    Args:
        split: N examples.
        count: The size of the part, 0 to N.
        seed: Chooses the examples within each class.
        stratified: False: all examples are taken for one class, as where labels are numbers.

    Returns:
        The examples that stay, and the part.
    """
    labels = split.labels if stratified else np.zeros(len(split), int)
    _, classes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    shares = count * sizes / len(split)
    quotas = np.floor(shares).astype(int)
    # The last key of a lexsort is the first to decide.
    order = np.lexsort((quotas - shares, quotas + 1 >= sizes))
    quotas[order[: count - quotas.sum()]] += 1
    keys = _keys(len(split), seed, _PART_STREAM)
    chosen = np.zeros(len(split), bool)
    for label, quota in enumerate(quotas):
        members = np.flatnonzero(classes == label)
        chosen[members[np.argsort(keys[members], kind="stable")[:quota]]] = True
    return split.take(np.flatnonzero(~chosen)), split.take(np.flatnonzero(chosen))


class _Examples(Protocol[_Part]):
    """Some examples, of which parts can be taken."""

    def __len__(self) -> int:
        """How many there are."""

    def take(self, indices: np.ndarray) -> _Part:
        """The examples at these indices, in their order."""


def probe_set(split: _Examples[_Part], count: int, *, seed: int) -> _Part:
    """Draws the examples on which bundle entropy is measured, the same for the same seed.

    Args:
        split: N training examples.
        count: How many of them, 1 to N.
        seed: Another seed draws others.

    Raises:
        UsageError: `count` is not in 1..N.
    """
    if not 1 <= count <= len(split):
        raise UsageError(
            f"Expected conflicting_samples_size between 1 and {len(split)}, the size of the "
            f"training set. Received: {count}"
        )
    return split.take(np.argsort(_keys(len(split), seed, _PROBE_STREAM), kind="stable")[:count])


def _keys(count: int, seed: int, stream: int) -> np.ndarray:
    """A random number for each example, whose order is the shuffle.

    NumPy promises the same bits in all its versions, but not the same `Generator.permutation`.
    """
    return np.random.PCG64([seed, stream]).random_raw(count)
