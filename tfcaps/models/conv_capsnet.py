"""Convolutional capsule networks of any depth."""

import keras

from tfcaps import routing as routings
from tfcaps.layers import ConvCapsule, DenseCapsule
from tfcaps.models.capsule_network import CapsuleNetwork
from tfcaps.models.stack import (
    check_image_size,
    check_sizes,
    check_skip_distance,
    residual_stack,
)

STEM_FILTERS = 128
STEM_KERNEL = 7
STEM_STRIDES = 2


@keras.saving.register_keras_serializable(package="tfcaps")
class ConvCapsNet(CapsuleNetwork):
    """Convolutional capsule network: a stem, convolutional capsule layers, one dense one on top.

    A 7×7 convolution of 128 filters with stride 2 and ReLU, seen as one capsule type of dimension
    128; a 3×3 convolutional capsule layer for each entry but the last; a dense capsule layer for
    the classes. Residual connections as in `CapsNet`, counted from the last addition.

    Args:
        input_shape: `(H, W, C)` of the images, at least 7×7 pixels.
        layers: capsule types per layer, and classes. Default (32, 32, 10).
        dimensions: capsule dimension per layer, as many. Default (8, 8, 16).
        routing: name, configuration or instance; each layer gets one of its own. Default "rba".
        use_bias: whether capsules have a bias. Default True.
        skip_distance: k, or None for no residual connections. Default None.
        use_reconstruction: whether there is a decoder. Default True.
        mask: "none" or "label", see `CapsuleNetwork`. Default "none".
        dtype: Keras dtype policy of the layers. Default: the global one.
        name: Default "conv_capsnet".

    Raises:
        ValueError: an argument is out of its range, or the images are too small.

    Example:

    >>> model = ConvCapsNet((28, 28, 1), layers=(4, 4, 10), dimensions=(8, 8, 16))
    >>> model.output_shape["lengths"]
    (None, 10)

    Source: Gugglberger, Peer, Rodríguez-Sánchez, arXiv 2104.07393.
    """

    def __init__(
        self,
        input_shape,
        layers=(32, 32, 10),
        dimensions=(8, 8, 16),
        routing="rba",
        use_bias=True,
        skip_distance=None,
        use_reconstruction=True,
        mask="none",
        dtype=None,
        name="conv_capsnet",
    ):
        dtype = keras.dtype_policies.get(dtype or keras.config.dtype_policy()).name
        layers, dimensions = check_sizes(layers, dimensions, at_least=2)
        skip_distance = check_skip_distance(skip_distance)
        input_shape = check_image_size(input_shape, STEM_KERNEL)
        routing = routings.serialize(routings.get(routing))
        images = keras.Input(input_shape, name="image")
        maps = keras.layers.Conv2D(
            STEM_FILTERS,
            STEM_KERNEL,
            strides=STEM_STRIDES,
            activation="relu",
            dtype=dtype,
            name="stem",
        )(images)
        stem = keras.layers.Reshape(
            (*maps.shape[1:3], 1, STEM_FILTERS), dtype=dtype, name="stem_capsules"
        )(maps)
        *convolutional, top = [
            (f"capsules_{index}", *sizes)
            for index, sizes in enumerate(zip(layers, dimensions, strict=True), start=1)
        ]
        taps = residual_stack(
            stem,
            [
                ConvCapsule(
                    count,
                    dim,
                    routing=routings.get(routing),
                    use_bias=use_bias,
                    dtype=dtype,
                    name=layer_name,
                )
                for layer_name, count, dim in convolutional
            ],
            skip_distance,
            count_from_last_addition=True,
        )
        layer_name, count, dim = top
        classes = DenseCapsule(
            count, dim, routings.get(routing), use_bias=use_bias, dtype=dtype, name=layer_name
        )
        taps += residual_stack(taps[-1].capsules, [classes], skip_distance=None)
        super().__init__(
            images,
            taps,
            use_reconstruction=use_reconstruction,
            mask=mask,
            dtype=dtype,
            name=name,
        )
        self._config = {
            "input_shape": input_shape,
            "layers": layers,
            "dimensions": dimensions,
            "routing": routing,
            "use_bias": use_bias,
            "skip_distance": skip_distance,
            "use_reconstruction": use_reconstruction,
            "mask": mask,
            "dtype": dtype,
            "name": name,
        }
