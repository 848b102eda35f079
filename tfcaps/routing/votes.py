"""Votes of dense capsules."""

from keras import ops


def dense_votes(inputs, kernel):
    """Votes `û[b, o, i, :] = W[o, i] u[b, i, :]`.

    Args:
        inputs: capsules u, `(B, I, D)`.
        kernel: W, `(O, I, E, D)`.

    Returns:
        Votes `(B, O, I, E)`.
    """
    return ops.einsum("bid,oied->boie", inputs, kernel)
