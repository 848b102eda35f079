"""What a search is asked to do."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, ClassVar

from nas.architecture import Architecture
from nas.objectives import OBJECTIVES
from nas.rules import REPLACED, RULES, Rule
from tfcaps.errors import UsageError
from tfcaps.models.weight_transfer import INITIALIZATIONS
from tfcaps.options import changed, fields, of, option
from tfcaps.training import BlockNetworkConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchConfig(BlockNetworkConfig):
    """All choices of one search; a field is the flag of the same name.

    The choices of all trainings hold for the trials and for the final training; `epochs` and what
    becomes of the learning rate in their course are of the final training alone: trials are
    compared, and go on from each other, at one rate.

    Raises:
        UsageError: a value is out of its range.

    Example:

    >>> config = SearchConfig(log_dir="runs/search", lineages=2)
    >>> config.model, config.start.counts
    ('resnet', (1, 1, 1, 1))
    """

    REMOVED: ClassVar[Mapping[str, str]] = {
        "gain_threshold": "--rule=auto, which has none and takes the place of grow_and_prune"
    }

    log_dir: str = changed(
        BlockNetworkConfig,
        "log_dir",
        help="Folder of the search (runs/DATASET-search-RULE-TIME).",
    )
    rule: str = option(
        "What the search does: auto: it trains one resnet, which grows and loses blocks meanwhile; "
        "first_stage, all_stages: it prunes what conflicts, there.",
        default="auto",
        choices=RULES.names,
    )
    recipe: str = changed(
        BlockNetworkConfig,
        "recipe",
        default=None,
        help=f"{of(fields(BlockNetworkConfig)['recipe']).help.removesuffix('.')} "
        "(auto: fast; else paper).",
    )
    objective: str = option(
        "What decisions of auto rest on, and what is shown of a trial, on the validation split.",
        default="accuracy",
        choices=tuple(OBJECTIVES),
    )
    max_hours: float = option(
        "Of auto: hours that search and final training take together.",
        default=3.0,
        range="> 0",
        may_change=True,
    )
    max_parameters: int | None = option(
        "Of auto: weights that a network may grow to.", default=None, range=">= 1", may_change=True
    )
    max_flops: float | None = option(
        "Of auto: floating point operations for an image that it may grow to.",
        default=None,
        range="> 0",
        may_change=True,
    )
    max_milliseconds: float | None = option(
        "Of auto: milliseconds for an image, on this machine, that it may grow to.",
        default=None,
        range="> 0",
        may_change=True,
    )
    cost: str = option(
        "Of auto: what the gain of a new block is divided by.",
        default="milliseconds",
        choices=("milliseconds", "flops", "parameters"),
        may_change=True,
    )
    significance: float = option(
        "Of auto: probability that a search grows where no block helps.",
        default=0.05,
        range="in (0, 1)",
        may_change=True,
    )
    model: str = changed(
        BlockNetworkConfig,
        "model",
        default=None,
        help="Start network (to grow: resnet; to prune: vgg).",
    )
    num_layers: int = changed(
        BlockNetworkConfig,
        "num_layers",
        default=None,
        help="Its depth: 4, 10, 20, …, 120 (to grow: 10; to prune: 120).",
    )
    epochs: int = changed(
        BlockNetworkConfig,
        "epochs",
        default=None,
        help="Epochs of the final training; 0: of auto, as many as --max_hours leaves (auto: 0; "
        "else as the recipe has it).",
        range=">= 0",
    )
    check_epochs: int = option(
        "Epochs of a trial, of auto of the first one, with a check after each (auto: 1; else 10).",
        default=None,
        range=">= 1",
    )
    final_steps_per_epoch: int = option(
        "As --steps_per_epoch, which is of trials, of the training.",
        default=0,
        range=">= 0",
        may_change=True,
    )
    lineages: int = option(
        "Of auto: networks that grow independently of each other, with seeds that follow --seed; "
        "the best is taken. Alone they have their turns, with --distributed each a worker.",
        default=1,
        range=">= 1",
    )
    max_trials: int = option(
        "Trials at most, of a lineage.", default=40, range=">= 1", may_change=True
    )
    allow_empty_stages: bool = option("Stages may lose all their blocks.", default=False)
    tolerance: float = option(
        "Of the objective, on the validation split, that a pruning may cost.",
        default=0.005,
        range=">= 0",
        may_change=True,
    )
    grace: int = option("Rounds in which a new block is not pruned.", default=2, range=">= 0")
    init: str = option(
        "New blocks are identities (zero) or random (gaussian).",
        default="zero",
        choices=INITIALIZATIONS,
    )
    train_start: bool = option(
        "Train the start network as long, for comparison.", default=False, may_change=True
    )
    isolate_trials: bool = option(
        "Give each trial a process, which frees its memory.", default=True, may_change=True
    )
    distributed: bool = option(
        "Be what KERASTUNER_TUNER_ID says, chief or worker.", default=False, may_change=True
    )
    worker_timeout: float = option(
        "Seconds without a sign of life until a trial is given away.",
        default=60.0,
        range="> 0",
        may_change=True,
    )
    # Decisions rest on the validation split, and on bundles.
    validation_fraction: float = changed(
        BlockNetworkConfig, "validation_fraction", default=0.1, range="in (0, 1)"
    )
    conflicting_samples_size: int = changed(
        BlockNetworkConfig, "conflicting_samples_size", default=512, range=">= 1"
    )

    def __post_init__(self) -> None:
        self.expect("rule", self.rule not in REPLACED, "to be auto, which takes its place")
        self.check("rule")
        rule = self.rule_class
        object.__setattr__(self, "model", self.model or rule.start_kind)
        object.__setattr__(self, "num_layers", self.num_layers or rule.start_layers)
        own = {"recipe": rule.recipe, "check_epochs": rule.check_epochs}
        if rule.is_timed:
            # What goes on from a high rate has no cycle any more.
            own |= {"epochs": 0, "schedule": "linear"}
        for name, value in own.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        super().__post_init__()
        self.expect("lineages", self.lineages == 1 or rule.is_timed, "to be 1 but with --rule=auto")
        self.expect("epochs", self.epochs > 0 or rule.is_timed, "> 0 but with --rule=auto")
        if self.model not in rule.kinds:
            raise UsageError(
                f"Expected --model={' or '.join(rule.kinds)} for --rule={self.rule}. "
                f"Received: --model={self.model}"
            )

    @property
    def run_name(self) -> str:
        return f"{self.dataset_name}-search-{self.rule}"

    @property
    def rule_class(self) -> type[Rule]:
        """The rule that is asked for."""
        return RULES.get(self.rule)

    @property
    def start(self) -> Architecture:
        """The architecture to begin with."""
        blocks: Any = self.blocks  # how many there are, of which it makes their numbers
        return Architecture(self.model, blocks, self.widths, self.stem, self.hidden_widths)

    def training(
        self, log_dir: str | os.PathLike, architecture: Architecture, epochs: int
    ) -> BlockNetworkConfig:
        """The final training of an architecture, which goes on where it was stopped."""
        common = {name: getattr(self, name) for name in fields(BlockNetworkConfig)}
        own = {
            "log_dir": log_dir,
            "model": architecture.kind,
            "blocks": architecture.counts,
            "widths": architecture.widths,
            "hidden_widths": architecture.hidden,
            "stem": architecture.stem,
            "epochs": epochs,
            "steps_per_epoch": self.final_steps_per_epoch,
            "resume": True,
        }
        return BlockNetworkConfig(**{**common, **own})
