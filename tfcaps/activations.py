"""Activations that make capsules of vectors, for the layers of Keras.

They are saved with a network, as Keras' own are.

Example:

>>> import keras
>>> layer = keras.layers.Dense(8, activation=squash)        # one capsule of dimension 8
>>> keras.layers.Dense.from_config(layer.get_config()).activation is squash
True
"""

from tfcaps.ops import exponential_squash as exponential_squash, squash as squash
