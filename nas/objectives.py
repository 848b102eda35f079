"""What a search makes as good as it can: how two networks are compared by it, and when it counts.

All comparisons are of pairs: the same N examples, with their labels y, before and after a change.
"""

import abc
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nas.records import Comparison

if TYPE_CHECKING:
    from tfcaps.evaluation import Verdicts


class _Estimate(NamedTuple):
    """A number that was measured on some examples.

    Args:
        value: the number.
        error: its standard error.
    """

    value: float
    error: float


class Objective(abc.ABC):
    """Base class of what is measured on the validation split, and tested there."""

    name: str
    title: str
    # What the gain of a comparison is measured in, and how often that is shown.
    unit: str

    @abc.abstractmethod
    def score(self, labels: np.ndarray, predictions: np.ndarray) -> _Estimate:
        """Of a network.

        Args:
            labels: integers (N,).
            predictions: classes that it decides for, integers (N,).
        """

    @abc.abstractmethod
    def compare(self, before: "Verdicts", after: "Verdicts") -> dict[str, float]:
        """The part of a `Comparison` that the examples decide about."""

    @abc.abstractmethod
    def no_gain(self, comparison: Comparison) -> float:
        """The p-value of a gain as large, if there were none."""

    def cost(self, comparison: Comparison) -> float:
        """How much of the objective a change costs."""
        return -comparison.score

    def too_costly(self, comparison: Comparison, tolerance: float) -> float:
        """The p-value of a loss as small, if the change cost as much as is tolerated.

        It is the one-sided p of z = (t + Δ) / √max(s², t · w), where Δ is the difference of the
        objective with its standard error s, t the tolerance, and w the most that one example
        changes the objective by. If the objective falls by t, at least t / w examples change their
        verdicts; so a few examples, or a few of a rare class, of which none does, refute nothing.

        Args:
            comparison: what the examples say.
            tolerance: t.
        """
        from scipy import stats

        variance = max(comparison.score_error**2, tolerance * comparison.weight)
        if not variance > 0:
            return 1.0
        return float(stats.norm.sf((tolerance + comparison.score) / math.sqrt(variance)))


class _Accuracy(Objective):
    """The share of the examples that are right.

    The gain is the mean of what the examples' losses become smaller, as losses tell more than
    verdicts, by a one-sided paired t test.
    """

    name, title, unit = "accuracy", "accuracy", "nat"

    def score(self, labels, predictions):
        share = float(np.mean(labels == predictions))
        return _Estimate(share, math.sqrt(share * (1.0 - share) / len(labels)))

    def compare(self, before, after):
        differences = before.losses - after.losses
        count = len(differences)
        error = float(differences.std(ddof=1) / math.sqrt(count)) if count > 1 else math.nan
        return {"gain": float(differences.mean()), "error": error, **_counts(before, after)}

    def no_gain(self, comparison):
        return _t_test(comparison, comparison.examples - 1)

    def cost(self, comparison):
        return comparison.lost - comparison.won

    def too_costly(self, comparison, tolerance):
        """As of every objective, in numbers of examples.

        With d = lost − won, of n examples, and t = ⌊tolerance · n⌋ it is the one-sided p of
        (t − d) / √max(lost + won − d² / n, t).
        """
        from scipy import stats

        # 0.29 · 100 is below 29 as a float.
        tolerated = math.floor(tolerance * comparison.examples + 1e-6)
        difference = self.cost(comparison)
        discordant = comparison.lost + comparison.won
        variance = max(discordant - difference**2 / comparison.examples, tolerated)
        if not variance > 0:
            return 1.0
        return float(stats.norm.sf((tolerated - difference) / math.sqrt(variance)))


class _BalancedAccuracy(Objective):
    """The mean over the K classes of the share of their examples that are right.

    An example of a class with n_k of the N examples has the weight N / (K n_k), in the gain, which
    is of losses as that of accuracy, and in the difference of the objective. So both are means
    over classes of class means. The standard error is √(Σ_k s_k² / n_k) / K with the variance s_k²
    within class k, and the t test has the degrees of freedom of Welch and Satterthwaite.

    Classes without examples don't count.
    """

    name, title, unit = "balanced_accuracy", "balanced accuracy", "nat"

    def score(self, labels, predictions):
        weights = _class_weights(labels)
        right = (labels == predictions).astype("float64")
        counts = np.bincount(labels)
        there = counts > 0
        shares = np.bincount(labels, right)[there] / counts[there]
        variance = np.sum(shares * (1.0 - shares) / counts[there])
        return _Estimate(float(np.mean(weights * right)), math.sqrt(variance) / int(there.sum()))

    def compare(self, before, after):
        labels, count = before.labels, len(before.labels)
        weights = _class_weights(labels)
        gains = weights * (before.losses - after.losses)
        scores = weights * (after.right.astype("float64") - before.right)
        error, degrees = _stratified(gains, labels)
        return {
            "gain": float(gains.mean()),
            "error": error,
            "degrees": degrees,
            "score": float(scores.mean()),
            "score_error": _stratified(scores, labels)[0],
            "weight": float(weights.max() / count),
            **_counts(before, after),
        }

    def no_gain(self, comparison):
        return _t_test(comparison, comparison.degrees)


