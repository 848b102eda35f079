"""The network that draws an image from its capsules."""

import math
from typing import Any

import keras


def decoder(
    capsules_shape: tuple[int, int],
    image_shape: tuple[int, int, int],
    name: str = "decoder",
    dtype: Any = None,
) -> keras.Model:
    """Reconstruction network: flattened capsules → 512 ReLU → 1024 ReLU → pixels in [0, 1].

    Args:
        capsules_shape: `(K, E)`, the class capsules.
        image_shape: `(H, W, C)`.
        name: Default "decoder".
        dtype: Keras dtype policy of the hidden layers. Default: the global one.

    Returns:
        A model from capsules `(B, K, E)` to images `(B, H, W, C)`.

    Example:

    >>> decoder((10, 16), (28, 28, 1)).output_shape
    (None, 28, 28, 1)

    Source: Sabour, Frosst, Hinton: Dynamic routing between capsules, arXiv 1710.09829.
    """
    inputs = keras.Input(capsules_shape, name="capsules")
    x = keras.layers.Flatten(name="flatten", dtype=dtype)(inputs)
    x = keras.layers.Dense(512, activation="relu", dtype=dtype, name="hidden_1")(x)
    x = keras.layers.Dense(1024, activation="relu", dtype=dtype, name="hidden_2")(x)
    # float32 under mixed precision: the loss sums over all pixels.
    x = keras.layers.Dense(
        math.prod(image_shape), activation="sigmoid", dtype="float32", name="pixels"
    )(x)
    outputs = keras.layers.Reshape(image_shape, dtype="float32", name="image")(x)
    return keras.Model(inputs, outputs, name=name)
