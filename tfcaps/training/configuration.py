"""What a training of a capsule network is asked to do."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from tfcaps import routing
from tfcaps.errors import UsageError
from tfcaps.models.capsule_network import MASKS

MODELS = ("CapsNet", "ConvCapsNet")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
JITS = ("auto", "on", "off")
# A run may be resumed with other values of these: they don't change what has been computed.
_FREE_ON_RESUME = ("epochs", "log_dir", "data_dir", "resume", "save_ckpts", "test")
# `--flagfile=RUN/flags.txt` repeats a run in a new directory.
_NOT_REPEATED = ("log_dir", "resume")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """All choices of one training; a field is the flag of the same name.

    Args:
        log_dir: run directory.
        dataset: name of a data set, or `images:FOLDER`. Default "mnist5k".
        data_dir: folder of tensorflow_datasets' prepared sets, or None.
        image_size: side that raw images are resized to, in pixels; None: as they are.
        augmentation: "paper" or "none".
        train_examples: learn from so many training examples only; 0: from all.
        validation_fraction: part of the training set that is held out, in [0, 1). Default 0.1.
        model: "CapsNet" or "ConvCapsNet".
        routing: a name of `tfcaps.routing.names()`. Default "rba".
        iterations: of the routing. Default 2.
        scale: of scaled-distance routing, "sample" or "batch".
        inverse_temperature, inverse_temperature_decay: of EM routing. Defaults 0.001 and 0.95; the
            published 0.01 is too large for wide layers, see docs/results.md.
        layers, dimensions: capsules and capsule dimension per layer, equally many; the last layer
            has one capsule per class.
        use_bias: whether capsules have a bias.
        make_skips: whether there are residual connections, over `skip_dist` layers.
        use_reconstruction: whether there is a decoder.
        reconstruction_weight: weight of its loss. Default 1e-5.
        mask: what the decoder sees, "none" (all class capsules) or "label".
        learning_rate: of Adam. Default 1e-4.
        batch_size: over all devices. Default 128.
        epochs: Default 30.
        seed: of the weights, the order and the augmentation. Default 0.
        precision: Keras dtype policy.
        jit: XLA for the whole train step: "on", "off", or "auto", which is on for GPUs only.
        enable_tf_function: False runs Python step by step, for debugging.
        save_ckpts: True keeps every epoch's checkpoint, False the last two and the best.
        test: whether the test set is evaluated in the end.
        resume: go on in `log_dir` where an earlier run stopped.

    Raises:
        UsageError: a value is out of its range.
    """

    log_dir: str
    dataset: str = "mnist5k"
    data_dir: str | None = None
    image_size: int | None = None
    augmentation: str = "paper"
    train_examples: int = 0
    validation_fraction: float = 0.1
    model: str = "CapsNet"
    routing: str = "rba"
    iterations: int = 2
    scale: str = "sample"
    inverse_temperature: float = 0.001
    inverse_temperature_decay: float = 0.95
    layers: tuple[int, ...] = (32, 32, 10)
    dimensions: tuple[int, ...] = (8, 8, 16)
    use_bias: bool = True
    make_skips: bool = False
    skip_dist: int = 2
    use_reconstruction: bool = True
    reconstruction_weight: float = 1e-5
    mask: str = "none"
    learning_rate: float = 1e-4
    batch_size: int = 128
    epochs: int = 30
    seed: int = 0
    precision: str = "float32"
    jit: str = "auto"
    enable_tf_function: bool = True
    save_ckpts: bool = False
    test: bool = True
    resume: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", _sizes("layers", self.layers))
        object.__setattr__(self, "dimensions", _sizes("dimensions", self.dimensions))
        if len(self.layers) != len(self.dimensions):
            raise UsageError(
                "Expected as many entries in --dimensions as in --layers. Received: "
                f"{len(self.layers)} in --layers={_joined(self.layers)} and "
                f"{len(self.dimensions)} in --dimensions={_joined(self.dimensions)}"
            )
        self._check_choices()
        self._check_ranges()

    def _check_choices(self) -> None:
        choices = {
            "model": MODELS,
            "routing": routing.names(),
            "mask": MASKS,
            "precision": PRECISIONS,
            "jit": JITS,
            "augmentation": ("paper", "none"),
            "scale": ("sample", "batch"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise UsageError(
                    f"Expected --{name} to be one of {', '.join(allowed)}. "
                    f"Received: {getattr(self, name)}"
                )

    def _check_ranges(self) -> None:
        for name in ("batch_size", "epochs", "iterations", "skip_dist"):
            if getattr(self, name) < 1:
                raise UsageError(f"Expected --{name} >= 1. Received: {getattr(self, name)}")
        for name in ("learning_rate", "inverse_temperature"):
            if not 0 < getattr(self, name) < float("inf"):
                raise UsageError(f"Expected --{name} > 0. Received: {getattr(self, name)}")
        for name in ("reconstruction_weight", "train_examples", "seed"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"Expected --{name} >= 0. Received: {getattr(self, name)}")
        for name in ("validation_fraction", "inverse_temperature_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"Expected --{name} in [0, 1). Received: {getattr(self, name)}")

    def routing_config(self) -> dict[str, Any]:
        """The routing with its own arguments, as `tfcaps.routing.get` takes it."""
        own = {
            "em": {
                "inverse_temperature": self.inverse_temperature,
                "inverse_temperature_decay": self.inverse_temperature_decay,
            },
            "sda": {"scale": self.scale},
        }
        return {"name": self.routing, "iterations": self.iterations, **own.get(self.routing, {})}

    def to_dict(self) -> dict[str, Any]:
        """All fields, as JSON can hold them."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "TrainingConfig":
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
        return f"no --{name}" if value is None else f"--{name}={_flag_value(value)}"

    def first_difference(self, earlier: "TrainingConfig") -> str | None:
        """The first flag that forbids to resume a run of `earlier`, or None."""
        for name, value in self.to_dict().items():
            if name not in _FREE_ON_RESUME and value != earlier.to_dict()[name]:
                return name
        return None


def _flag_value(value: Any) -> str:
    if isinstance(value, list):
        return _joined(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _joined(values: Iterable[Any]) -> str:
    return ",".join(str(value) for value in values)


def _sizes(name: str, values: Iterable[int | str]) -> tuple[int, ...]:
    try:
        sizes = tuple(int(value) for value in values)
    except ValueError:
        sizes = ()
    if len(sizes) < 2 or min(sizes) < 1:
        raise UsageError(
            f"Expected --{name} to be two or more positive integers, such as 32,32,10. "
            f"Received: {_joined(values)}"
        )
    return sizes
