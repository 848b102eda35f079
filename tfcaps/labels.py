"""What is known about an example, in the shape of what a network says of it: nothing broadcasts."""

from keras import ops

from tfcaps.errors import UsageError

# What soft labels may be outside of [0, 1], as sums of shares are rounded.
_ROUNDING = 1e-3


def alike(y_true, y_pred, *, of: str, otherwise: str = ""):
    """Targets that have the shape of the predictions.

    A last axis of size 1 may be missing, as with Keras' own losses. Sizes that aren't known before
    the network runs are compared when it does.

    Args:
        y_true: tensor of targets.
        y_pred: tensor of predictions.
        of: what the targets are, for the message.
        otherwise: what to do if that isn't what they are. Default "".

    Returns:
        `y_true`, in shape and dtype of `y_pred`.

    Raises:
        UsageError: the shapes differ.
    """
    y_true = ops.cast(y_true, y_pred.dtype)
    expected = tuple(y_pred.shape)
    rank = _rank(y_true)
    if rank == len(expected) - 1 and expected[-1] == 1:
        y_true = ops.expand_dims(y_true, -1)
    shape = (None,) * len(expected) if rank is None else tuple(y_true.shape)
    if len(shape) != len(expected) or any(
        None not in sizes and len(set(sizes)) > 1 for sizes in zip(shape, expected, strict=True)
    ):
        raise UsageError(
            f"Expected {of} of shape {_shown(expected)}{otherwise}. Received: {_shown(shape)}"
        )
    if None in shape or None in expected:
        # To stack is the operation that broadcasts on no backend.
        y_true = ops.unstack(ops.stack([y_true, y_pred]), 2)[0]
    return y_true


def multi_hot(y_true, y_pred, *, of: str = "one-hot labels", otherwise: str = ""):
    """Labels `(..., K)` for predictions of that shape, each of them in [0, 1].

    What is outside becomes NaN, for the numbers aren't known before a network runs.

    Args and errors: see `alike`.
    """
    labels = alike(y_true, y_pred, of=of, otherwise=otherwise)
    is_share = (labels >= -_ROUNDING) & (labels <= 1.0 + _ROUNDING)
    return _or_nan(labels, is_share)


def one_hot(y_true, y_pred):
    """Integer labels as one-hot ones.

    A label that is no integer, or none from 0 to K − 1, becomes a row of NaN, for the numbers
    aren't known before a network runs.

    Args:
        y_true: tensor of classes, `(...)` or `(..., 1)`, of any dtype.
        y_pred: tensor of predictions, `(..., K)`.

    Returns:
        Tensor `(..., K)`, in the dtype of `y_pred`.

    Raises:
        UsageError: the shapes don't fit.
    """
    expected = tuple(y_pred.shape)
    rank = _rank(y_true)
    if rank is None:  # of TensorFlow's `fit`, after batches of both shapes
        y_true = ops.reshape(y_true, ops.shape(y_pred)[:-1])
    elif rank == len(expected) and y_true.shape[-1] == 1:
        y_true = ops.squeeze(y_true, -1)
    classes = alike(
        y_true,
        y_pred[..., 0],
        of="integer labels",
        otherwise=f" or {_shown((*expected[:-1], 1))}, while one-hot ones are for `MarginLoss`",
    )[..., None]
    numbers = ops.arange(expected[-1], dtype=y_pred.dtype)
    labels = ops.cast(classes == numbers, y_pred.dtype)
    is_class = ops.any(classes == numbers, axis=-1, keepdims=True)
    return _or_nan(labels, is_class)


def _or_nan(labels, is_right):
    """Labels, and NaN where they are wrong: a root of 1, or of −1, for ONNX chooses by products."""
    return labels * ops.sqrt(2.0 * ops.cast(is_right, labels.dtype) - 1.0)


def _rank(tensor) -> int | None:
    """The number of axes; None: TensorFlow doesn't know it yet."""
    try:
        return len(tensor.shape)
    except ValueError:
        return None


def _shown(shape) -> str:
    """A shape for a message, with B for a batch of any size."""
    return str(tuple(shape)).replace("None", "B")
