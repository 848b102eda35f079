"""A capsule network without surprises, to test what is made of one.

Images are (E, K, 1): element e of class capsule k *is* pixel (e, k), and the decoder puts the
capsules back into an image. So lengths, reconstructions and changes are known by hand.
"""

import keras
import numpy as np
import pytest

CLASSES = 3
DIMENSIONS = 2
CLASS_NAMES = ("ant", "bee", "cat")


class PlainCapsNet(keras.Model):
    """The interface of a capsule network over one trainable layer that starts as the identity."""

    def __init__(self, *, use_decoder: bool, mask: str):
        images = keras.Input((DIMENSIONS, CLASSES, 1))
        pixels = keras.layers.Flatten()(images)
        pixels = keras.layers.Dense(
            DIMENSIONS * CLASSES, use_bias=False, kernel_initializer="identity"
        )(pixels)
        rows = keras.layers.Reshape((DIMENSIONS, CLASSES))(pixels)
        capsules = keras.layers.Permute((2, 1))(rows)
        # A length of 0 has no gradient; so little more is beyond float32 for any other.
        lengths = keras.ops.sqrt(keras.ops.sum(capsules**2, axis=-1) + 1e-14)
        decoder = None
        if use_decoder:
            inputs = keras.Input((CLASSES, DIMENSIONS))
            image = keras.layers.Permute((2, 1))(inputs)
            decoder = keras.Model(inputs, keras.layers.Reshape((DIMENSIONS, CLASSES, 1))(image))
        outputs = {"lengths": lengths}
        if decoder is not None:
            outputs["reconstruction"] = decoder(capsules)
        super().__init__(images, outputs)
        self.classifier = keras.Model(images, lengths)
        self.decoder = decoder
        self.mask = mask
        # Two layers whose names are in reverse alphabetical order; couplings (B, O, I).
        hidden = keras.ops.zeros_like(capsules) + 1.0
        uniform = keras.ops.zeros_like(keras.ops.matmul(capsules, rows)) + 1.0 / CLASSES
        self.inspector = keras.Model(
            images,
            {
                "capsules": {"hidden": hidden, "classes": capsules},
                "couplings": {"hidden": uniform, "classes": keras.ops.softmax(uniform, axis=1)},
            },
        )


@pytest.fixture
def plain_capsnet():
    """Makes networks: `plain_capsnet(use_decoder=True, mask="none")`."""

    def make(*, use_decoder: bool = True, mask: str = "none") -> PlainCapsNet:
        keras.utils.set_random_seed(0)
        return PlainCapsNet(use_decoder=use_decoder, mask=mask)

    return make


@pytest.fixture
def class_names():
    """The names of the three classes."""
    return CLASS_NAMES


@pytest.fixture
def examples():
    """Images and labels: classes 0, 1, 2 and a second 0 that looks like a 2."""
    images = np.zeros((4, DIMENSIONS, CLASSES, 1), dtype="float32")
    images[[0, 1, 2, 3], :, [0, 1, 2, 2], 0] = [[0.6, 0.2], [0.7, 0.1], [0.5, 0.5], [0.4, 0.3]]
    return images, np.array([0, 1, 2, 0])
