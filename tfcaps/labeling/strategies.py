"""Which images are to be labelled next: pure functions from scores or features to indices.

A strategy takes `Candidates`, how many images are asked for, and a seed; it gives as many indices,
or all that are open where these are fewer, the most informative one first. The same input gives the
same output, and of equals the one with the lowest index comes first.
"""

import functools
from collections.abc import Callable

import numpy as np

from tfcaps.errors import UsageError
from tfcaps.labeling.candidates import Candidates
from tfcaps.labeling.threads import one_thread

Strategy = Callable[[Candidates, int, int], np.ndarray]

DEFAULT = "guided"
# A shortlist has so many candidates for each image that is asked for.
_SHORTLIST = 5
# Labels per class from which on uncertainty tells more than what is typical.
_LABELS_PER_CLASS = 10
# Of arXiv 2202.02794.
_MOST_CLUSTERS = 500
_LARGEST_TOO_SMALL = 5
_NEIGHBOURS = 20
_EXACT_K_MEANS = 50  # clusters; above it, batches do
_BATCH = 5000
_LEAST_DISTANCE = 1e-5
_TINY = 1e-12
# Why one should think twice, for those where measurements say so.
_WARNINGS = {
    "k_centre": "k_centre picks outliers: worse than random below about 800 labels of MNIST.",
    "entropy": "entropy is worse than random below about 300 labels of MNIST.",
}


def least_confidence(scores: np.ndarray) -> np.ndarray:
    """`1 − max_k p_k` of probabilities `(N, K)`: `(N,)`, the higher the less sure.

    >>> least_confidence(np.array([[0.75, 0.25]])).tolist()
    [0.25]
    """
    return 1.0 - scores.max(axis=-1)


def margin(scores: np.ndarray) -> np.ndarray:
    """Minus the distance of the two best classes, `p_2 − p_1`, of probabilities `(N, K)`: `(N,)`.

    >>> margin(np.array([[0.75, 0.25]])).tolist()
    [-0.5]
    """
    second, first = np.partition(scores, -2, axis=-1)[:, -2:].T
    return second - first


def entropy(scores: np.ndarray) -> np.ndarray:
    """`−Σ_k p_k ln p_k` of probabilities `(..., K)`, in nats: `(...,)`.

    >>> entropy(np.array([[1.0, 0.0], [0.5, 0.5]])).round(4).tolist()
    [0.0, 0.6931]
    """
    return -np.sum(scores * np.log(np.maximum(scores, _TINY)), axis=-1) + 0.0


def bald(draws: np.ndarray) -> np.ndarray:
    """What a label would tell of the model: `H(mean_t p_t) − mean_t H(p_t)`, in nats: `(N,)`.

    Args:
        draws: probabilities of T draws of the model, `(T, N, K)`.

    Source: Houlsby et al., arXiv 1112.5745.

    Example:

    >>> agreeing, at_odds = [[0.5, 0.5], [0.5, 0.5]], [[1.0, 0.0], [0.0, 1.0]]
    >>> bald(np.array([agreeing, at_odds]).swapaxes(0, 1)).round(4).tolist()
    [0.0, 0.6931]
    """
    return entropy(draws.mean(axis=0)) - entropy(draws).mean(axis=0)


_MEASURES = {"least_confidence": least_confidence, "margin": margin, "entropy": entropy}


def _random(candidates: Candidates, count: int, seed: int) -> np.ndarray:
    """Open images in an order that the seed draws."""
    return np.random.default_rng(seed).permutation(candidates.open)[:count]


def _k_centre(candidates: Candidates, count: int, seed: int) -> np.ndarray:
    """Greedy k-centre: again and again the image farthest from all chosen and labelled ones.

    Without a label the first one is the image that lies nearest to the mean of all.

    Source: Sener and Savarese, arXiv 1708.00489.
    """
    del seed  # nothing is drawn
    features, open_ = _features(candidates), candidates.open
    chosen: list[int] = []
    distances = np.full(len(open_), np.inf)
    for index in candidates.labelled:
        distances = np.minimum(distances, _squares(features[open_], features[index]))
    for _ in range(min(count, len(open_))):
        if np.isinf(distances).all():
            place = int(np.argmin(_squares(features[open_], features.mean(axis=0))))
        else:
            place = int(np.argmax(distances))
        chosen.append(int(open_[place]))
        distances = np.minimum(distances, _squares(features[open_], features[open_[place]]))
        distances[place] = -np.inf  # never again, even among images that are all the same
    return np.array(chosen, np.int64)


