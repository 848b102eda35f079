"""A pretrained text encoder with a head for classes, or for one number."""

import functools

import keras
from keras import ops

from tfcaps.errors import UsageError, positive_int
from tfcaps.models.image_classifier import policy_name
from tfcaps.models.pretrained import HEAD_DEVIATION, keras_hub

POOLINGS = ("first", "mean")


@keras.saving.register_keras_serializable(package="tfcaps")
class MeanOverTokens(keras.layers.Layer):
    """Mean of the vectors at the places that aren't padding.

    Call arguments:
        vectors: `(B, T, H)`.
        padding_mask: `(B, T)`, 0 where there is nothing.

    Returns:
        `(B, H)`.

    Example:

    >>> import numpy as np
    >>> vectors = np.array([[[1.0], [3.0], [9.0]]], "float32")
    >>> float(MeanOverTokens()(vectors, np.array([[1, 1, 0]]))[0, 0])
    2.0
    """

    def call(self, vectors, padding_mask):
        weights = ops.cast(padding_mask, vectors.dtype)[..., None]
        return ops.sum(vectors * weights, axis=1) / ops.maximum(ops.sum(weights, axis=1), 1)

    def compute_output_shape(self, vectors_shape, padding_mask_shape=None):
        return (vectors_shape[0], vectors_shape[-1])


@keras.saving.register_keras_serializable(package="tfcaps")
class TextClassifier(keras.Model):
    """An encoder below dropout and a dense layer: token ids `(B, T)` to outputs `(B, K)`.

    Args:
        backbone: an encoder of KerasHub, see `TextEncoder`.
        num_outputs: K, logits of classes, or 1 for a number.
        pooling: what the head sees, `(B, H)`: "first", the first token's vector, through the
            encoder's own dense layer with tanh (BERT), or a new one (RoBERTa and others); or
            "mean", over all tokens. Default "first".
        dropout: rate before each dense layer of the head. Default 0.1.
        dtype: Keras dtype policy of the head. Default: the global one. Outputs are float32.
        name: Default: that of the class.

    Raises:
        ValueError: an argument is out of its range.

    Source: Devlin et al., BERT, arXiv 1810.04805; Liu et al., RoBERTa, arXiv 1907.11692.
    """

    def __init__(self, backbone, num_outputs, pooling="first", dropout=0.1, dtype=None, name=None):
        outputs = positive_int("num_outputs", num_outputs)
        if pooling not in POOLINGS:
            raise UsageError(
                f"Expected pooling to be one of {', '.join(POOLINGS)}. Received: {pooling!r}"
            )
        dtype = policy_name(dtype)
        inputs = {
            key: keras.Input(spec.shape[1:], dtype=spec.dtype, name=key)
            for key, spec in backbone.input.items()
        }
        x = _pooled(backbone, inputs, pooling, dropout, dtype)
        x = keras.layers.Dropout(dropout, dtype=dtype, name="dropout")(x)
        x = keras.layers.Dense(
            outputs, kernel_initializer=_drawn(), dtype="float32", name="logits"
        )(x)
        super().__init__(inputs=inputs, outputs=x, name=name)
        self.backbone = backbone
        self._choices = {
            "num_outputs": outputs,
            "pooling": pooling,
            "dropout": dropout,
            "dtype": dtype,
        }

    # Cached: saving a model looks at each of its attributes, these among them.
    @functools.cached_property
    def classifier(self) -> keras.Model:
        """Model to class probabilities `(B, K)`; of one output, to that."""
        scores = self.output
        if self._choices["num_outputs"] > 1:
            scores = keras.layers.Softmax(dtype="float32", name="scores")(scores)
        return keras.Model(self.input, scores, name="classifier")

    def get_config(self):
        backbone = keras.saving.serialize_keras_object(self.backbone)
        return {"backbone": backbone, **self._choices, "name": self.name}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        keras_hub()  # Keras knows its classes once they are imported
        backbone = keras.saving.deserialize_keras_object(config["backbone"], custom_objects)
        return cls(**{**config, "backbone": backbone})


def _pooled(backbone, inputs, pooling, dropout, dtype):
    """The vectors `(B, H)` that the head sees."""
    encoded = backbone(inputs)
    own = isinstance(encoded, dict)
    vectors = encoded["sequence_output"] if own else encoded
    if pooling == "mean":
        if own:
            backbone.get_layer("pooled_dense").trainable = False  # nothing would teach it
        return MeanOverTokens(dtype=dtype, name="mean")(vectors, inputs["padding_mask"])
    if own:
        return encoded["pooled_output"]
    first = keras.layers.Dropout(dropout, dtype=dtype, name="first_dropout")(vectors[:, 0])
    return keras.layers.Dense(
        vectors.shape[-1],
        activation="tanh",
        kernel_initializer=_drawn(),
        dtype=dtype,
        name="pooled",
    )(first)


def _drawn():
    return keras.initializers.TruncatedNormal(stddev=HEAD_DEVIATION)
