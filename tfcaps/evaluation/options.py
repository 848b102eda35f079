"""What there is to choose about evaluations; nothing here imports Keras."""

import dataclasses

from tfcaps.datasets.image_names import check_name
from tfcaps.options import option
from tfcaps.robustness import attacks
from tfcaps.training import FinishedRunOptions

SPLITS = ("test", "validation")
CHECKPOINTS = ("final", "best")
GROUPS = ("conflicting", "non_conflicting", "all")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationOptions(FinishedRunOptions):
    """What is evaluated, and how; a field is the flag of the same name.

    Raises:
        UsageError: a value is out of its range.
    """

    output_dir: str | None = option(
        "Where results come to lie (default: LOG_DIR/evaluation).", default=None
    )
    dataset: str | None = option(
        "Another data set than the training's, with images of the same size.",
        default=None,
        check=check_name,
    )
    data_dir: str | None = option(
        "Folder of tensorflow_datasets' prepared data sets (default: the training's).", default=None
    )
    split: str = option(
        "The test set, or what the training held out: decide on that one.",
        default="test",
        choices=SPLITS,
    )
    checkpoint: str = option(
        "The final weights, or the best ones on the validation split.",
        default="final",
        choices=CHECKPOINTS,
    )
    batch_size: int = option("Examples at a time.", default=128, range=">= 1")
    test_examples: int = option(
        "So many examples, spread over the split; 0: all.", default=0, range=">= 0"
    )
    conflicting_samples_size: int = option(
        "Training examples that bundle entropy is measured on; 0: it isn't.",
        default=512,
        range=">= 0",
    )
    attack: tuple[str, ...] = option(
        "Attacks, instead of an evaluation; those without l2 and carlini_wagner bound the largest "
        "change.",
        default=(),
        choices=lambda: attacks.names(),
    )
    epsilons: tuple[float, ...] = option(
        "Bounds of the change, with pixels in [0, 1].",
        default=(0.0, 0.05, 0.1, 0.2),
        range=">= 0",
        least=1,
        example="0,0.05,0.1",
    )
    attack_examples: int = option(
        "So many of the examples are attacked; 0: all.", default=1000, range=">= 0"
    )
    attack_step_size: float = option("Of projected gradient descent.", default=0.01, range="> 0")
    attack_steps: int = option("Of projected gradient descent.", default=40, range=">= 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LesionOptions(FinishedRunOptions):
    """What a lesion study removes, and how often; a field is the flag of the same name.

    Raises:
        UsageError: a value is out of its range.
    """

    data_dir: str | None = option(
        "Folder of prepared data sets (default: the training's).", default=None
    )
    max_removed: int = option(
        "Remove up to so many blocks; 0: as many as a group has. A smaller group's curve ends "
        "earlier.",
        default=0,
        range=">= 0",
    )
    draws: int = option(
        "Random choices for each number of removed blocks; all choices where there are no more.",
        default=15,
        range=">= 1",
    )
    seed: int = option("Of the choices, and of a part of the test set.", default=0, range=">= 0")
    groups: tuple[str, ...] = option(
        "Groups of blocks to remove blocks from.", default=GROUPS, choices=GROUPS, least=1
    )
    test_examples: int = option(
        "Size of a part of the test set; 0: all of it.", default=0, range=">= 0"
    )
    conflicting_samples_size: int = option(
        "Examples to find conflicts with; 0: as in the training, or 512.", default=0, range=">= 0"
    )
    learning_rate: float = option(
        "At which conflicts are looked for: a network without some at the training's may have some "
        "at the small one that a schedule ends with; 0: that of the training.",
        default=0.0,
        range=">= 0",
    )
    batch_size: int = option(
        "Images at a time; no result depends on it.", default=128, range=">= 1"
    )
