"""The kinds of trainings that there are."""

from collections.abc import Mapping
from typing import Any

from tfcaps.training.blocks import BlockNetworkConfig, BlockRecipe
from tfcaps.training.capsules import CapsuleNetworkConfig, CapsuleRecipe
from tfcaps.training.configuration import RunConfig
from tfcaps.training.recipe import Recipe

_KINDS = {
    CapsuleNetworkConfig: CapsuleRecipe,
    BlockNetworkConfig: BlockRecipe,
}


def recipe(config: RunConfig) -> Recipe:
    """How the network of a configuration is trained."""
    return _KINDS[type(config)](config)


def to_description(config: RunConfig) -> dict[str, Any]:
    """A configuration with its kind, as JSON can hold it."""
    return {"kind": config.kind, **config.to_dict()}


def from_description(description: Mapping[str, Any]) -> RunConfig:
    """The inverse of `to_description`.

    Raises:
        KeyError: the kind is missing or unknown.
    """
    fields = dict(description)
    kinds = {config.kind: config for config in _KINDS}
    return kinds[fields.pop("kind")].from_dict(fields)
