"""What learns from the labels while they come: fast enough to be fitted anew each round."""

import warnings

import numpy as np

_COST = 10.0
_FOLDS = 5


def class_scores(
    features: np.ndarray, labelled: np.ndarray, labels: np.ndarray, asked: np.ndarray, classes: int
) -> np.ndarray:
    """Scores of a support vector machine with a radial kernel, as probabilities `(M, classes)`.

    They are the softmax of its decision values, one class against the rest; a class without a label
    has 0. Of a single class it has all.

    Args:
        features: `(N, D)` of all images.
        labelled: indices of those with a label, `(L,)`.
        labels: their classes, integers `(L,)`.
        asked: indices of those whose scores are asked for, `(M,)`.
        classes: how many there are.

    Example:

    >>> features = np.array([[0.0], [1.0], [0.1]])
    >>> known = np.array([0, 1])
    >>> class_scores(features, known, known, np.array([2]), 2).argmax(axis=1).tolist()
    [0]
    """
    scores = np.zeros((len(asked), classes))
    known = np.unique(labels)
    if len(known) < 2:
        scores[:, known] = 1.0
        return scores
    from sklearn.svm import SVC

    fitted = SVC(C=_COST, gamma="scale", decision_function_shape="ovr")
    fitted.fit(features[labelled], labels)
    values = fitted.decision_function(features[asked])
    if values.ndim == 1:  # of two classes there is one value
        values = np.stack([-values, values], axis=1)
    exponentials = np.exp(values - values.max(axis=1, keepdims=True))
    scores[:, known] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return scores


def suspicious(features: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Which labels a model that didn't see them contradicts, the surest contradiction first.

    Each label is compared with the prediction of a machine that learned from the other four fifths
    of the labels.

    Args:
        features: `(L, D)` of the images with a label.
        labels: `(L,)`, integers.
        classes: how many there are.

    Returns:
        Indices into `labels`.
    """
    from sklearn.model_selection import StratifiedKFold

    counts = np.bincount(labels, minlength=classes)
    if len(labels) < _FOLDS or np.count_nonzero(counts) < 2:
        return np.array([], np.int64)
    scores = np.zeros((len(labels), classes))
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        # A class with fewer labels than folds is missing in some.
        warnings.simplefilter("ignore", UserWarning)
        try:
            parts = list(folds.split(features, labels))
        except ValueError:  # no class has as many labels as there are folds
            return np.array([], np.int64)
    for learned, held_out in parts:
        scores[held_out] = class_scores(features, learned, labels[learned], held_out, classes)
    rows = np.arange(len(labels))
    lead = scores.max(axis=1) - scores[rows, labels]
    order = np.argsort(-lead, kind="stable")
    return order[lead[order] > 0]
