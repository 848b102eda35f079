"""Which pixels of an image a place of a feature map sees."""

import itertools
from collections.abc import Iterable
from typing import NamedTuple

import keras
import numpy as np

from tfcaps.layers import PlainBlock


class ReceptiveField(NamedTuple):
    """The squares of pixels that the places (H', W') of a map see.

    Args, all of them (vertical, horizontal):
        places: H' and W'.
        size: of one place's field, in pixels.
        stride: pixels from one place's field to the next one's.
        start: first pixel of the first place's field; negative where a layer pads.
        image: H and W of the image.
    """

    places: tuple[int, int]
    size: tuple[int, int]
    stride: tuple[int, int]
    start: tuple[int, int]
    image: tuple[int, int]

    @property
    def is_local(self) -> bool:
        """Whether there is a place that doesn't see the whole image.

        Example:

        >>> halves = ReceptiveField((1, 2), size=(1, 2), stride=(1, 2), start=(0, 0), image=(1, 4))
        >>> halves.is_local, halves._replace(size=(1, 9), start=(0, -4)).is_local
        (True, False)
        """
        whole = tuple(slice(0, pixels) for pixels in self.image)
        return any(self.box(row, column) != whole for row, column in np.ndindex(*self.places))

    def box(self, row: int, column: int) -> tuple[slice, slice]:
        """The pixels of one place's field that lie inside the image."""
        begins = (
            start + index * stride
            for start, index, stride in zip(self.start, (row, column), self.stride, strict=True)
        )
        rows, columns = (
            slice(min(max(begin, 0), limit - 1), max(min(begin + size, limit), 1))
            for begin, size, limit in zip(begins, self.size, self.image, strict=True)
        )
        return rows, columns

    def spread(self, values: np.ndarray) -> np.ndarray:
        """From values of places (H', W') to pixels (H, W): the mean of the places that see a pixel.

        What no place sees is NaN.

        Example:

        >>> field = ReceptiveField((1, 2), size=(1, 2), stride=(1, 1), start=(0, 0), image=(1, 4))
        >>> field.spread(np.array([[4.0, 2.0]])).tolist()
        [[4.0, 3.0, 2.0, nan]]
        """
        total, count = np.zeros(self.image), np.zeros(self.image)
        for (row, column), value in np.ndenumerate(values):
            total[self.box(row, column)] += value
            count[self.box(row, column)] += 1
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def receptive_field(layers: Iterable[keras.layers.Layer], image: tuple[int, int]) -> ReceptiveField:
    """Computes the fields of what a chain of layers ends with.

    Convolutions and poolings widen a field by `(kernel − 1) · dilation` of their input's strides;
    a block has the field of its two convolutions, in which that of its shortcut lies; all other
    layers leave the places as they are.

    Args:
        layers: from the image upwards; blocks among them are built.
        image: H and W, in pixels.

    Example:

    >>> conv = keras.layers.Conv2D
    >>> field = receptive_field([conv(256, 9), conv(256, 9, strides=2)], (28, 28))
    >>> field.places, field.size, field.stride
    ((6, 6), (17, 17), (2, 2))
    """
    axes = [_Axis(pixels) for pixels in image]
    for layer in itertools.chain.from_iterable(map(_parts, layers)):
        kernel = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
        if kernel is None:
            continue
        kernels = _pair(kernel)
        strides = _pair(getattr(layer, "strides", None) or 1)
        dilations = _pair(getattr(layer, "dilation_rate", 1))
        # Layers without the choice are valid convolutions.
        is_same = getattr(layer, "padding", "valid") == "same"
        axes = [
            axis.through(size, stride, dilation, is_same)
            for axis, size, stride, dilation in zip(axes, kernels, strides, dilations, strict=True)
        ]
    vertical, horizontal = axes
    places, size, stride, start = zip(vertical, horizontal, strict=True)
    height, width = image
    return ReceptiveField(places, size, stride, start, (height, width))


def _parts(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers, from the image upwards, that a layer's field is that of."""
    return [layer.conv1, layer.conv2] if isinstance(layer, PlainBlock) else [layer]


class _Axis(NamedTuple):
    """One direction of a `ReceptiveField`."""

    places: int
    size: int = 1
    stride: int = 1
    start: int = 0

    def through(self, kernel: int, strides: int, dilation: int, is_same: bool) -> "_Axis":
        reach = (kernel - 1) * dilation
        places = -(-(self.places if is_same else self.places - reach) // strides)
        # TensorFlow's rule: the smaller half of the padding comes first.
        padding = max((places - 1) * strides + reach + 1 - self.places, 0) if is_same else 0
        return _Axis(
            places,
            self.size + reach * self.stride,
            self.stride * strides,
            self.start - padding // 2 * self.stride,
        )


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    vertical, horizontal = (value, value) if isinstance(value, int) else value
    return vertical, horizontal