def _typiclust(candidates: Candidates, count: int, seed: int) -> np.ndarray:
    """The most typical image of each cluster, first of those with the fewest labels.

    All images fall into `min(labels + count, 500)` clusters. Those of at most five images are left
    for the end; of the others come first those with the fewest labels, then the largest. What is
    typical has the highest `1 / (mean distance to the 20 nearest of its cluster + 1e-5)`.

    Source: Hacohen, Dekel, Weinshall, arXiv 2202.02794.
    """
    features = _features(candidates)
    known = candidates.labelled
    usable = np.union1d(known, candidates.open)
    clusters = min(len(known) + count, _MOST_CLUSTERS, len(usable))
    if not len(usable):
        return usable
    assigned, _ = _k_means(features[usable], clusters, seed)
    is_known = np.isin(usable, known)
    sizes = np.bincount(assigned, minlength=clusters)
    labels = np.bincount(assigned[is_known], minlength=clusters)
    open_ = candidates.open
    with one_thread():
        ranked = [_by_typicality(features, usable[assigned == c], open_) for c in range(clusters)]
    chosen: list[int] = []
    while len(chosen) < min(count, len(candidates.open)):
        left = [c for c in range(clusters) if ranked[c]]
        # Each image that is taken counts as a label of its cluster.
        best = min(left, key=lambda c: (sizes[c] <= _LARGEST_TOO_SMALL, labels[c], -sizes[c], c))
        chosen.append(ranked[best].pop(0))
        labels[best] += 1
    return np.array(chosen, np.int64)


def _margin_clusters(candidates: Candidates, count: int, seed: int) -> np.ndarray:
    """Thins the images of the smallest margin, five times as many as are asked for, by k-means.

    Of each of `count` clusters that image is taken which lies nearest to its centre. So no two of a
    batch tell the same. The order is that of the margin.

    Source: Zhdanov, arXiv 1901.05954, with equal weights.
    """
    short = _ranked(candidates, margin(_scores(candidates)))[: _SHORTLIST * count]
    if len(short) <= count:
        return short
    features = _features(candidates)[short]
    assigned, centres = _k_means(features, count, seed)
    taken = set()
    for cluster in range(count):
        members = np.flatnonzero(assigned == cluster)
        if len(members):
            taken.add(int(members[np.argmin(_squares(features[members], centres[cluster]))]))
    # Equal images make fewer clusters than were asked for.
    rest = (place for place in range(len(short)) if place not in taken)
    while len(taken) < count:
        taken.add(next(rest))
    return short[sorted(taken)]


def _guided(candidates: Candidates, count: int, seed: int) -> np.ndarray:
    """`typiclust` up to ten labels a class, or without a model; `margin_clusters` then."""
    scores = candidates.scores
    if scores is None or len(candidates.labelled) < _LABELS_PER_CLASS * scores.shape[1]:
        return _typiclust(candidates, count, seed)
    return _margin_clusters(candidates, count, seed)


def _by_measure(name: str, candidates: Candidates, count: int, seed: int) -> np.ndarray:
    del seed  # nothing is drawn
    return _ranked(candidates, _MEASURES[name](_scores(candidates)))[:count]


def _by_bald(candidates: Candidates, count: int, seed: int) -> np.ndarray:
    del seed  # nothing is drawn
    if candidates.draws is None:
        raise UsageError("Expected draws of a model for bald. Received: none")
    return _ranked(candidates, bald(candidates.draws))[:count]


_STRATEGIES: dict[str, Strategy] = {
    DEFAULT: _guided,
    "random": _random,
    **{name: functools.partial(_by_measure, name) for name in _MEASURES},
    "bald": _by_bald,
    "k_centre": _k_centre,
    "typiclust": _typiclust,
    "margin_clusters": _margin_clusters,
}
_BALANCED = "balanced_"
# What can be asked without a model.
_WITHOUT_SCORES = (DEFAULT, "random", "k_centre", "typiclust")


