"""Each strategy against a loop over all images in float64."""

import numpy as np
import pytest

from tfcaps.errors import UsageError
from tfcaps.labeling import Candidates, strategies


@pytest.fixture
def candidates() -> Candidates:
    generator = np.random.default_rng(3)
    labels = np.full(80, -1)
    labels[[4, 17, 50]] = [0, 1, 2]
    available = np.ones(80, bool)
    available[[5, 6]] = False
    return Candidates(
        labels=labels,
        available=available,
        scores=generator.dirichlet(np.ones(4) * 0.5, 80),
        features=generator.normal(size=(80, 3)),
        draws=generator.dirichlet(np.ones(4) * 0.5, (5, 80)),
    )


def best(candidates, value, count):
    """The open images with the highest values, one after the other."""
    ranked = sorted(
        (i for i in range(80) if candidates.labels[i] < 0 and candidates.available[i]),
        key=lambda i: (-value(i), i),
    )
    return ranked[:count]


def plain_entropy(p):
    return -sum(x * np.log(x) for x in p if x > 0)


MEASURES = {
    "least_confidence": lambda c, i: 1 - max(c.scores[i]),
    "margin": lambda c, i: sorted(c.scores[i])[-2] - sorted(c.scores[i])[-1],
    "entropy": lambda c, i: plain_entropy(c.scores[i]),
    "bald": lambda c, i: (
        plain_entropy(sum(c.draws[:, i]) / 5) - sum(map(plain_entropy, c.draws[:, i])) / 5
    ),
}


@pytest.mark.parametrize("name", MEASURES)
def test_measures(name, candidates):
    expected = best(candidates, lambda i: MEASURES[name](candidates, i), 12)
    assert strategies.get(name)(candidates, 12, 0).tolist() == expected


def test_k_centre(candidates):
    features, chosen, centres = candidates.features, [], [4, 17, 50]
    for _ in range(9):
        (farthest,) = best(
            candidates,
            lambda i: (
                -1
                if i in chosen
                else min(np.linalg.norm(features[i] - features[j]) for j in centres)
            ),
            1,
        )
        chosen.append(farthest)
        centres.append(farthest)
    assert strategies.get("k_centre")(candidates, 9, 0).tolist() == chosen


def groups() -> Candidates:
    """Three groups of 12, 9 and 7 images far from each other, and an outlier."""
    places = np.repeat([0.0, 100.0, 200.0, 900.0], [12, 9, 7, 1])[:, None]
    spread = np.concatenate([np.linspace(-1, 1, n) ** 3 for n in (12, 9, 7, 1)])[:, None]
    return Candidates(labels=np.full(29, -1), features=places + spread)


def typicality(candidates, members, i):
    distances = sorted(abs(candidates.features[i, 0] - candidates.features[j, 0]) for j in members)
    nearest = distances[1:21]  # the first one is its own
    return 1 / (sum(nearest) / len(nearest) + 1e-5)


def test_typiclust_takes_the_most_typical_of_the_largest_first():
    candidates = groups()
    members = [range(12), range(12, 21), range(21, 28)]
    expected = [
        max(group, key=lambda i: (typicality(candidates, group, i), -i)) for group in members
    ]
    # With four clusters the outlier is one of its own, too small to count.
    assert strategies.get("typiclust")(candidates, 4, 0)[:3].tolist() == expected


def test_typiclust_goes_where_no_label_is():
    labels = np.full(29, -1)
    labels[2] = labels[28] = 0
    candidates = Candidates(labels=labels, features=groups().features)
    first, second = strategies.get("typiclust")(candidates, 2, 0)
    assert 12 <= first < 21 <= second < 28


