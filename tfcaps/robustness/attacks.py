"""Attacks of an independent library, foolbox, and the accuracy that is left under them."""

import os
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfcaps.errors import UsageError
from tfcaps.metrics.bundles import check_labels

# Its names are asked for where nothing is computed.
if TYPE_CHECKING:
    import tensorflow as tf

# Name → norm that bounds the change, foolbox' class, and whether step size and steps are ours.
_ATTACKS = {
    "fgsm": ("L∞", "LinfFastGradientAttack", False),
    "pgd": ("L∞", "LinfProjectedGradientDescentAttack", True),
    "deepfool": ("L∞", "LinfDeepFoolAttack", False),
    "noise": ("L∞", "LinfAdditiveUniformNoiseAttack", False),
    "fgsm_l2": ("L2", "L2FastGradientAttack", False),
    "pgd_l2": ("L2", "L2ProjectedGradientDescentAttack", True),
    "deepfool_l2": ("L2", "L2DeepFoolAttack", False),
    "carlini_wagner": ("L2", "L2CarliniWagnerAttack", False),
}


def names() -> tuple[str, ...]:
    """The attacks that there are.

    Example:

    >>> names()[:3]
    ('fgsm', 'pgd', 'deepfool')
    """
    return tuple(_ATTACKS)


def norm(attack: str) -> str:
    """What ε bounds: "L∞", the largest change of a pixel, or "L2", the length of all changes.

    Raises:
        UsageError: there is no such attack.
    """
    return _entry(attack)[0]


def attacked_images(
    scores: "Callable[[tf.Tensor], tf.Tensor]",
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
    attack: str,
    epsilons: Sequence[float],
    *,
    step_size: float = 0.01,
    steps: int = 40,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Attacks batches of images with each of some bounds.

    Args:
        scores: from images `(B, H, W, C)` in [0, 1] to scores `(B, K)`, differentiable. The softmax
            is the attack's own.
        batches: images and labels, integers `(B,)`.
        attack: one of `names()`.
        epsilons: bounds ε of the change, each at least 0; see `norm`.
        step_size: of projected gradient descent, above 0. Default 0.01.
        steps: of projected gradient descent, which has no random start. Default 40.

    Yields:
        For each batch the attacked images `(ε, B, H, W, C)`, and whether the network is wrong on
        them, `(ε, B)`.

    Raises:
        UsageError: there is no such attack, a bound is below 0, labels are no integers `(B,)`
            from 0 to K − 1, or foolbox is not installed.
    """
    import tensorflow as tf

    _check(attack, epsilons)
    _, name, takes_steps = _ATTACKS[attack]
    foolbox = _foolbox()
    arguments: dict[str, Any] = {}
    if takes_steps:
        arguments = {"abs_stepsize": step_size, "steps": steps, "random_start": False}
    run = getattr(foolbox.attacks, name)(**arguments)
    # One graph instead of a chain of operations. Left to itself, foolbox looks for a device in a
    # way that TensorFlow warns of.
    scores = tf.function(scores)
    device = "GPU:0" if tf.config.list_logical_devices("GPU") else "CPU:0"
    network = foolbox.TensorFlowModel(scores, bounds=(0, 1), device=device)
    epsilons = np.asarray(epsilons, "float64")
    changed = np.flatnonzero(epsilons)
    for images, labels in batches:
        predictions = scores(tf.constant(images))
        labels = check_labels(labels, len(images), predictions.shape[-1])
        attacked = np.repeat(images[np.newaxis], len(epsilons), axis=0)
        is_wrong = np.argmax(predictions, axis=-1) != labels
        is_wrong = np.repeat(is_wrong[np.newaxis], len(epsilons), axis=0)
        if changed.size:
            _, found, is_adversarial = run(
                network,
                tf.constant(images),
                tf.constant(labels),
                epsilons=epsilons[changed].tolist(),
            )
            attacked[changed] = [images.numpy() for images in found]
            is_wrong[changed] = is_adversarial.numpy()
        yield attacked, is_wrong


def _check(attack: str, epsilons: Sequence[float]) -> None:
    """Checks what can be checked without images.

    Raises:
        UsageError: there is no such attack, there is no bound, or one is below 0.
    """
    _entry(attack)
    wrong = [epsilon for epsilon in epsilons if not 0 <= epsilon < float("inf")]
    if wrong or not len(epsilons):
        received = wrong[0] if wrong else "none"
        raise UsageError(f"Expected every epsilon >= 0, and at least one. Received: {received}")


def _entry(attack: str) -> tuple[str, str, bool]:
    if attack not in _ATTACKS:
        known = ", ".join(_ATTACKS)
        raise UsageError(f"Expected an attack among {known}. Received: {attack}")
    return _ATTACKS[attack]


def _foolbox() -> types.ModuleType:
    # It imports GitPython, for a feature that is not used here, and that wants git at once.
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    try:
        with warnings.catch_warnings():
            # An import that SciPy 1.8 renamed.
            warnings.simplefilter("ignore", DeprecationWarning)
            import foolbox
    except ImportError:
        raise UsageError(
            "Expected the attack library foolbox, which `pip install 'tfcaps[robustness]'` "
            "installs. Received: a Python without it"
        ) from None
    return foolbox
