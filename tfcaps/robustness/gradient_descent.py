"""Projected gradient descent: the worst change of an image within a bound."""

from collections.abc import Callable

import tensorflow as tf

from tfcaps.errors import UsageError


def projected_gradient_descent(
    loss: Callable[[tf.Tensor], tf.Tensor],
    images: tf.Tensor,
    *,
    epsilon: float = 0.1,
    step_size: float = 0.01,
    steps: int = 40,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> tf.Tensor:
    """Moves images uphill on a loss, no pixel by more than ε: the L∞ attack without random start.

    `x ← clip(x + α·sign(∂ loss/∂x), x₀ − ε, x₀ + ε)`, clipped to `bounds`, `steps` times from x₀.

    The steps are one `tf.while_loop`: a graph has the same size whatever their number. Only the
    gradient for the images is computed, not that for weights, and none flows through the result.

    Args:
        loss: from images `(B, …)` to losses of any shape, which are added up.
        images: x₀, float, within `bounds`.
        epsilon: ε, the largest change of a pixel, at least 0. Default 0.1.
        step_size: α, above 0. Default 0.01.
        steps: how many, at least 1. Default 40.
        bounds: the smallest and the largest value of a pixel. Default (0, 1).

    Returns:
        The changed images, in shape and dtype of `images`.

    Raises:
        UsageError: an argument is out of its range.

    Example:

    >>> target = tf.constant([[0.25, 0.5, 1.0]])
    >>> x = projected_gradient_descent(
    ...     lambda x: -tf.square(x - 0.45), target, epsilon=0.1, step_size=0.05, steps=3)
    >>> [round(float(pixel), 4) for pixel in x[0]]    # .45 is out of reach for two of them
    [0.35, 0.45, 0.9]

    Sources: Madry et al., arXiv 1706.06083; Peer et al., γ-capsules, arXiv 1812.09707 (defaults).
    """
    check_attack(epsilon=epsilon, step_size=step_size, steps=steps)
    images = tf.stop_gradient(tf.convert_to_tensor(images))
    lower = tf.maximum(images - epsilon, bounds[0])
    upper = tf.minimum(images + epsilon, bounds[1])

    def uphill(step: tf.Tensor, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # The weights are read, but not watched.
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            total = tf.reduce_sum(loss(x))
        moved = x + step_size * tf.sign(tape.gradient(total, x))
        return step + 1, tf.clip_by_value(moved, lower, upper)

    _, attacked = tf.while_loop(
        lambda step, _: step < steps,
        uphill,
        (tf.constant(0), images),
        shape_invariants=(tf.TensorShape([]), images.shape),
        maximum_iterations=steps,  # XLA wants to know
        parallel_iterations=1,
    )
    return tf.stop_gradient(attacked)


def check_attack(*, epsilon: float, step_size: float, steps: int) -> None:
    """Raises a UsageError unless ε ≥ 0, the step size is positive, and there is a step."""
    if not 0 <= epsilon < float("inf"):
        raise UsageError(f"Expected epsilon >= 0. Received: {epsilon}")
    if not 0 < step_size < float("inf"):
        raise UsageError(f"Expected step_size > 0. Received: {step_size}")
    if steps < 1:
        raise UsageError(f"Expected steps >= 1. Received: {steps}")
