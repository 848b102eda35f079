"""A plain convolutional network."""

import keras

from tfcaps.errors import UsageError, positive_int
from tfcaps.models.arguments import argument
from tfcaps.models.image_classifier import ImageClassifier, check_image_shape, policy_name


@keras.saving.register_keras_serializable(package="tfcaps")
class ConvNetwork(ImageClassifier):
    """A few convolutions and a dense layer: images `(B, H, W, C)` to logits `(B, K)`.

    For each entry of `filters` a 3×3 convolution, batch normalisation, ReLU and a 2×2 pooling that
    takes the largest; then the mean over all places. Images may have any size.

    Args:
        input_shape: `(H, W, C)` of the images.
        num_classes: K.
        filters: of each convolution. Default (32, 64, 128).
        dtype: Keras dtype policy of the layers. Default: the global one. Logits are float32.
        name: Default: that of the class.

    Raises:
        ValueError: an argument is out of its range.

    Example:

    >>> import numpy as np
    >>> model = ConvNetwork((9, 9, 1), 3, filters=(4, 8))
    >>> tuple(model(np.zeros((5, 9, 9, 1), "float32")).shape), model.filters
    ((5, 3), (4, 8))
    """

    filters = argument("filters", "Of each convolution.")

    def __init__(self, input_shape, num_classes, filters=(32, 64, 128), dtype=None, name=None):
        filters = tuple(positive_int("every number of filters", each) for each in filters)
        if not filters:
            raise UsageError("Expected at least one convolution. Received: filters=()")
        shape, dtype = check_image_shape(input_shape), policy_name(dtype)
        classes = positive_int("num_classes", num_classes)
        images = keras.Input(shape, name="image")
        x = images
        for index, count in enumerate(filters, start=1):
            for layer in (
                keras.layers.Conv2D(
                    *(count, 3),
                    padding="same",
                    use_bias=False,  # batch normalisation would subtract it again
                    kernel_initializer="he_normal",
                    dtype=dtype,
                    name=f"conv_{index}",
                ),
                keras.layers.BatchNormalization(momentum=0.9, dtype=dtype, name=f"bn_{index}"),
                keras.layers.ReLU(dtype=dtype, name=f"relu_{index}"),
                keras.layers.MaxPooling2D(padding="same", dtype=dtype, name=f"pooling_{index}"),
            ):
                x = layer(x)
        x = keras.layers.GlobalAveragePooling2D(dtype="float32", name="pooling")(x)
        logits = keras.layers.Dense(classes, dtype="float32", name="logits")(x)
        config = {"input_shape": shape, "num_classes": classes, "filters": filters, "dtype": dtype}
        super().__init__(images, logits, config, name)
