"""What a search is asked to do."""

import dataclasses
from typing import Any, ClassVar

from nas import policy
from nas.architecture import Architecture
from nas.weight_transfer import INITIALIZATIONS
from tfcaps.errors import UsageError
from tfcaps.training import BlockNetworkConfig, RunConfig

# What a rule starts from where nothing is said: the published start network, and a small one.
_START = {
    "first_stage": ("vgg", 120),
    "all_stages": ("vgg", 120),
    "grow_and_prune": ("resnet", 10),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchConfig(BlockNetworkConfig):
    """All choices of one search; a field is the flag of the same name.

    Args:
        rule: "first_stage" or "all_stages", which prune as published, or "grow_and_prune"; see
            `nas.policy`. Default "all_stages".
        model, num_layers, blocks, width_layers, widths, stem: the start network. Default: a vgg of
            120 layers, as published; for "grow_and_prune" a resnet of 10.
        steps_per_epoch: steps between two checks of an attempt; 0: all examples. Default 100.
        check_epochs: checks of an attempt at most. Default 10.
        max_trials: attempts in all. Default 50.
        epochs, final_steps_per_epoch: how long the resulting network is trained. Defaults 120,
            and 0: all examples in each epoch.
        tolerance, gain_threshold, grace, init: of "grow_and_prune", see `nas.policy.GrowAndPrune`
            and `nas.weight_transfer.inherit`.
        train_start: whether the start network is trained equally long, for comparison.
        distributed: whether this process is keras-tuner's chief or one of its workers, as its
            environment variables say.
        worker_timeout: seconds without a sign of life after which a worker's attempt is given to
            another one. Default 60.
        **common: see `BlockNetworkConfig`.

    Raises:
        UsageError: a value is out of its range.
    """

    kind: ClassVar[str] = "search"
    choices: ClassVar = {
        **BlockNetworkConfig.choices,
        "rule": policy.RULES,
        "init": INITIALIZATIONS,
    }
    at_least_one: ClassVar = (
        *BlockNetworkConfig.at_least_one,
        *("check_epochs", "max_trials", "conflicting_samples_size"),
    )
    positive: ClassVar = (*BlockNetworkConfig.positive, "worker_timeout")
    not_negative: ClassVar = (
        *BlockNetworkConfig.not_negative,
        *("final_steps_per_epoch", "tolerance", "gain_threshold", "grace"),
    )
    free_on_resume: ClassVar = (
        *BlockNetworkConfig.free_on_resume,
        *("max_trials", "final_steps_per_epoch", "train_start", "distributed", "worker_timeout"),
    )

    rule: str = "all_stages"
    model: str = ""
    num_layers: int = 0
    steps_per_epoch: int = 100
    check_epochs: int = 10
    max_trials: int = 50
    final_steps_per_epoch: int = 0
    tolerance: float = 0.005
    gain_threshold: float = 0.002
    grace: int = 2
    init: str = "zero"
    train_start: bool = False
    distributed: bool = False
    worker_timeout: float = 60.0

    def __post_init__(self) -> None:
        if self.rule not in policy.RULES:
            raise UsageError(
                f"Expected --rule to be one of {', '.join(policy.RULES)}. Received: {self.rule}"
            )
        model, num_layers = _START[self.rule]
        object.__setattr__(self, "model", self.model or model)
        object.__setattr__(self, "num_layers", self.num_layers or num_layers)
        super().__post_init__()
        if not self.validation_fraction:
            raise UsageError(
                "Expected --validation_fraction > 0, as decisions rest on what is held out. "
                f"Received: {self.validation_fraction}"
            )
        self.rule_object()

    @property
    def start(self) -> Architecture:
        """The architecture that the search starts from."""
        return Architecture(self.model, self.blocks, self.widths, self.stem)

    def rule_object(self) -> policy.PruneConflicts | policy.GrowAndPrune:
        """What decides."""
        return policy.make_rule(
            self.rule,
            self.start,
            tolerance=self.tolerance,
            gain_threshold=self.gain_threshold,
            grace=self.grace,
        )

    def training_of(self, architecture: Architecture, log_dir: str) -> BlockNetworkConfig:
        """How a network is trained to the end."""
        common = {field.name: getattr(self, field.name) for field in dataclasses.fields(RunConfig)}
        changes: dict[str, Any] = {
            "log_dir": log_dir,
            "steps_per_epoch": self.final_steps_per_epoch,
            "resume": True,
        }
        return BlockNetworkConfig(
            **{**common, **changes},
            model=architecture.kind,
            blocks=architecture.counts,
            widths=architecture.widths,
            stem=architecture.stem,
        )
