"""The mathematics once more: float64 NumPy, straight from the formulas of docs/algorithms.md.

Nothing here imports the package under test. Symbols: B batch, I input capsules, O output capsules,
D input and E output capsule dimension; leading dimensions (batch, and place for convolutional
votes) are written `...`.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

EPSILON = 1e-8
EM_VARIANCE_FLOOR = 1e-4


def squash(s: np.ndarray) -> np.ndarray:
    """n/(1+n) · s/√n with n = Σs² + ε over the last axis."""
    n = np.sum(np.square(s), axis=-1, keepdims=True) + EPSILON
    return n / (1.0 + n) * s / np.sqrt(n)


def softmax(b: np.ndarray, axis: int) -> np.ndarray:
    """Softmax with the largest logit subtracted."""
    e = np.exp(b - np.max(b, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)


def lengths(capsules: np.ndarray) -> np.ndarray:
    """The Euclidean length of every capsule."""
    return np.linalg.norm(capsules, axis=-1)


def dense_votes(inputs: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """û[b,o,i,:] = W[o,i] u[b,i]: inputs (B, I, D), kernel (O, I, E, D) → (B, O, I, E)."""
    batch, in_capsules, _ = inputs.shape
    out_capsules, _, out_dimension, _ = kernel.shape
    votes = np.empty((batch, out_capsules, in_capsules, out_dimension))
    for b, o, i in itertools.product(range(batch), range(out_capsules), range(in_capsules)):
        votes[b, o, i] = kernel[o, i] @ inputs[b, i]
    return votes


def convolution(
    images: np.ndarray, kernel: np.ndarray, *, strides: int = 1, padding: str = "valid"
) -> np.ndarray:
    """Cross-correlation, place by place: images (B, H, W, C), kernel (k, l, C, F) → (B, H', W', F).

    "same" gives ceil(size / strides) places, and the odd pixel of padding goes to the end.
    """
    batch, *size, _ = images.shape
    windows = kernel.shape[:2]
    if padding == "same":
        places = [-(-n // strides) for n in size]
        missing = [
            max((p - 1) * strides + k - n, 0) for p, k, n in zip(places, windows, size, strict=True)
        ]
        pads = [(m // 2, m - m // 2) for m in missing]
        images = np.pad(images, [(0, 0), *pads, (0, 0)])
    else:
        places = [(n - k) // strides + 1 for n, k in zip(size, windows, strict=True)]
    result = np.empty((batch, *places, kernel.shape[-1]))
    for y, x in itertools.product(*map(range, places)):
        top, left = y * strides, x * strides
        window = images[:, top : top + windows[0], left : left + windows[1], :]
        result[:, y, x, :] = np.einsum("bklc,klcf->bf", window, kernel)
    return result


def conv_votes(
    inputs: np.ndarray,
    kernel: np.ndarray,
    out_capsules: int,
    *,
    strides: int = 1,
    padding: str = "same",
) -> np.ndarray:
    """Each input type's map convolved with the one shared kernel, D → O·E channels.

    Inputs (B, H, W, I, D), kernel (k, k, D, O·E) → votes (B, H', W', O, I, E).
    """
    maps = [
        convolution(inputs[:, :, :, i, :], kernel, strides=strides, padding=padding)
        for i in range(inputs.shape[3])
    ]
    by_type = [m.reshape((*m.shape[:-1], out_capsules, -1)) for m in maps]
    return np.stack(by_type, axis=-2)


def _weighted_sum(coupling: np.ndarray, votes: np.ndarray) -> np.ndarray:
    return np.einsum("...oi,...oie->...oe", coupling, votes)


def _bias(bias: np.ndarray | None) -> np.ndarray | float:
    return 0.0 if bias is None else bias


def rba(
    votes: np.ndarray,
    activations: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    iterations: int = 2,
) -> tuple[np.ndarray, np.ndarray]:
    """Routing by agreement: the couplings grow with the inner product of vote and output."""
    del activations  # a vote's own length is all that counts
    b = np.zeros(votes.shape[:-1])
    for r in range(1, iterations + 1):
        c = softmax(b, axis=-2)
        v = squash(_weighted_sum(c, votes) + _bias(bias))
        if r < iterations:
            b = b + np.einsum("...oie,...oe->...oi", votes, v)
    return v, c


def em(
    votes: np.ndarray,
    activations: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    iterations: int = 2,
    beta_a: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """EM routing with the relative cost."""
    out_capsules, _, dimension = votes.shape[-3:]

    def floor(mu, spread):
        return np.mean(1e-2 * spread + 1e-6 * mu**2, axis=(-2, -1), keepdims=True) + 1e-16

    def logit(mu, variance, total, _):
        share = total / (np.mean(total, axis=-1, keepdims=True) + EPSILON)
        cost = np.mean(np.log(np.sqrt(variance)), axis=-1) - np.log(share + 1e-3) / dimension
        if out_capsules > 1:
            cost = cost - np.mean(cost, axis=-1, keepdims=True)
        else:
            cost = cost - np.mean(np.log(np.sqrt(variance + np.square(mu))), axis=-1)
        cost = cost / np.sqrt(1.0 + 4.0 * np.mean(cost**2, axis=-1, keepdims=True))
        return 8.0 * (beta_a - cost)

    return _clusters(votes, activations, bias, iterations, floor, logit, 1.0 / dimension)


def published_em(
    votes: np.ndarray,
    activations: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    iterations: int = 2,
    beta_a: np.ndarray,
    beta_u: np.ndarray,
    inverse_temperature: float = 0.01,
    inverse_temperature_decay: float = 0.95,
) -> tuple[np.ndarray, np.ndarray]:
    """EM routing with the published cost.

    The inverse temperature of iteration r, from 1, is λ_r = λ · (1 - 0.95^r).
    """

    def logit(_, variance, total, r):
        cost = (variance.shape[-1] * beta_u + np.sum(np.log(variance), axis=-1)) * total
        return inverse_temperature * (1.0 - inverse_temperature_decay**r) * (beta_a - cost)

    return _clusters(votes, activations, bias, iterations, lambda *_: EM_VARIANCE_FLOOR, logit, 1.0)


def _clusters(votes, activations, bias, iterations, floor, logit, tau):
    """EM routing of vector capsules: output a · μ/‖μ‖, coupling R of the last M step."""
    *leading, out_capsules, in_capsules, _ = votes.shape
    if bias is not None:
        votes = votes + bias[:, None, :]
    assignment = np.full((*leading, out_capsules, in_capsules), 1.0 / out_capsules)
    for r in range(1, iterations + 1):
        # M step
        w = assignment * activations[..., None, :]
        total = np.sum(w, axis=-1)
        mu = _weighted_sum(w, votes) / (total[..., None] + EPSILON)
        deviations = np.square(votes - mu[..., None, :])
        spread = _weighted_sum(w, deviations) / (total[..., None] + EPSILON)
        variance = spread + floor(mu, spread)
        log_a = -np.logaddexp(0.0, -logit(mu, variance, total, r))
        # E step, in the log domain
        if r < iterations:
            log_density = -0.5 * np.sum(np.log(variance), axis=-1)[..., None] - np.sum(
                deviations / (2.0 * variance[..., None, :]), axis=-1
            )
            assignment = softmax(log_a[..., None] + tau * log_density, axis=-2)
    capsules = np.exp(log_a)[..., None] * mu / np.linalg.norm(mu, axis=-1, keepdims=True)
    return capsules, assignment


def sda(
    votes: np.ndarray,
    activations: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    iterations: int = 2,
    scale: str = "sample",
) -> tuple[np.ndarray, np.ndarray]:
    """Scaled-distance agreement: the nearest output capsule gets the most.

    The mean distance d_o is taken over O and I (scale "sample": per sample and place), or over
    everything (scale "batch").
    """
    out_capsules = votes.shape[-3]
    norms = np.linalg.norm(votes, axis=-1)
    limit = np.broadcast_to(activations[..., None, :], norms.shape)
    votes = votes * np.where(norms > limit, limit / norms, 1.0)[..., None]
    b = np.zeros(votes.shape[:-1])
    for r in range(1, iterations + 1):
        c = softmax(b, axis=-2)
        v = squash(_weighted_sum(c, votes) + _bias(bias))
        if r < iterations and out_capsules > 1:
            d = np.linalg.norm(v[..., None, :] - votes, axis=-1)
            axes = (-2, -1) if scale == "sample" else None
            d_o = np.mean(d, axis=axes, keepdims=True)
            t = (np.log(0.9 * (out_capsules - 1)) - np.log(0.1)) / (0.5 * d_o - d_o)
            b = t * d
    return v, c


def sda_batch(
    votes: np.ndarray,
    activations: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    iterations: int = 2,
) -> tuple[np.ndarray, np.ndarray]:
    """Scaled-distance agreement with one mean distance for the whole batch."""
    return sda(votes, activations, bias, iterations=iterations, scale="batch")


def mean(
    votes: np.ndarray,
    activations: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    iterations: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """The uniform coupling 1/O, one pass."""
    del activations, iterations
    c = np.full(votes.shape[:-1], 1.0 / votes.shape[-3])
    return squash(_weighted_sum(c, votes) + _bias(bias)), c


def exponential_squash(s: np.ndarray) -> np.ndarray:
    """(1 - e^-n) s/n with n = ‖s‖ over the last axis; zero stays zero."""
    n = np.linalg.norm(s, axis=-1, keepdims=True)
    return -np.expm1(-n) * s / np.where(n == 0.0, 1.0, n)


def attention(
    votes: np.ndarray,
    activations: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    iterations: int = 1,
    prior: np.ndarray | float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Self-attention: a vote's products with all votes for the same capsule, over √E."""
    del activations, iterations
    products = np.einsum("...oie,...oje->...oij", votes, votes) / np.sqrt(votes.shape[-1])
    c = softmax(np.sum(products, axis=-1), axis=-2)
    return exponential_squash(_weighted_sum(c + prior, votes) + _bias(bias)), c


