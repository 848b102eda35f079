"""Bundles by comparing rows with rows: what the package is measured against."""

import numpy as np


def pairwise_bundles(activations, labels, learning_rate, batch_size, amplitude):
    """Number of bundles and bundle entropy; each row is compared with one row of every bundle."""
    q = np.float32(amplitude) - activations * np.float32(learning_rate / batch_size)
    firsts, members = [], []
    for row, label in zip(q, labels, strict=True):
        for first, those in zip(firsts, members, strict=True):
            if np.all(first == row):
                those.append(label)
                break
        else:
            firsts.append(row)
            members.append([label])
    entropy = 0.0
    for those in members:
        shares = np.bincount(those) / len(those)
        shares = shares[shares > 0]
        entropy -= len(those) / len(labels) * (shares * np.log(shares)).sum()
    return len(members), entropy
