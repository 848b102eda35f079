"""The script that measures how often successive halving changes a choice."""

import numpy as np
import pytest

from benchmarks import halving_agreement
from nas.layer_pruning import choose


def test_early_scores_decide_who_stays():
    """By hand: the best layer is dropped where it is among the worst six at first."""
    full = {(layer,): 0.5 + 0.01 * layer for layer in range(12)}
    full |= {(i, j): 0.4 + 0.001 * (i + j) for i in range(12) for j in range(i + 1, 12)}
    assert halving_agreement.order(full, None) == (11, 10)
    assert halving_agreement.order(full, full) == (11, 10)
    early = {**full, (11,): 0.1}
    assert halving_agreement.order(full, early) == (10, 11)
    assert halving_agreement.correlation(full, full) == pytest.approx(1)
    # 12 and 11 candidates, of which 6 and 6 go on.
    assert halving_agreement.cost() == pytest.approx((0.25 * 23 + 12) / 23)


def test_published_logs():
    logs = halving_agreement.read()
    assert len(logs) == 16
    for full in logs:
        first, _ = halving_agreement.order(full, None)
        assert first == choose([(layer, full[layer,]) for layer in range(12)])
    noisy = halving_agreement.noisy(logs[0], 0.0, np.random.default_rng(0))
    assert noisy == logs[0]
