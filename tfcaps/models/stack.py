"""Stacks of capsule layers with residual connections, and the checks of their sizes."""

from typing import NamedTuple

import keras

from tfcaps.errors import UsageError, positive_int


class Tap(NamedTuple):
    """Symbolic tensors of one capsule layer."""

    name: str
    capsules: keras.KerasTensor
    coupling: keras.KerasTensor | None = None  # primary capsules are not routed


def residual_stack(x, layers, skip_distance, *, count_from_last_addition=False):
    """Applies capsule layers one after the other, with residual connections.

    The output of layer i (from 0) gets the output of layer i − k, as that was before its own
    addition, added, for i > 0 and equal shapes, where i mod k = 0, or, with
    `count_from_last_addition`, where the last addition (at first: layer 0) is k or more layers ago.
    There is no squash after the addition.

    Args:
        x: input capsules, symbolic.
        layers: capsule layers.
        skip_distance: k, or None for no residual connections.
        count_from_last_addition: see above. Default False.

    Returns:
        The list of the layers' `Tap`s, after the addition.

    Source: Gugglberger, Peer, Rodríguez-Sánchez, arXiv 2104.07393.
    """
    taps = []
    outputs = []
    last = 0
    for index, layer in enumerate(layers):
        x, coupling = layer(x, return_coupling=True)
        outputs.append(x)
        if skip_distance is not None and index >= skip_distance:
            distance = index - last
            due = (
                distance >= skip_distance
                if count_from_last_addition
                else (index % skip_distance == 0)
            )
            below = outputs[index - skip_distance]
            if due and below.shape == x.shape:
                x = keras.layers.Add(dtype=layer.dtype_policy, name=f"{layer.name}_skip")(
                    [x, below]
                )
                last = index
        taps.append(Tap(layer.name, x, coupling))
    return taps


def check_sizes(layers, dimensions):
    """Checks capsules and dimensions per layer and returns them as tuples of ints."""
    layers, dimensions = tuple(layers), tuple(dimensions)
    if len(layers) != len(dimensions):
        raise UsageError(
            "Expected as many dimensions as layers. "
            f"Received: {len(layers)} layers {layers}, {len(dimensions)} dimensions {dimensions}"
        )
    if len(layers) < 2:
        raise UsageError(f"Expected at least 2 layers. Received: {layers}")
    return (
        tuple(positive_int("every entry of layers", count) for count in layers),
        tuple(positive_int("every entry of dimensions", dim) for dim in dimensions),
    )


def check_skip_distance(skip_distance):
    """Checks a skip distance, which may be None."""
    if skip_distance is None:
        return None
    return positive_int("skip_distance", skip_distance)


def check_image_size(image_shape, smallest):
    """Checks that images are `(H, W, C)` with at least `smallest` pixels a side."""
    if len(image_shape) != 3:
        raise UsageError(f"Expected images of shape (H, W, C). Received: {tuple(image_shape)}")
    height, width, _ = image_shape
    if height < smallest or width < smallest:
        raise UsageError(
            f"Expected images of at least {smallest}×{smallest} pixels. Received: {height}×{width}"
        )
    return tuple(image_shape)
