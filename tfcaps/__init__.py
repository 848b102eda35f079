"""Capsule networks, conflicting bundles and other tests of what is worth having in a network.

`import tfcaps` imports nothing else: a subpackage comes when it is asked for, as in
`tfcaps.layers.DenseCapsule`, and TensorFlow with the first one that computes.
"""

import lazy_loader
import wrapt

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def _offer_to_keras(_keras):
    from tfcaps import saving

    saving.offer_classes()


# Whoever imports Keras, now or later, can load what was saved with classes of this package.
wrapt.register_post_import_hook(_offer_to_keras, "keras")
# The same for `tfds.builder("abstract_shapes/svrt_1")`: only then the module of the builder comes.
_BUILDER = "tfcaps.datasets.abstract_shapes.builder:_known_from_now_on"
wrapt.register_post_import_hook(_BUILDER, "tensorflow_datasets")
