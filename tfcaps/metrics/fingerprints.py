"""Short keyed hashes of rows of numbers, computed where the numbers are."""

import os

import keras
import numpy as np
from keras import ops

from tfcaps.ops import compiled, outside_of_graphs

# Hashes of 32 bits; see `Fingerprints` on why so many.
HASHES = 4
_HALF = 0xFFFF
_KEY_BYTES = 4


class Fingerprints:
    """Hashes of rows: equal rows have equal ones, and different rows different ones.

    A row's bits are cut into halves h_j of 16 bits, and each hash is `Σ_j k_j h_j mod 2³²` with
    keys k_j of 32 bits. For two different rows some h_j differ by d ≠ 0, |d| < 2¹⁶, which has at
    most 15 factors of 2, so k_j d takes each of its values for at most 2¹⁵ of the 2³² keys: two
    rows collide in one hash with a probability of at most 2⁻¹⁷, and in all four of at most 2⁻⁶⁸,
    whatever the rows are. The keys come from the operating system, so nobody can choose rows
    that collide. They take 32 bytes a number of a row, once for all layers of a width.

    Integers of 32 bits are all that every backend has.

    Source of the hash: Carter, Wegman, Universal classes of hash functions, 1979.
    """

    def __init__(self):
        self._keys = {}

    def keys(self, words: int):
        """The keys (2 · HASHES, words) for rows of so many words of 32 bits."""
        if words not in self._keys:
            random = os.urandom(2 * HASHES * words * _KEY_BYTES)
            # Unsigned, as TensorFlow keeps int32 in the memory of the host.
            keys = np.frombuffer(random, "uint32").reshape(2 * HASHES, words)
            # One tensor that the layers share, not a constant for each of them in the graph.
            with outside_of_graphs():
                self._keys[words] = ops.convert_to_tensor(keys)
        return self._keys[words]

    def __call__(self, rows):
        """Hashes the rows of a floating-point tensor (B, F): integers (B, HASHES)."""
        return _hash(rows, self.keys(words_of(rows)))


def words_of(rows) -> int:
    """How many words of 32 bits there are keys for, for rows (B, F)."""
    dtype = keras.backend.standardize_dtype(rows.dtype)
    return rows.shape[1] * (2 if dtype == "float64" else 1)


def _bits(rows):
    """The bits of numbers (B, F) as integers of 32 bits: (B, F), or (B, 2F) of float64."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        bitcast = tf.bitcast
    else:  # TensorFlow's words of a float64 lie in an axis of their own, and so do JAX'.
        from jax.lax import bitcast_convert_type as bitcast
    size = 16 if keras.backend.standardize_dtype(rows.dtype) in ("float16", "bfloat16") else 32
    words = ops.cast(bitcast(rows, f"int{size}"), "int32")
    return ops.reshape(words, (rows.shape[0], -1))


@compiled
def _hash(rows, keys):
    words, keys = _bits(rows), ops.cast(keys, "int32")
    low = ops.bitwise_and(words, _HALF)
    high = ops.bitwise_and(ops.right_shift(words, 16), _HALF)
    # One sum after the other, so that each is one pass without an intermediate array.
    hashes = [
        ops.sum(low * keys[2 * index] + high * keys[2 * index + 1], axis=1)
        for index in range(HASHES)
    ]
    return ops.stack(hashes, axis=1)
