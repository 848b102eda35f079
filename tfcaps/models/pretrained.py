"""Pretrained backbones of KerasHub: opened, and without some of their layers."""

import contextlib
import os
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import keras

from tfcaps.errors import UsageError

HEAD_DEVIATION = 0.02  # of a new head, as BERT's and ViT's own weights were drawn
# What those say who download for KerasHub: requests, httpx, huggingface_hub.
_UNREACHABLE = ("ConnectionError", "Timeout", "TransportError", "LocalEntryNotFoundError")
_SHARING = ("AlbertBackbone",)


def keras_hub(purpose: str = "text encoders") -> Any:
    """The package keras_hub.

    Args:
        purpose: what it is needed for, for the message.

    Raises:
        UsageError: it isn't installed.
    """
    try:
        import keras_hub as package
    except ImportError:
        raise UsageError(
            f"Expected KerasHub for {purpose}: pip install 'tfcaps[nlp]'. "
            "Received: no package keras_hub"
        ) from None
    return package


def open_backbone(
    name: str, kinds: Collection[str], *, wanted: str, dtype: str | None = None
) -> Any:
    """Opens a pretrained encoder, a model of KerasHub.

    Args:
        name: a preset of KerasHub, the folder of one, or a folder in Hugging Face's format.
        kinds: names of the classes that it may be of.
        wanted: what these are, for the message.
        dtype: Keras dtype policy. Default None: the global one.

    Raises:
        UsageError: it can't be opened, is of another class, or KerasHub isn't installed.
    """
    models = keras_hub().models
    _check_name(name, models)
    policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy()).name
    with told(name):
        backbone = models.Backbone.from_preset(name, dtype=policy)
    kind = type(backbone).__name__
    if kind in _SHARING:
        raise UsageError(
            "Expected an encoder whose layers have weights of their own. "
            f"Received: {name}, an {kind}, whose layers share theirs: none can be removed"
        )
    if kind not in kinds:
        raise UsageError(f"Expected {wanted}. Received: {name}, a {kind}")
    return backbone


@contextlib.contextmanager
def told(name: str) -> Iterator[None]:
    """Tells in one sentence that KerasHub can't open what belongs to an encoder.

    Args:
        name: what it is opened by.

    Raises:
        UsageError: the block failed.
    """
    try:
        yield
    except Exception as error:  # KerasHub, its downloads and converters raise anything
        if any(cls.__name__ in _UNREACHABLE for cls in type(error).__mro__):
            raise UsageError(
                "Expected a network by which --model can be downloaded, or a folder. "
                f"Received: {name}, which isn't on this machine, and no connection"
            ) from error
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UsageError(
            f"Expected --model to be an encoder that KerasHub can open. Received: {name}, of which "
            f"it says: {lines[0].rstrip('.:')}"
        ) from error


def _check_name(name: str, models: Any) -> None:
    if os.path.isdir(name):
        if not os.path.isfile(os.path.join(name, "config.json")):
            raise UsageError(
                "Expected --model to be the folder of an encoder, of KerasHub or Hugging Face. "
                f"Received: {name}, which has no config.json"
            )
    elif "://" not in name and name not in models.Backbone.presets:
        raise UsageError(
            "Expected --model to be a folder, or a preset of KerasHub such as "
            f"bert_base_en_uncased. Received: {name}, which is neither"
        )


def encoder_layers(backbone: Any) -> list[keras.layers.Layer]:
    """The layers of an encoder that can be removed, from the lowest to the uppermost.

    Of a model of images they are inside one layer, as in KerasHub's ViT.
    """
    found = getattr(backbone, "transformer_layers", None)
    return list(found if found is not None else backbone.get_layer("vit_encoder").encoder_layers)


def without_layers(backbone: Any, removed: Collection[int]) -> Any:
    """A smaller encoder, with the weights of the layers that stay.

    It computes exactly what the whole one does where these layers give their input.

    Args:
        backbone: a model of KerasHub, see `encoder_layers`.
        removed: indices of layers, from 0. None: a copy.

    Raises:
        ValueError: a layer is unknown, or none is left.

    Example: see `TextEncoder.without`.
    """
    layers = encoder_layers(backbone)
    unknown = sorted(set(removed) - set(range(len(layers))))
    if unknown:
        raise UsageError(
            f"Expected layers from 0 to {len(layers) - 1} to be removed. Received: {unknown[0]}"
        )
    kept = [layer for index, layer in enumerate(layers) if index not in removed]
    if not kept:
        raise UsageError(f"Expected a layer to be left. Received: all {len(layers)} to be removed")
    smaller = type(backbone).from_config({**backbone.get_config(), "num_layers": len(kept)})
    pairs = [*zip(encoder_layers(smaller), kept, strict=True)]
    for new, old in pairs:
        _assign(new.weights, old.weights)
    _assign(_outside(smaller), _outside(backbone))
    return smaller


def _outside(backbone: Any) -> list[Any]:
    """The weights that belong to no layer that can be removed, in their order."""
    inside = {id(weight) for layer in encoder_layers(backbone) for weight in layer.weights}
    return [weight for weight in backbone.weights if id(weight) not in inside]


def _assign(targets: Sequence[Any], sources: Sequence[Any]) -> None:
    for target, source in zip(targets, sources, strict=True):
        target.assign(source)
