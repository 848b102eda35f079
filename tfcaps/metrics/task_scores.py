"""What classifiers of texts are compared by."""

from collections.abc import Callable

import numpy as np

from tfcaps.errors import UsageError, positive_int

_OF_TWO_CLASSES = ("f1", "matthews")

_Score = Callable[[np.ndarray, np.ndarray], float]


def task_score(metric: str, labels: np.ndarray, outputs: np.ndarray) -> float:
    """The score that a task reports.

    Args:
        metric: "accuracy"; "f1", of class 1 of two, 2 tp / (2 tp + fp + fn), 0 where class 1 is
            neither there nor predicted; "matthews", Matthews' correlation of predicted and true
            classes, of two; "spearman", the correlation of the ranks of numbers. Correlations
            with what is constant are 0.
        labels: true classes, or numbers, (N,), N >= 1.
        outputs: scores of the classes, (N, K), of which the highest one wins, K = 2 for "f1" and
            "matthews"; of "spearman" numbers, (N, 1) or (N,).

    Raises:
        UsageError: there is no such metric, the shapes don't fit, or an output is NaN.

    Example:

    >>> import numpy as np
    >>> outputs = np.eye(2)[[1, 1, 0, 1]]
    >>> labels = np.array([1, 0, 0, 1])
    >>> task_score("accuracy", labels, outputs), task_score("f1", labels, outputs)  # 3/4, 4/5
    (0.75, 0.8)

    Source: GLUE, Wang et al., arXiv 1804.07461.
    """
    labels, outputs = np.asarray(labels), np.asarray(outputs)
    score = _known(metric)
    if np.isnan(outputs).any():
        # The highest of NaNs is the first one: a class that nothing speaks for.
        raise UsageError("Expected numbers as outputs. Received: NaN")
    if metric == "spearman":
        outputs = outputs.reshape(len(outputs), -1)
        if outputs.shape[1] != 1:
            raise UsageError(f"Expected one number each. Received: {outputs.shape[1]}")
        answers = outputs[:, 0]
    else:
        if outputs.ndim != 2:
            raise UsageError(f"Expected scores (N, K). Received: the shape {outputs.shape}")
        if metric in _OF_TWO_CLASSES and outputs.shape[1] != 2:
            raise UsageError(f"Expected two classes for {metric}. Received: {outputs.shape[1]}")
        answers = outputs.argmax(axis=-1)
    if labels.shape != answers.shape or not len(labels):
        raise UsageError(
            f"Expected a label for each of at least one answer. Received: {labels.shape} labels "
            f"and {answers.shape} answers"
        )
    return score(labels, answers)


def majority_score(metric: str, train_labels: np.ndarray, labels: np.ndarray) -> float:
    """The score of always giving the most frequent class of the training set; 0 of "spearman".

    Args:
        metric: see `task_score`.
        train_labels: of the training set.
        labels: true ones, (N,).

    Example:

    >>> majority_score("accuracy", [0, 0, 1], [0, 1, 1, 1]), majority_score("f1", [1, 1], [0, 1])
    (0.25, 0.6666666666666666)
    """
    labels = np.asarray(labels)
    return _known(metric)(labels, _majority(metric, train_labels, labels))


def bootstrap_error(
    metric: str,
    train_labels: np.ndarray,
    labels: np.ndarray,
    outputs: np.ndarray,
    *,
    rounds: int = 500,
    seed: int = 0,
) -> float:
    """Standard error, over examples, of how far a score is above that of the majority class.

    The standard deviation of the difference over samples of N examples, drawn with replacement;
    both scores are of the same sample.

    Args:
        metric: see `task_score`.
        train_labels: see `majority_score`.
        labels: true ones, (N,).
        outputs: see `task_score`.
        rounds: number of samples, at least 2. Default 500.
        seed: of the samples. Default 0.

    Raises:
        UsageError: as `task_score`, or there are too few rounds.

    Example:

    >>> import numpy as np
    >>> labels = np.array([0, 1] * 50)
    >>> error = bootstrap_error("accuracy", [0, 0, 1], labels, np.eye(2)[labels], rounds=10_000)
    >>> round(error, 2)  # half of them are right anyway: sqrt(1/2 · 1/2 / 100)
    0.05

    Source: Efron and Tibshirani, An introduction to the bootstrap, 1993.
    """
    if positive_int("rounds", rounds) < 2:
        raise UsageError(f"Expected at least 2 rounds. Received: {rounds}")
    task_score(metric, labels, outputs)  # the shapes are looked at
    labels, outputs = np.asarray(labels), np.asarray(outputs)
    answers = outputs.reshape(-1) if metric == "spearman" else outputs.argmax(axis=-1)
    majority = _majority(metric, train_labels, labels)
    score = _known(metric)
    drawn = np.random.default_rng(seed).integers(len(labels), size=(rounds, len(labels)))
    differences = [
        score(labels[rows], answers[rows]) - score(labels[rows], majority[rows]) for rows in drawn
    ]
    return float(np.std(differences, ddof=1))


def _majority(metric: str, train_labels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    if metric == "spearman":
        return np.zeros(len(labels))
    return np.full(len(labels), np.bincount(np.asarray(train_labels)).argmax())


def _known(metric: str) -> _Score:
    if metric not in _SCORES:
        raise UsageError(f"Expected one of {', '.join(_SCORES)}. Received: {metric!r}")
    return _SCORES[metric]


def _accuracy(labels: np.ndarray, answers: np.ndarray) -> float:
    return float((labels == answers).mean())


def _f1(labels: np.ndarray, answers: np.ndarray) -> float:
    there, found = labels == 1, answers == 1
    counted = there.sum() + found.sum()
    return float(2 * (there & found).sum() / counted) if counted else 0.0


def _correlation(one: np.ndarray, two: np.ndarray) -> float:
    one, two = one - one.mean(), two - two.mean()
    norm = np.sqrt((one * one).sum() * (two * two).sum())
    return float((one * two).sum() / norm) if norm > 0 else 0.0


def _matthews(labels: np.ndarray, answers: np.ndarray) -> float:
    # Of two classes it is the correlation of their numbers.
    return _correlation(labels.astype("float64"), answers.astype("float64"))


def _spearman(labels: np.ndarray, answers: np.ndarray) -> float:
    from scipy import stats

    return _correlation(stats.rankdata(labels), stats.rankdata(answers))


_SCORES: dict[str, _Score] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "matthews": _matthews,
    "spearman": _spearman,
}
