"""What every training is asked to do, whatever kind of network it trains."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeVar

from tfcaps.errors import UsageError

JITS = ("auto", "on", "off")
# `--flagfile=RUN/flags.txt` repeats a run in a new directory.
_NOT_REPEATED = ("log_dir", "resume")

_Config = TypeVar("_Config", bound="RunConfig")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The choices that all trainings have in common; a field is the flag of the same name.

    Args:
        log_dir: run directory.
        dataset: name of a data set, or `images:FOLDER`. Default "mnist5k".
        data_dir: folder of tensorflow_datasets' prepared sets, or None.
        image_size: side that raw images are resized to, in pixels; None: as they are.
        augmentation: "paper", "none", or what else a kind of networks has.
        train_examples: learn from so many training examples only; 0: from all.
        validation_fraction: part of the training set that is held out, in [0, 1). Default 0.1.
        learning_rate: of the optimizer, in the first epoch.
        learning_rate_decay: what it is multiplied by after each epoch, in (0, 1]. Default 1.
        batch_size: over all devices.
        epochs: in all.
        steps_per_epoch: an epoch ends after so many steps; 0: after all examples.
        seed: of the weights, the order and the augmentation. Default 0.
        precision: Keras dtype policy.
        jit: XLA for the whole train step: "on", "off", or "auto", which is on for GPUs only.
        enable_tf_function: False runs Python step by step, for debugging.
        conflicting_samples_size: examples of the probe set on which bundle entropy is measured
            after each epoch; 0: it isn't.
        all_conflict_layers: whether bundle entropy is measured at all layers, or at the last one.
        save_ckpts: True keeps every epoch's checkpoint, False the last two and the best.
        test: whether the test set is evaluated in the end.
        resume: go on in `log_dir` where an earlier run stopped.

    Raises:
        UsageError: a value is out of its range.
    """

    # How run.json calls this kind of training.
    kind: ClassVar[str]
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "precision": ("float32", "mixed_bfloat16", "mixed_float16"),
        "jit": JITS,
        "augmentation": ("paper", "none"),
    }
    at_least_one: ClassVar[tuple[str, ...]] = ("batch_size", "epochs")
    positive: ClassVar[tuple[str, ...]] = ("learning_rate",)
    not_negative: ClassVar[tuple[str, ...]] = (
        *("train_examples", "steps_per_epoch", "seed", "conflicting_samples_size"),
    )
    fractions: ClassVar[tuple[str, ...]] = ("validation_fraction",)
    # A run may be resumed with other values of these: they don't change what has been computed.
    free_on_resume: ClassVar[tuple[str, ...]] = (
        *("epochs", "log_dir", "data_dir", "resume", "save_ckpts", "test"),
    )

    log_dir: str
    dataset: str = "mnist5k"
    data_dir: str | None = None
    image_size: int | None = None
    augmentation: str = "paper"
    train_examples: int = 0
    validation_fraction: float = 0.1
    learning_rate: float = 1e-3
    learning_rate_decay: float = 1.0
    batch_size: int = 64
    epochs: int = 10
    steps_per_epoch: int = 0
    seed: int = 0
    precision: str = "float32"
    jit: str = "auto"
    enable_tf_function: bool = True
    conflicting_samples_size: int = 0
    all_conflict_layers: bool = True
    save_ckpts: bool = False
    test: bool = True
    resume: bool = False

    def __post_init__(self) -> None:
        for name, allowed in self.choices.items():
            if getattr(self, name) not in allowed:
                raise UsageError(
                    f"Expected --{name} to be one of {', '.join(allowed)}. "
                    f"Received: {getattr(self, name)}"
                )
        for name in self.at_least_one:
            self._expect(name, getattr(self, name) >= 1, ">= 1")
        for name in self.positive:
            self._expect(name, 0 < getattr(self, name) < float("inf"), "> 0")
        for name in self.not_negative:
            self._expect(name, 0 <= getattr(self, name) < float("inf"), ">= 0")
        self._expect("learning_rate_decay", 0 < self.learning_rate_decay <= 1, "in (0, 1]")
        for name in self.fractions:
            self._expect(name, 0 <= getattr(self, name) < 1, "in [0, 1)")

    def _expect(self, name: str, is_allowed: bool, allowed: str) -> None:
        if not is_allowed:
            raise UsageError(f"Expected --{name} {allowed}. Received: {getattr(self, name)}")

    def to_dict(self) -> dict[str, Any]:
        """All fields, as JSON can hold them."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_dict(cls: type[_Config], fields: Mapping[str, Any]) -> _Config:
        """The inverse of `to_dict`."""
        return cls(**fields)

    def flag_lines(self) -> str:
        """A flag file that repeats this training in a run directory of its own."""
        return "".join(
            f"{self.flag(name)}\n"
            for name, value in self.to_dict().items()
            if name not in _NOT_REPEATED and value is not None
        )

    def flag(self, name: str) -> str:
        """A field as it is written on a command line."""
        value = self.to_dict()[name]
        return f"no --{name}" if value is None else f"--{name}={flag_value(value)}"

    def first_difference(self, earlier: "RunConfig") -> str | None:
        """The first flag that forbids to resume a run of `earlier`, or None."""
        for name, value in self.to_dict().items():
            if name not in self.free_on_resume and value != earlier.to_dict()[name]:
                return name
        return None


def joined(values: Iterable[Any]) -> str:
    """Values as a flag has them: separated by commas."""
    return ",".join(str(value) for value in values)


def flag_value(value: Any) -> str:
    """A value as it is written behind a flag's name.

    >>> flag_value([True, 2]), flag_value(None)
    ('true,2', '')
    """
    if isinstance(value, list):
        return joined(map(flag_value, value))
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