def names() -> tuple[str, ...]:
    """All names that `get` takes: each strategy, and its class-balanced variant."""
    return (*_STRATEGIES, *(f"{_BALANCED}{name}" for name in _STRATEGIES))


def get(name: str) -> Strategy:
    """The strategy of a name.

    `balanced_NAME` chooses among the first `5 count` of NAME, in their order, one after the other
    of the predicted class with the fewest labels, those chosen before it included.

    Raises:
        UsageError: there is none; the message lists the names.

    Example:

    >>> candidates = Candidates(np.full(3, -1), scores=np.array([[0.9, 0.1], [0.6, 0.4], [1, 0]]))
    >>> get("margin")(candidates, 2, 0).tolist()
    [1, 0]
    """
    if name not in names():
        raise UsageError(f"Expected a strategy, one of {', '.join(names())}. Received: {name!r}")
    if name.startswith(_BALANCED):
        return functools.partial(_balanced, _STRATEGIES[name.removeprefix(_BALANCED)])
    return _STRATEGIES[name]


def without_draws() -> tuple[str, ...]:
    """The names of those that one model is enough for: what a program offers."""
    return tuple(name for name in names() if not name.endswith("bald"))


def warn(name: str) -> None:
    """Prints why one should think twice about a strategy, where measurements say so."""
    for known, warning in _WARNINGS.items():
        if name.endswith(known):
            print(warning)


def needs_scores(name: str) -> bool:
    """Whether a strategy can't choose before there is a model."""
    return name not in _WITHOUT_SCORES


def _balanced(base: Strategy, candidates: Candidates, count: int, seed: int) -> np.ndarray:
    scores = _scores(candidates)
    queues: list[list[int]] = [[] for _ in range(scores.shape[1])]
    for index in base(candidates, _SHORTLIST * count, seed):
        queues[int(scores[index].argmax())].append(int(index))
    labels = candidates.labels[candidates.labelled]
    counts = np.bincount(labels, minlength=len(queues))
    chosen: list[int] = []
    while len(chosen) < count and any(queues):
        best = min((k for k, queue in enumerate(queues) if queue), key=lambda k: (counts[k], k))
        chosen.append(queues[best].pop(0))
        counts[best] += 1
    return np.array(chosen, np.int64)


def _ranked(candidates: Candidates, values: np.ndarray) -> np.ndarray:
    """Open images, the highest value first; of equals the lowest index."""
    open_ = candidates.open
    return open_[np.argsort(-values[open_], kind="stable")]


def _by_typicality(features: np.ndarray, members: np.ndarray, open_: np.ndarray) -> list[int]:
    """The open ones among the members of a cluster, the most typical one first."""
    if len(members) < 2:
        return [int(index) for index in members if index in open_]
    from sklearn.neighbors import NearestNeighbors

    neighbours = min(_NEIGHBOURS, len(members) - 1)
    # Asked without rows, it leaves each row itself out.
    found, _ = NearestNeighbors(n_neighbors=neighbours).fit(features[members]).kneighbors()
    typicality = 1.0 / (found.mean(axis=1) + _LEAST_DISTANCE)
    ordered = members[np.argsort(-typicality, kind="stable")]
    return ordered[np.isin(ordered, open_)].tolist()


def _k_means(features: np.ndarray, clusters: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The cluster of each row, and the centres of the clusters."""
    import warnings

    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    if clusters <= _EXACT_K_MEANS:
        fitted = KMeans(clusters, n_init=1, random_state=seed)
    else:
        fitted = MiniBatchKMeans(clusters, n_init=1, batch_size=_BATCH, random_state=seed)
    with warnings.catch_warnings(), one_thread():
        # Of equal images there are fewer clusters; callers go on with those.
        warnings.simplefilter("ignore", ConvergenceWarning)
        assigned = fitted.fit_predict(features.astype(np.float64))
    return assigned, fitted.cluster_centers_


def _squares(features: np.ndarray, centre: np.ndarray) -> np.ndarray:
    return np.sum((features - centre) ** 2, axis=-1)


def _scores(candidates: Candidates) -> np.ndarray:
    if candidates.scores is None:
        raise UsageError("Expected scores of a model for this strategy. Received: none")
    return candidates.scores


def _features(candidates: Candidates) -> np.ndarray:
    if candidates.features is None:
        raise UsageError("Expected features for this strategy. Received: none")
    return candidates.features
