"""keras-tuner's builder of networks: from a trial's values to a compiled network."""

from collections.abc import Mapping

import keras_tuner

from nas.architecture import Architecture
from nas.policy import Proposal
from tfcaps.models.block_network import BlockNetwork
from tfcaps.training.recipe import Recipe


class BlockHyperModel(keras_tuner.HyperModel):
    """Builds and compiles the network of a trial.

    Args:
        start: the architecture where a trial has none: keras-tuner builds one before the first.
        image_shape: (H, W, C).
        num_classes: K.
        recipe: compiles it.
        jit: whether the train step goes through XLA.
    """

    def __init__(
        self,
        start: Architecture,
        image_shape: tuple[int, int, int],
        num_classes: int,
        recipe: Recipe,
        *,
        jit: bool,
    ):
        super().__init__(name="block_network")
        self.start = start
        self.image_shape = image_shape
        self.num_classes = num_classes
        self.recipe = recipe
        self.jit = jit

    def build(self, hp: keras_tuner.HyperParameters) -> BlockNetwork:
        architecture = from_values(hp.values).architecture if hp.values else self.start
        model = architecture.build(self.image_shape, self.num_classes)
        self.recipe.compile(model, jit=self.jit)
        return model


def to_values(proposal: Proposal) -> dict[str, str | int]:
    """A proposal as a trial carries it, from machine to machine if need be.

    Example:

    >>> proposal = Proposal(0, "start", Architecture("fnn", (2,), (8,), "cifar"))
    >>> from_values(to_values(proposal)) == proposal
    True
    """
    return {
        "round": proposal.round,
        "role": proposal.role,
        "architecture": proposal.architecture.to_json(),
        "parent": proposal.parent,
    }


def from_values(values: Mapping[str, str | int]) -> Proposal:
    """The inverse of `to_values`."""
    return Proposal(
        round=int(values["round"]),
        role=str(values["role"]),
        architecture=Architecture.from_json(str(values["architecture"])),
        parent=str(values["parent"]),
    )
