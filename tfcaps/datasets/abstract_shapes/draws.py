"""Random numbers of which each image has a sequence of its own, for many images at once.

A number is a hash of its image's key and of how many were drawn before it. So an image is the
same whether it is made alone or with a million others, and whichever others are rejected.
"""

from collections.abc import Callable

import numpy as np

from tfcaps.errors import UsageError

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
# Directions are looked up: cos and sin differ in their last bits from processor to processor.
_DIRECTION_BITS = 12
_ANGLES = np.arange(2**_DIRECTION_BITS) * (2 * np.pi / 2**_DIRECTION_BITS)
_DIRECTIONS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], -1).astype(np.float32)
_FRACTION_BITS = 24
# So few proposals take about as long as one: then the next attempts are made with the first.
_AT_ONCE = 128


def _mixed(words: np.ndarray) -> np.ndarray:
    """SplitMix64's last step: uint64 to uint64, one to one, every bit depends on every bit."""
    words = words ^ (words >> np.uint64(30))
    words *= _FIRST
    words ^= words >> np.uint64(27)
    words *= _SECOND
    words ^= words >> np.uint64(31)
    return words


class Draws:
    """The sequences of n images.

    Args:
        keys: uint64 (n,), one for each image; images with the same key draw the same.

    Source: Steele, Lea, Flood, Fast splittable pseudorandom number generators, OOPSLA 2014.
    """

    def __init__(self, keys: np.ndarray):
        self.keys = keys
        self._drawn = 0

    def __len__(self) -> int:
        return len(self.keys)

    def branch(self, number: int) -> "Draws":
        """Sequences that don't depend on these."""
        return Draws(_mixed(self.keys ^ _mixed(np.array([number + 1], np.uint64) * _GOLDEN)))

    def take(self, indices: np.ndarray) -> "Draws":
        """The sequences of some images, as far as they are."""
        taken = Draws(self.keys[indices])
        taken._drawn = self._drawn
        return taken

    def each(self, count: int) -> "Draws":
        """Sequences for `count` parts of each image, (n·count), image by image."""
        parts = np.arange(1, count + 1, dtype=np.uint64) * _SECOND
        return Draws(_mixed(self.keys[:, None] ^ parts).ravel())

    def words(self, *shape: int) -> np.ndarray:
        """uint64, (n, *shape)."""
        count = int(np.prod(shape))
        steps = np.arange(self._drawn + 1, self._drawn + count + 1, dtype=np.uint64) * _GOLDEN
        self._drawn += count
        return _mixed(self.keys[:, None] + steps).reshape(-1, *shape)

    def uniform(self, low=0.0, high=1.0, *shape: int) -> np.ndarray:
        """float64 (n, *shape), from `low` to `high`, which may be one for each image."""
        unit = (self.words(*shape) >> np.uint64(11)) * 2.0**-53
        return low + (np.asarray(high) - low) * unit

    def integers(self, low, high, *shape: int) -> np.ndarray:
        """int64 (n, *shape), from `low` to `high`, both included."""
        return np.floor(self.uniform(low, np.asarray(high) + 1, *shape)).astype(np.int64)

    def directions(self, *shape: int) -> np.ndarray:
        """Vectors of length 1, float32 (n, *shape, 2)."""
        return _DIRECTIONS[self.words(*shape) >> np.uint64(64 - _DIRECTION_BITS)]

    def discs(self, *shape: int) -> np.ndarray:
        """Points of the disc of radius 1, uniform, float32 (n, *shape, 2)."""
        words = self.words(*shape)
        fractions = (words & np.uint64(2**_FRACTION_BITS - 1)).astype(np.float32)
        radii = np.sqrt(fractions * np.float32(2.0**-_FRACTION_BITS))
        return radii[..., None] * _DIRECTIONS[words >> np.uint64(64 - _DIRECTION_BITS)]


Proposal = tuple[np.ndarray, ...]
# (draws, labels, size) → arrays of scenes, and which of them are accepted: how a task is drawn.
Problem = Callable[..., tuple[np.ndarray, ...]]


def first_accepted(
    draws: Draws,
    propose: Callable[[Draws, np.ndarray], tuple[Proposal, np.ndarray]],
    *,
    attempts: int,
    at_once: int = _AT_ONCE,
) -> tuple[Proposal, np.ndarray]:
    """Proposes for each image until something is accepted: the one loop of all rejections.

    Args:
        draws: of n images.
        propose: (the draws of m images for this attempt, their indices) → arrays (m, …), and which
            of them are accepted, (m,).
        attempts: how often at most.
        at_once: if fewer are pending, several attempts for each are made at once. Default 128.

    Returns:
        The first accepted proposals, (n, …), and for which images there is one, (n,).
    """
    pending, attempt, block = np.arange(len(draws)), 0, 1
    accepted = np.zeros(len(draws), bool)
    results: Proposal | None = None
    while pending.size and attempt < attempts:
        block = max(1, min(2 * block, at_once // pending.size, attempts - attempt))
        values, good = _proposals(draws.take(pending), propose, pending, attempt, block)
        if results is None:
            results = tuple(np.zeros((len(draws), *v.shape[1:]), v.dtype) for v in values)
        # Of the attempts that were made at once, the first accepted one counts, as if one by one.
        first, found = good.argmax(0), good.any(0)
        source = (first * len(pending) + np.arange(len(pending)))[found]
        chosen = pending[found]
        for result, value in zip(results, values, strict=True):
            result[chosen] = value[source]
        accepted[chosen] = True
        pending, attempt = pending[~found], attempt + block
    if results is None:
        results, _ = propose(draws, pending)
    return results, accepted


def _proposals(draws: Draws, propose, pending, attempt: int, block: int):
    """The proposals of so many attempts, attempt by attempt, and which are accepted, (block, m)."""
    branches = [draws.branch(attempt + k).keys for k in range(block)]
    values, good = propose(Draws(np.concatenate(branches)), np.tile(pending, block))
    return values, good.reshape(block, -1)


def image_keys(seed: int, stream: int, indices: np.ndarray) -> np.ndarray:
    """The keys of images, uint64 (n,).

    Args:
        seed: 0 to 2^63 - 1.
        stream: which set it is: streams have no image in common.
        indices: numbers of the images.

    Raises:
        UsageError: the seed is out of its range.
    """
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or not 0 <= int(seed) < 2**63:
        raise UsageError(f"Expected a seed between 0 and {2**63 - 1}. Received: {seed!r}")
    # The stream enters before the last mixing, so that neighbouring seeds share no keys.
    streams = np.array([stream + 1], np.uint64) * _FIRST
    root = _mixed(_mixed(np.array([seed], np.uint64) + _GOLDEN) ^ streams)
    return _mixed(root + indices.astype(np.uint64) * _GOLDEN)
