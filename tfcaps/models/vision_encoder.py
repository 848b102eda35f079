"""Pretrained vision transformers of KerasHub: opened, and without some of their layers."""

import dataclasses
import os
from collections.abc import Collection
from typing import Any

from tfcaps.models.pretrained import (
    encoder_layers,
    keras_hub,
    open_backbone,
    told,
    without_layers,
)

_KINDS = ("ViTBackbone",)
_WANTED = "a ViTBackbone, or the run of a residual network, for images"
_MAX_PIXEL = 255.0
# How KerasHub calls the file of what is done to pixels; Hugging Face's format has another one.
_CONVERTERS = ("image_converter.json", "preprocessor_config.json")


@dataclasses.dataclass(frozen=True)
class VisionEncoder:
    """A pretrained encoder of images.

    Args:
        name: what it was opened by.
        backbone: from images `(B, H, W, C)` to vectors `(B, T, H)`; a model of KerasHub.
        converter: KerasHub's layer that turns pixels into what the backbone has learnt to see;
            None: it is not known, and pixels in [0, 1] are shown.
    """

    name: str
    backbone: Any
    converter: Any = None

    @property
    def num_layers(self) -> int:
        """L, how many layers there are."""
        return len(encoder_layers(self.backbone))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(H, W, C)` of the images that it takes."""
        height, width, channels = self.backbone.input.shape[1:]
        return height, width, channels

    @property
    def scale(self) -> float | list[float]:
        """What a pixel, 0 to 255, is multiplied by, of all channels or of each."""
        found = getattr(self.converter, "scale", None)
        return 1 / _MAX_PIXEL if found is None else _plain(found)

    @property
    def offset(self) -> float | list[float]:
        """What is added then."""
        found = getattr(self.converter, "offset", None)
        return 0.0 if found is None else _plain(found)

    def without(self, removed: Collection[int]) -> "VisionEncoder":
        """The encoder without some of its layers, see `without_layers`."""
        return dataclasses.replace(self, backbone=without_layers(self.backbone, removed))

    def save(self, folder: str | os.PathLike) -> None:
        """Writes a preset that KerasHub opens, `Backbone.from_preset`.

        Args:
            folder: is made, or has what of it there is replaced.
        """
        self.backbone.save_to_preset(os.fspath(folder))
        if self.converter is not None:
            self.converter.save_to_preset(os.fspath(folder))


def open_vision_encoder(name: str | os.PathLike, *, dtype: str | None = None) -> VisionEncoder:
    """Opens a pretrained vision transformer, ViT.

    Args:
        name: a preset of KerasHub, the folder of one, of a backbone or of a classifier, whose head
            is left out; or a folder in Hugging Face's format.
        dtype: Keras dtype policy. Default None: the global one.

    Raises:
        UsageError: it can't be opened, or is something else; or KerasHub isn't installed.
    """
    name = os.fspath(name)
    hub = keras_hub("vision transformers")
    backbone = open_backbone(name, _KINDS, wanted=_WANTED, dtype=dtype)
    converter = None
    files = [os.path.join(name, file) for file in _CONVERTERS]
    if not os.path.isdir(name) or any(map(os.path.isfile, files)):
        with told(name):
            converter = hub.layers.ImageConverter.from_preset(name)
    return VisionEncoder(name, backbone, converter)


def _plain(value: Any) -> float | list[float]:
    return [float(part) for part in value] if isinstance(value, (list, tuple)) else float(value)