def test_margin_clusters_takes_one_of_each_kind():
    """Ten unsure images in two heaps: the two that lie in the middle of theirs."""
    features = np.array([[0], [1], [2], [3], [4], [50], [51], [52], [53], [54], [7], [8]], float)
    scores = np.tile([0.5, 0.5], (12, 1))
    scores[10:] = [0.9, 0.1]
    candidates = Candidates(labels=np.full(12, -1), scores=scores, features=features)
    assert strategies.get("margin_clusters")(candidates, 2, 0).tolist() == [2, 7]


def test_guided_changes_at_ten_labels_a_class(candidates):
    few = strategies.get("guided")(candidates, 5, 1)
    assert few.tolist() == strategies.get("typiclust")(candidates, 5, 1).tolist()
    labels = np.where(np.arange(80) < 40, 0, -1)
    many = Candidates(labels, scores=candidates.scores, features=candidates.features)
    expected = strategies.get("margin_clusters")(many, 5, 1).tolist()
    assert strategies.get("guided")(many, 5, 1).tolist() == expected
    assert expected != strategies.get("typiclust")(many, 5, 1).tolist()


def test_balanced(candidates):
    """Of the 15 with the smallest margin, the predicted class with the fewest labels first."""
    left = best(candidates, lambda i: MEASURES["margin"](candidates, i), 15)
    counts, expected = [1, 1, 1, 0], []
    predicted = {i: int(np.argmax(candidates.scores[i])) for i in left}
    for _ in range(3):
        kind = min((k for k in range(4) if k in predicted.values()), key=lambda k: (counts[k], k))
        expected.append(next(i for i in left if predicted.get(i) == kind))
        del predicted[expected[-1]]
        counts[kind] += 1
    assert strategies.get("balanced_margin")(candidates, 3, 0).tolist() == expected


@pytest.mark.parametrize("name", strategies.names())
def test_every_strategy(name, candidates):
    strategy = strategies.get(name)
    chosen = strategy(candidates, 10, 7)
    assert chosen.tolist() == strategy(candidates, 10, 7).tolist()
    assert len(set(chosen.tolist())) == 10
    assert set(chosen) <= set(candidates.open)
    # All that are left, where fewer are left than asked for.
    assert sorted(strategy(candidates, 500, 7)) == candidates.open.tolist()
    all_known = Candidates(np.zeros(80, int), None, *(
        getattr(candidates, name) for name in ("scores", "features", "draws")
    ))  # fmt: skip
    assert strategy(all_known, 3, 0).size == 0


@pytest.mark.parametrize("name", strategies.names())
def test_images_that_are_all_the_same(name):
    same = Candidates(
        labels=np.full(30, -1),
        scores=np.full((30, 2), 0.5),
        features=np.ones((30, 2)),
        draws=np.full((2, 30, 2), 0.5),
    )
    assert len(set(strategies.get(name)(same, 8, 0).tolist())) == 8


def test_random_is_even(candidates):
    first = [strategies.get("random")(candidates, 1, seed)[0] for seed in range(300)]
    assert len(set(first)) > 60  # of 75


def test_warnings(capsys):
    for name in ("guided", "balanced_k_centre", "entropy", "margin"):
        strategies.warn(name)
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told] == ["k_centre", "entropy"]


def test_wrong_input():
    with pytest.raises(UsageError, match=r"Expected a strategy, one of guided, .*: 'best'"):
        strategies.get("best")
    with pytest.raises(UsageError, match="Expected scores of a model"):
        strategies.get("margin")(Candidates(np.full(3, -1)), 1, 0)
    with pytest.raises(UsageError, match="Expected features"):
        strategies.get("k_centre")(Candidates(np.full(3, -1)), 1, 0)
    with pytest.raises(UsageError, match="Expected draws"):
        strategies.get("bald")(Candidates(np.full(3, -1)), 1, 0)
    with pytest.raises(UsageError, match=r"Expected scores of 3 images on axis 0.*\(2, 2\)"):
        Candidates(np.full(3, -1), scores=np.ones((2, 2)))
    with pytest.raises(UsageError, match="Expected finite features"):
        Candidates(np.full(1, -1), features=np.array([[np.nan]]))
