"""Stacks of capsule layers with residual connections, and the checks of their sizes."""

from typing import NamedTuple

import keras

from tfcaps.errors import UsageError, positive_int
from tfcaps.layers import Gate
from tfcaps.models.registry import SKIP_KINDS


class Tap(NamedTuple):
    """Symbolic tensors of one capsule layer."""

    name: str
    capsules: keras.KerasTensor
    coupling: keras.KerasTensor | None = None  # primary capsules are not routed


class Skips(NamedTuple):
    """The residual connections of a stack, see `residual_stack`."""

    distance: int
    kind: str


def residual_stack(x, layers, skips, *, count_from_last_addition=False):
    """Applies capsule layers one after the other, with residual connections.

    A connection joins layer i − k (from 0) with layer i, for i > 0 and equal shapes, where
    i mod k = 0, or, with `count_from_last_addition`, where the last one (at first: layer 0) is k or
    more layers ago. Its kind is

    - "gated": the sum of what layer i − k gives to those above it, and of a learnt part of what
      layer i gives, 0.2 at first, see `tfcaps.layers.Gate`. So connections form a chain from the
      first layer to the last one, and the stack begins nearly as the one without what they span.
    - "published": the sum of what the two layers give, that of layer i − k as it was before its own
      addition.

    There is no squash after the addition.

    Args:
        x: input capsules, symbolic.
        layers: capsule layers.
        skips: `Skips`, or None for no residual connections.
        count_from_last_addition: see above. Default False.

    Returns:
        The list of the layers' `Tap`s, after the addition.

    Source: Gugglberger, Peer, Rodríguez-Sánchez, arXiv 2104.07393.
    """
    taps = []
    outputs = []  # what a connection adds
    last = 0
    for index, layer in enumerate(layers):
        x, coupling = layer(x, return_coupling=True)
        own = x
        if skips is not None and index >= skips.distance:
            due = (
                index - last >= skips.distance
                if count_from_last_addition
                else index % skips.distance == 0
            )
            below = outputs[index - skips.distance]
            if due and below.shape == x.shape:
                dtype = layer.dtype_policy
                gated = skips.kind == "gated"
                branch = Gate(dtype=dtype, name=f"{layer.name}_gate")(x) if gated else x
                x = keras.layers.Add(dtype=dtype, name=f"{layer.name}_skip")([branch, below])
                own = x if gated else own
                last = index
        outputs.append(own)
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


def check_skip_kind(skip_kind):
    """Checks what residual connections are."""
    if skip_kind not in SKIP_KINDS:
        raise UsageError(
            f"Expected skip_kind to be one of {', '.join(SKIP_KINDS)}. Received: {skip_kind!r}"
        )
    return skip_kind


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
