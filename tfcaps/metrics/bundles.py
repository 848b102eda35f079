"""Bundles of samples that one step of training can't tell apart, and their entropy."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tfcaps.errors import UsageError


class Bundles(NamedTuple):
    """What a layer makes of a set of samples.

    Args:
        number: how many bundles there are, 1 to N.
        entropy: H in nats, 0 to log C.
    """

    number: int
    entropy: float


def bundle_entropy(
    activations: ArrayLike,
    labels: ArrayLike,
    *,
    learning_rate: float,
    batch_size: int,
    amplitude: float,
    num_classes: int | None = None,
) -> Bundles:
    """Bundle entropy of a layer's activations.

    `q_i = W − a_i·η/B_t`, rounded to the dtype of the activations after each operation: what
    a weight of size W can still tell apart after one step. Samples whose q agree in all components
    are a bundle; one with two or more labels conflicts. With the label shares p_c in each bundle

        H = (1/N) Σ_bundles |bundle| · (−Σ_c p_c log p_c),   0 ≤ H ≤ log C.

    Args:
        activations: a, N rows of any further shape. Half precision and integers are computed in
            float32, as the weights under mixed precision are; float64 stays.
        labels: integers (N,) or (N, 1).
        learning_rate: η.
        batch_size: B_t, of the training.
        amplitude: W, the largest |weight| of the model; see `weight_amplitude`.
        num_classes: C; labels have to be below it. Default: any are allowed.

    Returns:
        The number of bundles and H.

    Raises:
        UsageError: no samples, a NaN or infinity, labels that don't fit, or a number out of its
            range.

    Example:

    >>> import numpy as np
    >>> a = np.array([[1.0], [1.0], [5.0], [5.0]])
    >>> bundle_entropy(a, [0, 1, 1, 1], learning_rate=0.1, batch_size=1, amplitude=1.0)
    Bundles(number=2, entropy=0.34657359027997264)

    The first bundle has two labels and half of the samples: ½ log 2.

    Source: Peer et al., Conflicting bundles, arXiv 2011.02956.
    """
    activations = np.asarray(activations)
    labels = check_labels(labels, len(activations), num_classes)
    number = np.float64 if activations.dtype == np.float64 else np.float32
    rows = np.ascontiguousarray(activations, number).reshape(len(activations), -1)
    step = number(check_step(learning_rate, batch_size)) / number(batch_size)
    amplitude = number(check_amplitude(amplitude))
    with np.errstate(over="ignore", invalid="ignore"):
        is_finite = all(_is_finite(row) for row in rows)
    if not is_finite:
        raise UsageError("Expected finite activations. Received: NaN or infinity")

    def round_to(q: np.ndarray, index: int) -> None:
        np.multiply(rows[index], step, out=q)
        # Never −0, whose bytes are not those of +0: W is not negative.
        np.subtract(amplitude, q, out=q)

    return group(_number_rows(round_to, rows.shape, number), labels)


def _is_finite(row: np.ndarray) -> bool:
    """Whether all numbers are finite; a finite sum says so three times as fast."""
    return bool(np.isfinite(row.sum()) or np.isfinite(row).all())


def _number_rows(fill: Callable, shape: tuple[int, int], dtype: type) -> np.ndarray:
    """Numbers rows in the order in which they come; equal ones, byte by byte, get the same number.

    Rows whose hashes agree are compared. They are computed again for that: to keep them all would
    take several times as long as everything else.

    Args:
        fill: `fill(row, index)` computes a row into an array.
        shape: (N, F).
        dtype: of the elements.
    """
    count, size = shape
    words = -(-size * np.dtype(dtype).itemsize // 8)
    row, other = np.zeros(words, "uint64"), np.zeros(words, "uint64")
    # Random, so that no rows can be made up that all have one hash.
    keys = np.random.default_rng().integers(0, 2**64, words, "uint64")
    alike: dict[int, list[int]] = {}  # by hash: the first row of each number
    numbers = np.empty(count, int)
    found = 0
    for index in range(count):
        fill(row.view(dtype)[:size], index)
        firsts = alike.setdefault(int(np.dot(row, keys)), [])
        for first in firsts:
            fill(other.view(dtype)[:size], first)
            if np.array_equal(row, other):
                numbers[index] = numbers[first]
                break
        else:
            firsts.append(index)
            numbers[index] = found
            found += 1
    return numbers


def group(bundles: np.ndarray, labels: np.ndarray) -> Bundles:
    """Number and entropy of bundles.

    Args:
        bundles: which bundle each sample is in, integers from 0 (N,).
        labels: integers (N,).
    """
    pairs, counts = np.unique(np.stack([bundles, labels]), axis=1, return_counts=True)
    sizes = np.bincount(bundles)
    # n log(size / n) for each label in each bundle: exactly 0 in a bundle of one label.
    entropies = counts * np.log(sizes[pairs[0]] / counts)
    return Bundles(len(sizes), float(entropies.sum() / len(bundles)))


def check_labels(labels: ArrayLike, count: int, num_classes: int | None) -> np.ndarray:
    """Checks the labels of `count` samples and returns them as an array.

    Raises:
        UsageError: there are none, their number or type is another one, or one is out of range.
    """
    labels = np.asarray(labels)
    if labels.shape == (count, 1):  # as tables have them
        labels = labels[:, 0]
    if count == 0:
        raise UsageError("Expected labels of at least one sample. Received: none")
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise UsageError(
            f"Expected {count} integer labels. Received: {labels.dtype}, {labels.shape}"
        )
    smallest, largest = labels.min(), labels.max()
    if smallest < 0 or (num_classes is not None and largest >= num_classes):
        limit = "" if num_classes is None else f" and < {num_classes}, the number of classes"
        raise UsageError(
            f"Expected labels >= 0{limit}. Received: {smallest if smallest < 0 else largest}"
        )
    return labels.astype("int64")  # NumPy makes floats of signed and unsigned integers together


def check_amplitude(amplitude: float) -> float:
    """Checks a weight amplitude W.

    Raises:
        UsageError: it is negative or not finite.
    """
    if not 0 <= amplitude < np.inf:
        raise UsageError(f"Expected an amplitude >= 0. Received: {amplitude}")
    return abs(amplitude)  # turns −0, which could make q −0, into +0


def check_step(learning_rate: float, batch_size: int) -> float:
    """Checks η and B_t, whose quotient multiplies an activation in one step, and returns η.

    Raises:
        UsageError: one of them is not positive.
    """
    if not 0 < learning_rate < np.inf:
        raise UsageError(f"Expected learning_rate > 0. Received: {learning_rate}")
    if not 0 < batch_size < np.inf:
        raise UsageError(f"Expected batch_size > 0. Received: {batch_size}")
    return learning_rate
