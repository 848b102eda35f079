"""What fine-tunings of pretrained networks have in common."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING

from tfcaps.options import changed, option
from tfcaps.training.configuration import RunConfig

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True, kw_only=True)
class FineTuningConfig(RunConfig):
    """The choices that all fine-tunings have in common; a field is the flag of the same name.

    Defaults are those of Peer et al., arXiv 2105.14839.

    Raises:
        UsageError: a value is out of its range.
    """

    model: str | None = option(
        "Encoder: a preset of KerasHub, or a folder of one or in Hugging Face's format.",
        default=None,
    )
    dropout: float = option("Of the head.", default=0.1, range="in [0, 1)")
    weight_decay: float = option("Of AdamW.", default=0.0, range=">= 0")
    clip_norm: float = option("Largest norm of all gradients together.", default=1.0, range="> 0")
    validation_fraction: float = changed(RunConfig, "validation_fraction", default=0.15)
    learning_rate: float = changed(RunConfig, "learning_rate", default=2e-5)
    schedule: str = changed(RunConfig, "schedule", default="linear")
    batch_size: int = changed(RunConfig, "batch_size", default=32)
    epochs: int = changed(RunConfig, "epochs", default=3)
    seed: int = changed(RunConfig, "seed", default=41, help="Of head, dropout and order.")
    # What a network was trained with is known, and class weights and bundles are not for them yet.
    augmentation: str = dataclasses.field(default="none", init=False)
    class_weights: str = dataclasses.field(default="none", init=False)
    conflicting_samples_size: int = dataclasses.field(default=0, init=False)
    all_conflict_layers: bool = dataclasses.field(default=True, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("model", self.model, "to be an encoder: a preset of KerasHub, or a folder")

    @property
    def run_name(self) -> str:
        return f"{self.dataset_name}-{pathlib.Path(str(self.model)).name}"


def adamw(config: FineTuningConfig) -> "keras.optimizers.Optimizer":
    """The optimizer of a fine-tuning, before its first step."""
    import keras

    return keras.optimizers.AdamW(
        config.learning_rate,
        weight_decay=config.weight_decay,
        global_clipnorm=config.clip_norm,
        epsilon=1e-8,
    )
