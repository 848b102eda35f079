"""Dense capsule networks of any depth."""

import keras

from tfcaps import routing as routings
from tfcaps.layers import DenseCapsule, PrimaryCapsule
from tfcaps.models.capsule_network import CapsuleNetwork
from tfcaps.models.stack import (
    Tap,
    check_image_size,
    check_sizes,
    check_skip_distance,
    residual_stack,
)

STEM_KERNEL = 9
PRIMARY_KERNEL = 9
PRIMARY_STRIDES = 2


@keras.saving.register_keras_serializable(package="tfcaps")
class CapsNet(CapsuleNetwork):
    """Dense capsule network: convolution, primary capsules, dense capsule layers, decoder.

    A 9×9 convolution of `layers[0] · dimensions[0]` filters with ReLU; primary capsules of
    `layers[0]` channels and dimension `dimensions[0]`; a dense capsule layer for each further
    entry, the last of which are the classes.

    With skip distance k, the output of dense layer i (from 0) gets the output of layer i − k, as
    that was before its own addition, added, for i > 0, i mod k = 0 and equal shapes.

    Args:
        input_shape: `(H, W, C)` of the images, at least 17×17 pixels.
        layers: capsules per layer. Default (32, 32, 10).
        dimensions: capsule dimension per layer, as many. Default (8, 8, 16).
        routing: name, configuration or instance; each layer gets one of its own. Default "rba".
        use_bias: whether dense capsules have a bias. Default True.
        skip_distance: k, or None for no residual connections. Default None.
        use_reconstruction: whether there is a decoder. Default True.
        mask: "none" or "label", see `CapsuleNetwork`. Default "none".
        dtype: Keras dtype policy of the layers. Default: the global one.
        name: Default "capsnet".

    Raises:
        ValueError: an argument is out of its range, or the images are too small.

    Example:

    >>> model = CapsNet((28, 28, 1), layers=(4, 10), dimensions=(8, 16), routing="em")
    >>> model.output_shape["lengths"], model.output_shape["reconstruction"]
    ((None, 10), (None, 28, 28, 1))

    Sources: Sabour, Frosst, Hinton, arXiv 1710.09829; Peer, Stabinger, Rodríguez-Sánchez,
    arXiv 1905.08744; Gugglberger, Peer, Rodríguez-Sánchez, arXiv 2104.07393.
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
        name="capsnet",
    ):
        dtype = keras.dtype_policies.get(dtype or keras.config.dtype_policy()).name
        layers, dimensions = check_sizes(layers, dimensions, at_least=2)
        skip_distance = check_skip_distance(skip_distance)
        input_shape = check_image_size(input_shape, STEM_KERNEL + PRIMARY_KERNEL - 1)
        routing = routings.serialize(routings.get(routing))
        images = keras.Input(input_shape, name="image")
        maps = keras.layers.Conv2D(
            layers[0] * dimensions[0], STEM_KERNEL, activation="relu", dtype=dtype, name="stem"
        )(images)
        primary = PrimaryCapsule(
            layers[0],
            dimensions[0],
            PRIMARY_KERNEL,
            PRIMARY_STRIDES,
            dtype=dtype,
            name="primary_capsules",
        )(maps)
        dense = [
            DenseCapsule(
                count,
                dim,
                routings.get(routing),
                use_bias=use_bias,
                dtype=dtype,
                name=f"capsules_{index}",
            )
            for index, (count, dim) in enumerate(
                zip(layers[1:], dimensions[1:], strict=True), start=1
            )
        ]
        taps = [Tap("primary_capsules", primary), *residual_stack(primary, dense, skip_distance)]
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
