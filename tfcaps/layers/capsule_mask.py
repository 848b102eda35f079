"""All but one capsule set to zero."""

import keras
from keras import ops

from tfcaps import labels
from tfcaps.ops import safe_norm


@keras.saving.register_keras_serializable(package="tfcaps")
class CapsuleMask(keras.layers.Layer):
    """Keeps one capsule of each sample and sets the others to zero.

    The kept one is the label's where a label is given, as in training, and else the longest.

    Call arguments:
        inputs: capsules `(B, O, E)`.
        label: one-hot labels `(B, O)` or None. A row of zeros says that the sample's label isn't
            known. Numbers outside of [0, 1] make its capsules NaN. Default None.

    Returns:
        Capsules `(B, O, E)`.

    Raises:
        UsageError: the label has another shape than `(B, O)`.

    Example:

    >>> import numpy as np
    >>> capsules = np.array([[[3.0, 4.0], [1.0, 0.0]]], "float32")
    >>> CapsuleMask()(capsules).numpy().tolist()
    [[[3.0, 4.0], [0.0, 0.0]]]
    >>> CapsuleMask()(capsules, label=np.array([[0.0, 1.0]], "float32")).numpy().tolist()
    [[[0.0, 0.0], [1.0, 0.0]]]

    Source: Sabour, Frosst, Hinton: Dynamic routing between capsules, arXiv 1710.09829.
    """

    def call(self, inputs, label=None):
        lengths = safe_norm(inputs)
        # Not argmax: Keras looks at the sign's bit in it, which ONNX and TFLite have no word for.
        _, longest = ops.top_k(lengths, 1)
        mask = ops.one_hot(longest[..., 0], inputs.shape[-2], dtype=inputs.dtype)
        if label is not None:
            label = labels.multi_hot(ops.convert_to_tensor(label), lengths)
            is_known = ops.any(label != 0, axis=-1, keepdims=True)
            mask = ops.where(is_known, label, mask)
        return inputs * ops.expand_dims(mask, -1)

    def compute_output_shape(self, inputs_shape, label_shape=None):
        return inputs_shape