ROUTINGS: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    "rba": rba,
    "em": em,
    "em-published": published_em,
    "sda": sda,
    "sda-batch": sda_batch,
    "mean": mean,
    "attention": attention,
    "attention-prior": attention,
}


def primary_capsule(
    images: np.ndarray, *, kernel: np.ndarray, bias: np.ndarray, dim: int, strides: int
) -> np.ndarray:
    """squash(reshape(conv)): images (B, H, W, C) → (B, H'·W'·channels, dim)."""
    maps = convolution(images, kernel, strides=strides) + bias
    return squash(maps.reshape((len(maps), -1, dim)))


def depthwise_primary_capsule(
    images: np.ndarray, *, kernel: np.ndarray, bias: np.ndarray, dim: int
) -> np.ndarray:
    """One convolution per channel (B, H, W, C), as large as the map → (B, C/dim, dim)."""
    channels = [
        convolution(images[..., c : c + 1], kernel[..., c : c + 1])[:, 0, 0]
        for c in range(images.shape[-1])
    ]
    maps = np.concatenate(channels, axis=-1) + bias
    return exponential_squash(maps.reshape((len(maps), -1, dim)))


def dense_capsule(
    inputs: np.ndarray,
    routing: str,
    *,
    kernel: np.ndarray,
    bias: np.ndarray | None = None,
    **options,
) -> tuple[np.ndarray, np.ndarray]:
    """Capsules (B, I, D) → (B, O, E) and the coupling (B, O, I)."""
    votes = dense_votes(inputs, kernel)
    return ROUTINGS[routing](votes, lengths(inputs), bias, iterations=2, **options)


