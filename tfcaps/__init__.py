"""Capsule networks, conflicting bundles and other tests of what is worth having in a network.

`import tfcaps` imports nothing else: a subpackage comes when it is asked for, as in
`tfcaps.layers.DenseCapsule`, and TensorFlow with the first one that computes.
"""

import importlib

import lazy_loader
import wrapt

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def _offer_to_keras(_keras):
    from tfcaps import saving

    saving.offer_classes()


# Whoever imports Keras, now or later, can load what was saved with classes of this package.
wrapt.register_post_import_hook(_offer_to_keras, "keras")


def _offer_to_tensorflow_datasets(_tfds):
    # By its name: the rows above `datasets` in the order of imports don't come to know it.
    importlib.import_module("tfcaps.datasets.abstract_shapes.builder")


# The same for `tfds.builder("abstract_shapes/svrt_1")`.
wrapt.register_post_import_hook(_offer_to_tensorflow_datasets, "tensorflow_datasets")
