"""What a training of a capsule network is asked to do."""

import dataclasses
from collections.abc import Iterable
from typing import Any, ClassVar

from tfcaps import routing
from tfcaps.errors import UsageError
from tfcaps.models.capsule_network import MASKS
from tfcaps.training.configuration import RunConfig, joined

INITIALIZERS = ("normal", "length_preserving")
MODELS = ("CapsNet", "ConvCapsNet", "EfficientCapsNet")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CapsuleNetworkConfig(RunConfig):
    """All choices of one training of a capsule network; a field is the flag of the same name.

    Args:
        model: "CapsNet", "ConvCapsNet" or "EfficientCapsNet".
        routing: a name of `tfcaps.routing.names()`. Default "rba".
        iterations: of the routing. Default 2.
        scale: of scaled-distance routing, "sample" or "batch".
        inverse_temperature, inverse_temperature_decay: of EM routing. Defaults 0.001 and 0.95; the
            published 0.01 is too large for wide layers, see docs/results.md.
        use_prior: whether attention routing learns a prior; "ConvCapsNet" can't have one.
        layers, dimensions: capsules and capsule dimension per layer, equally many; the last layer
            has one capsule per class.
        use_bias: whether capsules have a bias.
        make_skips: whether there are residual connections, over `skip_dist` layers.
        use_reconstruction: whether there is a decoder.
        reconstruction_weight: weight of its loss. Default 1e-5.
        mask: what the decoder sees, "none" (all class capsules) or "label".
        kernel_initializer: of dense capsules' votes: "normal", the published N(0, 0.2), or
            "length_preserving", with which 12 layers and more have gradients.
        robust: whether each batch is attacked before the network learns from it, as the paper on
            γ-capsules, arXiv 1812.09707, does; see `robustness.train_on_attacked_images`.
        epsilon, attack_step_size, attack_steps: of that attack. Defaults 0.1, 0.01 and 40.
        **common: see `RunConfig`. Learning rate 1e-4 of Adam, batches of 128 and 30 epochs are the
            defaults of arXiv 1905.08744 and 2104.07393.

    Raises:
        UsageError: a value is out of its range.
    """

    kind: ClassVar[str] = "capsule_network"
    choices: ClassVar = {
        **RunConfig.choices,
        "augmentation": ("paper", "efficient", "none"),
        "model": MODELS,
        "routing": routing.names(),
        "mask": MASKS,
        "kernel_initializer": INITIALIZERS,
        "scale": ("sample", "batch"),
    }
    at_least_one: ClassVar = (*RunConfig.at_least_one, "iterations", "skip_dist", "attack_steps")
    positive: ClassVar = (*RunConfig.positive, "inverse_temperature", "attack_step_size")
    not_negative: ClassVar = (*RunConfig.not_negative, "reconstruction_weight", "epsilon")
    fractions: ClassVar = (*RunConfig.fractions, "inverse_temperature_decay")

    model: str = "CapsNet"
    routing: str = "rba"
    iterations: int = 2
    scale: str = "sample"
    inverse_temperature: float = 0.001
    inverse_temperature_decay: float = 0.95
    use_prior: bool = False
    layers: tuple[int, ...] = (32, 32, 10)
    dimensions: tuple[int, ...] = (8, 8, 16)
    use_bias: bool = True
    make_skips: bool = False
    skip_dist: int = 2
    use_reconstruction: bool = True
    reconstruction_weight: float = 1e-5
    mask: str = "none"
    kernel_initializer: str = "normal"
    robust: bool = False
    epsilon: float = 0.1
    attack_step_size: float = 0.01
    attack_steps: int = 40
    learning_rate: float = 1e-4
    batch_size: int = 128
    epochs: int = 30

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "layers", _sizes("layers", self.layers))
        object.__setattr__(self, "dimensions", _sizes("dimensions", self.dimensions))
        if len(self.layers) != len(self.dimensions):
            raise UsageError(
                "Expected as many entries in --dimensions as in --layers. Received: "
                f"{len(self.layers)} in --layers={joined(self.layers)} and "
                f"{len(self.dimensions)} in --dimensions={joined(self.dimensions)}"
            )

    def routing_config(self) -> dict[str, Any]:
        """The routing with its own arguments, as `tfcaps.routing.get` takes it."""
        own = {
            "em": {
                "inverse_temperature": self.inverse_temperature,
                "inverse_temperature_decay": self.inverse_temperature_decay,
            },
            "sda": {"scale": self.scale},
            "attention": {"use_prior": self.use_prior},
        }
        return {"name": self.routing, "iterations": self.iterations, **own.get(self.routing, {})}


def _sizes(name: str, values: Iterable[int | str]) -> tuple[int, ...]:
    try:
        sizes = tuple(int(value) for value in values)
    except ValueError:
        sizes = ()
    if len(sizes) < 2 or min(sizes) < 1:
        raise UsageError(
            f"Expected --{name} to be two or more positive integers, such as 32,32,10. "
            f"Received: {joined(values)}"
        )
    return sizes