def mean_length(inputs: np.ndarray, window: int, *, strides: int, padding: str) -> np.ndarray:
    """The mean length of the capsules (B, H, W, I, D) below a kernel; padding doesn't count."""
    arguments = {"strides": strides, "padding": padding}
    ones = np.ones((window, window, 1, 1))
    sums = conv_votes(lengths(inputs)[..., None], ones, 1, **arguments)
    counts = conv_votes(np.ones_like(inputs[..., :1]), ones, 1, **arguments)
    return (sums / counts)[..., 0, :, 0]


def conv_capsule(
    inputs: np.ndarray,
    routing: str,
    *,
    kernel: np.ndarray,
    out_capsules: int,
    bias: np.ndarray | None = None,
    strides: int = 1,
    padding: str = "same",
    **options,
) -> tuple[np.ndarray, np.ndarray]:
    """Capsules (B, H, W, I, D) → (B, H', W', O, E) and the coupling (B, H', W', O, I)."""
    votes = conv_votes(inputs, kernel, out_capsules, strides=strides, padding=padding)
    activations = mean_length(inputs, len(kernel), strides=strides, padding=padding)
    return ROUTINGS[routing](votes, activations, bias, iterations=2, **options)


def margin_loss(
    one_hot: np.ndarray,
    class_lengths: np.ndarray,
    *,
    m_plus: float = 0.9,
    m_minus: float = 0.1,
    down_weight: float = 0.5,
) -> float:
    """Σ_k T max(0, m⁺ - ‖v‖)² + λ (1 - T) max(0, ‖v‖ - m⁻)², the mean over the batch."""
    total = 0.0
    for targets, sample in zip(one_hot, class_lengths, strict=True):
        for target, length in zip(targets, sample, strict=True):
            total += target * max(0.0, m_plus - length) ** 2
            total += down_weight * (1.0 - target) * max(0.0, length - m_minus) ** 2
    return total / len(one_hot)


