"""Lengths of capsules, by hand."""

import numpy as np

from tests import backend
from tfcaps import layers


def test_by_hand():
    capsules = np.array([[[3.0, 4.0], [0.0, 0.0]], [[-0.6, 0.8], [5.0, -12.0]]], "float32")
    lengths = backend.numpy(layers.CapsuleLength()(capsules))
    np.testing.assert_allclose(lengths, [[5.0, 0.0], [1.0, 13.0]], rtol=1e-6)


def test_maps():
    capsules = np.full((2, 3, 1, 4, 9), 2.0, "float32")
    lengths = backend.numpy(layers.CapsuleLength()(capsules))
    np.testing.assert_allclose(lengths, np.full((2, 3, 1, 4), 6.0), rtol=1e-6)
