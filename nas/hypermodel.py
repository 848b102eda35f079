"""keras-tuner's builder of networks: from a trial's values to a compiled network."""

import keras_tuner

from nas.architecture import Architecture
from nas.policy import Proposal
from tfcaps.models.block_network import BlockNetwork
from tfcaps.training.recipe import Recipe


class BlockHyperModel(keras_tuner.HyperModel):
    """Builds the network that a trial's values describe.

    Args:
        start: the architecture where the values have none.
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
        super().__init__(name="block_network", tunable=False)
        self.start = start
        self.image_shape = image_shape
        self.num_classes = num_classes
        self.recipe = recipe
        self.jit = jit

    def build(self, hp: keras_tuner.HyperParameters) -> BlockNetwork:
        proposal = from_values(hp.values) if "architecture" in hp.values else None
        architecture = self.start if proposal is None else proposal.architecture
        model = architecture.build(self.image_shape, self.num_classes)
        self.recipe.compile(model, jit=self.jit)
        return model


def to_values(proposal: Proposal) -> dict[str, str | int]:
    """A proposal as a trial carries it, over a network if need be."""
    return {
        "round": proposal.round,
        "role": proposal.role,
        "architecture": proposal.architecture.to_json(),
        "parent": proposal.parent,
    }


def from_values(values: dict[str, str | int]) -> Proposal:
    """The inverse of `to_values`."""
    return Proposal(
        round=int(values["round"]),
        role=str(values["role"]),
        architecture=Architecture.from_json(str(values["architecture"])),
        parent=str(values["parent"]),
    )
