"""LeNet-5, the first of the convolutional networks that are still in use."""

import keras

from tfcaps.errors import UsageError, positive_int
from tfcaps.models.image_classifier import ImageClassifier, check_image_shape, policy_name

_SMALLEST = 16  # pixels, of which one place is left below the dense layers
_FILTERS = (6, 16)
_UNITS = (120, 84)


@keras.saving.register_keras_serializable(package="tfcaps")
class LeNet(ImageClassifier):
    """LeNet-5: images `(B, H, W, C)` to logits `(B, K)`.

    Two 5×5 convolutions with 6 and 16 filters, each with tanh and a 2×2 mean, then dense layers of
    120 and 84 units with tanh. Of images of 32×32 these are the published layers, but that each
    filter sees all channels and that the last layer is a linear one; of others, the layer of 120
    units sees all places, as it does there.

    Args:
        input_shape: `(H, W, C)` of the images, at least 16×16.
        num_classes: K.
        dtype: Keras dtype policy of the layers. Default: the global one. Logits are float32.
        name: Default: that of the class.

    Raises:
        ValueError: an argument is out of its range.

    Example:

    >>> LeNet((32, 32, 1), 10).count_params()  # 156 + 2416 + 48120 + 10164 + 850
    61706

    Source: LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition,
    Proceedings of the IEEE, 1998.
    """

    def __init__(self, input_shape, num_classes, dtype=None, name=None):
        shape, dtype = check_image_shape(input_shape), policy_name(dtype)
        classes = positive_int("num_classes", num_classes)
        if min(shape[:2]) < _SMALLEST:
            raise UsageError(
                f"Expected images of at least {_SMALLEST}×{_SMALLEST} pixels for LeNet. "
                f"Received: {shape[0]}×{shape[1]}"
            )
        images = keras.Input(shape, name="image")
        x = images
        for index, filters in enumerate(_FILTERS, start=1):
            x = keras.layers.Conv2D(
                *(filters, 5), activation="tanh", dtype=dtype, name=f"conv_{index}"
            )(x)
            x = keras.layers.AveragePooling2D(2, dtype=dtype, name=f"pooling_{index}")(x)
        x = keras.layers.Flatten(dtype=dtype, name="places")(x)
        for index, units in enumerate(_UNITS, start=1):
            x = keras.layers.Dense(units, activation="tanh", dtype=dtype, name=f"dense_{index}")(x)
        logits = keras.layers.Dense(classes, dtype="float32", name="logits")(x)
        config = {"input_shape": shape, "num_classes": classes, "dtype": dtype}
        super().__init__(images, logits, config, name)
