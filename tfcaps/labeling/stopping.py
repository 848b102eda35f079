"""When a labeling may stop, each reason with its number."""

import math

_Z = 1.96  # of a two-sided interval of 95 %
# Part of the predictions that may change between rounds where nothing changes any more.
_STEADY = 0.01
_STEADY_ROUNDS = 2


def accuracy_bounds(correct: int, count: int) -> tuple[float, float]:
    """Wilson's interval, 95 %, of an accuracy that was measured on so many random images.

    `(p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n)` with z = 1.96; (0, 1) of no image.

    >>> [round(bound, 3) for bound in accuracy_bounds(9, 10)]
    [0.596, 0.982]
    """
    if not count:
        return 0.0, 1.0
    share, spread = correct / count, _Z**2 / count
    middle = share + spread / 2
    half = _Z * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))


def reason_to_stop(
    labels: int, rounds: list[dict], *, budget: int, target_accuracy: float
) -> str | None:
    """One line that says why it is enough, or None where nothing says so.

    Args:
        labels: how many there are.
        rounds: of each one `low`, the lower bound of the accuracy, and `changed`, the part of the
            predictions that changed.
        budget: labels that are enough; 0: no number is.
        target_accuracy: that is enough, if the lower bound reaches it.

    >>> reason_to_stop(5, [], budget=5, target_accuracy=0.9)
    'The budget of 5 labels is used up.'
    """
    if budget and labels >= budget:
        return f"The budget of {budget} labels is used up."
    if rounds and rounds[-1]["low"] >= target_accuracy:
        return (
            f"On images drawn at random the accuracy is at least {rounds[-1]['low']:.1%} "
            f"(with 95 % confidence), the target {target_accuracy:.1%}."
        )
    last = [row["changed"] for row in rounds[-_STEADY_ROUNDS:]]
    if len(rounds) > _STEADY_ROUNDS and max(last) < _STEADY:
        return f"In {_STEADY_ROUNDS} rounds less than {_STEADY:.0%} of the predictions changed."
    return None
