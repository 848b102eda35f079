"""What every training is asked to do, whatever kind of network it trains.

Nothing here imports Keras, so that a wrong value is told at once.
"""

import dataclasses
import os
from typing import TYPE_CHECKING, Any, TypeVar

from tfcaps.datasets.image_names import check_name
from tfcaps.options import Options, WorkOptions, changed, fields, of, option
from tfcaps.registry import Registry

if TYPE_CHECKING:
    from tfcaps.training.task import Task

_Config = TypeVar("_Config", bound="RunConfig")

KINDS = Registry("a kind of training", "tfcaps.training")
# Schedules of the learning rate whose end is that of the training.
_ENDING = ("linear", "cosine", "one_cycle")
_CYCLE_WARM_UP = 0.3  # of the epochs


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig(WorkOptions):
    """The choices that all trainings have in common; a field is the flag of the same name.

    A kind of training is a subclass that is registered under its name, `@KINDS.register("…")`, and
    that makes the `Task` that says how its networks are trained.

    Raises:
        UsageError: a value is out of its range.
    """

    log_dir: str = option("Run directory (runs/DATASET-MODEL-TIME).", may_change=True)
    dataset: str = option(
        "mnist5k (bundled), mnist, fashion_mnist, cifar10, svhn_cropped, smallnorb, imagenette, "
        "images:FOLDER, or abstract:TASK (svrt_1, same …), also abstract:TASK/RENDERING and "
        "abstract:TASK/SHAPES.",
        default="mnist5k",
        check=check_name,
    )
    data_dir: str | None = option(
        "Folder of tensorflow_datasets' prepared data sets.", default=None, may_change=True
    )
    image_size: int | tuple[int, int] | None = option(
        "Side that raw images are stretched to, in pixels, or height,width; none: as they are.",
        default=None,
        range=">= 1",
    )
    augmentation: str = option(
        "Changes of training images: paper: crops, flips, … as published; none: pixels in [0, 1].",
        default="paper",
        choices=("paper", "none"),
    )
    train_examples: int = option(
        "Learn from so many examples of a seeded shuffle; 0: from all.", default=0, range=">= 0"
    )
    validation_fraction: float = option(
        "Part of the training set that is held out.", default=0.1, range="in [0, 1)"
    )
    learning_rate: float = option(
        "Of the optimizer, in the first epoch, or after the warm-up.", default=1e-3, range="> 0"
    )
    schedule: str = option(
        "What becomes of it: exponential: --learning_rate_decay says; linear, cosine: it falls to "
        "0 at the end; one_cycle: it rises from a 25th, and falls to almost nothing.",
        default="exponential",
        choices=("constant", "exponential", *_ENDING),
        before="exponential",
    )
    learning_rate_decay: float = option(
        "Of exponential: what it is multiplied by after each epoch.",
        default=1.0,
        range="in (0, 1]",
    )
    warmup_epochs: float | None = option(
        "Epochs, or a part of one, in which it rises to its value (0; one_cycle: 0.3 of --epochs).",
        default=None,
        range=">= 0",
    )
    class_weights: str = option(
        "What an example counts in the loss of its class; balanced: N / (K n) for N examples of K "
        "classes, n of them of its own.",
        default="none",
        choices=("none", "balanced"),
        before="none",
    )
    batch_size: int = option("Examples per step, over all devices.", default=64, range=">= 1")
    epochs: int = option("Epochs in all.", default=10, range=">= 1", may_change=True)
    patience: int = option(
        "Stop after so many epochs without a better validation accuracy; 0: never.",
        default=0,
        range=">= 0",
        may_change=True,
    )
    steps_per_epoch: int = option(
        "An epoch ends after so many steps; 0: after all examples.", default=0, range=">= 0"
    )
    seed: int = option("Of weights, order and augmentation.", default=0, range=">= 0")
    precision: str = option(
        "Keras' dtype policy; auto: mixed_bfloat16 where all devices have bfloat16 arithmetic, "
        "else float32.",
        default="float32",
        choices=("float32", "mixed_bfloat16", "mixed_float16", "auto"),
    )
    jit: str = option(
        "XLA for the whole step; auto: on a GPU only.",
        default="auto",
        choices=("auto", "on", "off"),
    )
    enable_tf_function: bool = option(
        "False runs step by step in Python, for debugging.", default=True
    )
    conflicting_samples_size: int = option(
        "Examples that bundle entropy is measured on after each epoch; 0: it isn't.",
        default=0,
        range=">= 0",
    )
    all_conflict_layers: bool = option(
        "Measure it at all layers, not only at the last one.", default=True
    )
    save_ckpts: bool = option(
        "Keep every epoch's checkpoint, not only the newest and the best.",
        default=False,
        may_change=True,
    )
    test: bool = option("Evaluate the test set in the end.", default=True, may_change=True)
    resume: bool = changed(
        WorkOptions,
        "resume",
        default=False,
        help="Go on in --log_dir where an earlier run stopped.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.schedule != "exponential":
            self.expect(
                "learning_rate_decay",
                self.learning_rate_decay == 1,
                f"with --schedule=exponential only, not with {self.flag('schedule')}",
            )
        self.expect(
            "warmup_epochs", self.warm_up < max(self.epochs, 1), f"below {self.flag('epochs')}"
        )

        if self.patience:
            self.expect("validation_fraction", self.validation_fraction > 0, "> 0 with --patience")

    @property
    def warm_up(self) -> float:
        """Epochs in which the learning rate rises."""
        if self.warmup_epochs is not None:
            return self.warmup_epochs
        return _CYCLE_WARM_UP * self.epochs if self.schedule == "one_cycle" else 0.0

    def settled(self) -> dict[str, Any]:
        """With the number of epochs, where the learning rate depends on it."""
        length = {"epochs": self.epochs} if self.schedule in _ENDING else {}
        return {**super().settled(), **length}

    @property
    def kind(self) -> str:
        """How run.json calls this kind of training."""
        return KINDS.name_of(type(self))

    @property
    def dataset_name(self) -> str:
        """The data set in the name of a folder."""
        if self.dataset.startswith("abstract:"):
            return self.dataset.removeprefix("abstract:").replace("/", "-")
        return os.path.basename(self.dataset.removeprefix("images:").rstrip("/"))

    def with_classes(self, count: int) -> "RunConfig":
        """The choices for data of so many classes, where what wasn't asked for depends on it."""
        del count
        return self

    def as_begun(self: _Config, earlier: "RunConfig") -> _Config:
        """The choices for going on with a run: what wasn't asked for is as it has been."""
        if self.precision != "auto":
            return self
        return dataclasses.replace(self, precision=earlier.precision)

    def task(self) -> "Task":
        """How networks are trained as it is asked here."""
        raise NotImplementedError("A kind of training has to define `task`.")

    def to_description(self) -> dict[str, Any]:
        """The choices with their kind, as JSON can hold them."""
        return {"kind": self.kind, **self.to_dict()}

    @staticmethod
    def from_description(description: dict[str, Any]) -> "RunConfig":
        """The inverse of `to_description`.

        Raises:
            KeyError, TypeError, UsageError: the kind is missing or unknown, or a value is wrong.
        """
        values = dict(description)
        kind = KINDS.get(values.pop("kind"))
        # What was begun before there was an option was done as it says.
        known = {name: of(field).before for name, field in fields(kind).items()}
        before = {name: value for name, value in known.items() if value is not None}
        return kind.from_dict(before | values)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinishedRunOptions(Options):
    """Base class of the options of what is done with a finished run."""

    log_dir: str = option("Run directory of the network.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportOptions(FinishedRunOptions):
    """Where a finished run's model is exported to."""

    output_dir: str | None = option(
        "Folder of the versions (default: LOG_DIR/serving).", default=None
    )
    version: int | None = option(
        "Version number (default: the next free one).", default=None, range=">= 1"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Repetitions(Options):
    """How often the same is trained."""

    runs: int = option("Trainings, with the seeds from --seed on.", default=1, range=">= 1")