def reconstruction_loss(images: np.ndarray, reconstructions: np.ndarray) -> float:
    """The squared error summed over an image, averaged over the batch."""
    return float(np.sum(np.square(images - reconstructions)) / len(images))


def finite_differences(
    function: Callable[..., float], arguments: Sequence[np.ndarray], step: float = 1e-6
) -> list[np.ndarray]:
    """Central differences of a scalar function, entry by entry, for every argument."""
    arguments = [np.array(a, dtype=np.float64) for a in arguments]
    gradients = []
    for argument in arguments:
        gradient = np.empty_like(argument)
        for index in np.ndindex(argument.shape):
            original = argument[index]
            argument[index] = original + step
            above = function(*arguments)
            argument[index] = original - step
            below = function(*arguments)
            argument[index] = original
            gradient[index] = (above - below) / (2.0 * step)
        gradients.append(gradient)
    return gradients


def mixed_difference(
    function: Callable[..., float],
    arguments: Sequence[np.ndarray],
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray],
    step: float = 2e-4,
) -> float:
    """The second derivative of a scalar function, once in each of two directions."""

    def at(a, b):
        moved = zip(arguments, first, second, strict=True)
        return function(*(x + step * (a * v + b * u) for x, v, u in moved))

    return (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / (4.0 * step**2)


def slow_bundles(activations, labels, *, learning_rate, batch_size, amplitude, dtype="float32"):
    """Number of bundles and bundle entropy, by comparing each row with every bundle so far."""
    number = np.float64 if activations.dtype == np.float64 else np.dtype(dtype).type
    step = number(learning_rate / batch_size)
    bundles = []
    for row, label in zip(activations.reshape(len(activations), -1), labels, strict=True):
        q = number(amplitude) - row.astype(number) * step
        for first, members in bundles:
            if all(one == other for one, other in zip(first, q, strict=True)):
                members.append(label)
                break
        else:
            bundles.append((q, [label]))
    entropy = 0.0
    for _, members in bundles:
        shares = np.array([members.count(label) for label in set(members)]) / len(members)
        entropy += len(members) / len(labels) * -(shares * np.log(shares)).sum()
    return len(bundles), abs(entropy)
