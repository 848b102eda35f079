"""What every network that sees images has in common."""

import keras

from tfcaps.ops import for_batches_of_unknown_size, is_empty


@keras.saving.register_keras_serializable(package="tfcaps")
class ImageModel(keras.Model):
    """Base class: a functional model from images, of which there may be none.

    An empty batch gives empty outputs of the right shapes, from `predict` as well, with which Keras
    itself fails.

    Example:

    >>> import numpy as np
    >>> images = keras.Input((8, 8, 1))
    >>> model = ImageModel(images, keras.layers.Conv2D(4, 3)(images))
    >>> model.predict(np.zeros((0, 8, 8, 1))).shape
    (0, 6, 6, 4)
    """

    def __call__(self, inputs, *args, **kwargs):
        call = super().__call__
        return for_batches_of_unknown_size(lambda batch: call(batch, *args, **kwargs), inputs)

    def predict(self, x, *args, **kwargs):
        """As Keras' `predict`, which see."""
        if is_empty(x):
            outputs = self(x, training=False)
            return keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)
        return super().predict(x, *args, **kwargs)
