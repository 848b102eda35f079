"""What a search is asked to do."""

import dataclasses
import os
from typing import ClassVar

from nas.architecture import Architecture
from nas.policy import GROW_AND_PRUNE, RULES
from nas.weight_transfer import INITIALIZATIONS
from tfcaps.errors import UsageError
from tfcaps.training import BlockNetworkConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchConfig(BlockNetworkConfig):
    """All choices of one search; a field is the flag of the same name.

    Args:
        rule: "first_stage", "all_stages" or "grow_and_prune", see `nas.policy`. Default
            "all_stages".
        model: of the start network. Default (""): "vgg", or "resnet" to grow and prune.
        num_layers: of the start network. Default (0): 120, or 10 to grow and prune.
        steps_per_epoch: of an attempt: an epoch ends after so many steps; 0: after all examples.
        check_epochs: epochs of an attempt, with a check after each. Default 10.
        epochs: of the final training.
        final_steps_per_epoch: as `steps_per_epoch`, of the final training.
        max_trials: attempts at most. Default 40.
        allow_empty_stages: whether a stage may lose all its blocks. Default False.
        tolerance: validation accuracy that a pruning may cost, to grow and prune. Default 0.005.
        gain_threshold: validation accuracy that a new block has to bring. Default 0.002.
        grace: rounds in which a new block is not pruned. Default 2.
        init: "zero": new blocks are identities; "gaussian": they are random. Default "zero".
        train_start: whether the start network gets the final training, too. Default False.
        isolate_trials: whether each trial gets a process of its own, so that memory doesn't grow
            from trial to trial. Default True.
        distributed: whether this process is one of several, as keras-tuner's environment variables
            say. Default False.
        worker_timeout: seconds after which a worker that gives no sign of life is thought gone.
            Default 60.
        **common: of all trainings, see `BlockNetworkConfig`; they hold for the final training, too.

    Raises:
        UsageError: a value is out of its range.

    Example:

    >>> config = SearchConfig(log_dir="runs/search", rule="grow_and_prune")
    >>> config.model, config.start.counts
    ('resnet', (1, 1, 1, 1))
    """

    kind: ClassVar[str] = "search"
    choices: ClassVar = {**BlockNetworkConfig.choices, "rule": RULES, "init": INITIALIZATIONS}
    at_least_one: ClassVar = (
        *BlockNetworkConfig.at_least_one,
        *("check_epochs", "max_trials", "conflicting_samples_size"),
    )
    # Decisions rest on the validation split.
    positive: ClassVar = (*BlockNetworkConfig.positive, "validation_fraction", "worker_timeout")
    not_negative: ClassVar = (
        *BlockNetworkConfig.not_negative,
        *("final_steps_per_epoch", "grace", "gain_threshold", "tolerance"),
    )
    free_on_resume: ClassVar = (
        *BlockNetworkConfig.free_on_resume,
        *("final_steps_per_epoch", "max_trials", "train_start", "isolate_trials"),
        *("distributed", "worker_timeout"),
    )

    rule: str = "all_stages"
    model: str = ""
    num_layers: int = 0
    check_epochs: int = 10
    final_steps_per_epoch: int = 0
    max_trials: int = 40
    allow_empty_stages: bool = False
    tolerance: float = 0.005
    gain_threshold: float = 0.002
    grace: int = 2
    init: str = "zero"
    train_start: bool = False
    isolate_trials: bool = True
    distributed: bool = False
    worker_timeout: float = 60.0

    def __post_init__(self) -> None:
        grows = self.rule == GROW_AND_PRUNE
        object.__setattr__(self, "model", self.model or ("resnet" if grows else "vgg"))
        object.__setattr__(self, "num_layers", self.num_layers or (10 if grows else 120))
        super().__post_init__()
        if grows and self.model != "resnet":
            raise UsageError(
                f"Expected --model=resnet for --rule={self.rule}. Received: --model={self.model}"
            )

    @property
    def start(self) -> Architecture:
        """The architecture to begin with."""
        return Architecture(self.model, self.blocks, self.widths, self.stem)

    def training(
        self, log_dir: str | os.PathLike, architecture: Architecture
    ) -> BlockNetworkConfig:
        """The final training of an architecture, which goes on where it was stopped."""
        common = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(BlockNetworkConfig)
        }
        own = {
            "log_dir": str(log_dir),
            "model": architecture.kind,
            "blocks": architecture.counts,
            "widths": architecture.widths,
            "stem": architecture.stem,
            "steps_per_epoch": self.final_steps_per_epoch,
            "resume": True,
        }
        return BlockNetworkConfig(**{**common, **own})