class _MacroF1(Objective):
    """The mean over the K classes of `F_k = 2 tp / (n_k + m_k)`, of n_k examples, m_k predictions.

    The difference of two networks is a mean over the examples. With the means over before and after
    of F_k and of D_k = (n_k + m_k) / N, written F̄ and D̄, and the prediction ŷ,

        u_i = Σ_k (2 Δ[ŷ_i = y_i = k] − F̄_k Δ[ŷ_i = k]) / (K D̄_k),

    and the mean of u_i is exactly the difference: F D = 2 tp / N, so 2 Δtp / N = F̄ ΔD + D̄ ΔF. It
    is the influence function of macro F1 halfway between both networks. Only examples that are
    predicted otherwise have u_i ≠ 0; they may be few, and those of a rare class weigh much, where a
    t test is wrong. If a change helps no more than it harms, each u_i has either sign as often, and
    by Hoeffding's inequality the p-value is at most exp(−z² / 2) with z = Σ u_i / √(Σ u_i²),
    however few there are.

    Classes that are neither there nor predicted don't count.

    Sources: Hampel, The influence curve and its role in robust estimation, 1974; Hoeffding,
    Probability inequalities for sums of bounded random variables, 1963.
    """

    name, title, unit = "macro_f1", "macro F1", "of macro F1"

    def score(self, labels, predictions):
        f1, _, sizes = _f1(labels, predictions, _classes(labels, predictions))
        used = sizes > 0
        scale = _inverse(sizes, used) / used.sum()
        influences = 2.0 * (labels == predictions) * scale[labels]
        influences -= (f1 * scale)[labels] + (f1 * scale)[predictions]
        error = math.sqrt(np.sum(influences**2)) / len(labels)
        return _Estimate(float(f1[used].mean()), error)

    def compare(self, before, after):
        labels, count = before.labels, len(before.labels)
        classes = _classes(labels, before.predictions, after.predictions)
        pairs = [_f1(labels, each.predictions, classes) for each in (before, after)]
        f1, there, sizes = (np.mean(each, axis=0) for each in zip(*pairs, strict=True))
        used = sizes > 0
        scale = _inverse(sizes, used) / used.sum()
        parts = 2.0 * (after.right.astype("float64") - before.right) * scale[labels]
        parts += (f1 * scale)[before.predictions] - (f1 * scale)[after.predictions]
        gain, error = float(parts.mean()), math.sqrt(np.sum(parts**2)) / count
        largest = np.max(((2.0 - f1) * scale)[there > 0]) + np.max(f1 * scale)
        return {
            "gain": gain,
            "error": error,
            "score": gain,
            "score_error": error,
            "weight": float(largest / count),
            **_counts(before, after),
        }

    def no_gain(self, comparison):
        if not (comparison.gain > 0 and comparison.error > 0):
            return 1.0
        return math.exp(-0.5 * (comparison.gain / comparison.error) ** 2)


OBJECTIVES: Mapping[str, Objective] = {
    objective.name: objective for objective in (_Accuracy(), _BalancedAccuracy(), _MacroF1())
}


def _counts(before: "Verdicts", after: "Verdicts") -> dict[str, float]:
    return {
        "won": float(np.sum(after.right & ~before.right)),
        "lost": float(np.sum(before.right & ~after.right)),
        "examples": float(len(before.labels)),
    }


def _t_test(comparison: Comparison, degrees: float) -> float:
    """The p-value of a gain as large, if there were none: a one-sided paired t test."""
    from scipy import stats

    if comparison.examples < 2:
        return 1.0  # one example shows nothing
    if not comparison.error > 0:
        return 0.0 if comparison.gain > 0 else 1.0
    return float(stats.t.sf(comparison.gain / comparison.error, degrees))


def _class_weights(labels: np.ndarray) -> np.ndarray:
    """N / (K n_k) of each example, over the K classes that have some."""
    counts = np.bincount(labels)
    return len(labels) / (np.sum(counts > 0) * counts[labels])


def _stratified(values: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Standard error of the mean of values in classes of given sizes, and degrees of freedom.

    A class of one example has that example's square as its variance: about 0, which is its mean
    where there is no difference.
    """
    counts = np.bincount(labels)
    there = counts > 0
    sizes = counts[there]
    means = np.bincount(labels, values)[there] / sizes
    squares = np.bincount(labels, values**2)[there]
    freedom = np.maximum(sizes - 1, 1)
    within = np.where(sizes > 1, squares - sizes * means**2, squares) / freedom
    # Of a class whose values are all the same, rounding may leave less than nothing.
    parts = sizes * np.maximum(within, 0.0) / len(values) ** 2
    variance = parts.sum()
    if not variance > 0:
        return 0.0, float(freedom.sum())
    return math.sqrt(variance), float(variance**2 / np.sum(parts**2 / freedom))


def _classes(*of: np.ndarray) -> int:
    return 1 + max(int(each.max()) for each in of)


def _f1(labels, predictions, classes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each class F1, 0 where it isn't defined, the number of its examples, and (n + m) / N."""
    there, found = (np.bincount(each, minlength=classes) for each in (labels, predictions))
    right = np.bincount(labels[labels == predictions], minlength=classes)
    sizes = there + found
    return 2.0 * right * _inverse(sizes, sizes > 0), there, sizes / len(labels)


def _inverse(numbers: np.ndarray, used: np.ndarray) -> np.ndarray:
    """1 / x where it is used, else 0."""
    return np.divide(1.0, numbers, out=np.zeros(len(numbers)), where=used)
