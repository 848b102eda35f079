"""The training of block networks: fully connected, plain and residual convolutional ones."""

import dataclasses
from typing import Any

from tfcaps import losses, models, optimizers
from tfcaps.errors import UsageError
from tfcaps.models.block_names import KINDS as NETWORKS, STEMS, block_counts, block_numbers
from tfcaps.options import changed, fields, flag_value, of, option
from tfcaps.training import recipes
from tfcaps.training.configuration import KINDS, RunConfig
from tfcaps.training.image_task import ImageTask

_WIDTH = 64  # filters of the first stage; of each further one twice as many
_DENSE_WIDTH = 128
_RECIPES: dict[str, dict[str, Any]] = {
    "paper": {
        "augmentation": "paper",
        "batch_size": 64,
        "epochs": 120,
        "label_smoothing": 0.0,
        "precision": "float32",
        "schedule": "exponential",
        "stem": "imagenet",
    },
    "fast": {**recipes.FAST, "stem": "pooled"},
}


def _defaults(name: str) -> str:
    """What the recipes have where an option isn't given, for its help."""
    return recipes.defaults(_RECIPES, name)


def doubled_widths(first: int, stages: int) -> tuple[int, ...]:
    """Filters of each stage, twice as many from one to the next.

    Args:
        first: of the first stage; 0: 64.
        stages: how many there are.

    Example:

    >>> doubled_widths(0, 4)
    (64, 128, 256, 512)
    """
    return tuple((first or _WIDTH) * 2**stage for stage in range(stages))


def check_stages(blocks: tuple[int, ...], widths: tuple[int, ...]) -> None:
    """Checks that --blocks and --widths belong together.

    Raises:
        UsageError: they don't, or there is no block, or are too many.
    """
    if len(widths) != len(blocks):
        raise UsageError(
            f"Expected as many entries in --widths as in --blocks={flag_value(blocks)}. "
            f"Received: --widths={flag_value(widths)}"
        )
    if not any(blocks):
        raise UsageError(
            f"Expected --blocks with at least one block. Received: {flag_value(blocks)}"
        )
    for count in blocks:
        block_numbers(count)


@KINDS.register("block_network")
@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockNetworkConfig(RunConfig):
    """All choices of one training of a block network; a field is the flag of the same name.

    What isn't given, the recipe says. `paper`: rectified Adam at 1e-3 inside Lookahead, batches of
    64 and 120 epochs, the defaults of arXiv 2011.02956. `fast`: Nesterov's momentum of 0.9, weight
    decay of 5e-3, one cycle of the learning rate up to 0.1 for 128 examples of a batch, smoothed
    labels, crops and flips, bfloat16 where the processor has it, and a stem that halves the maps.

    Raises:
        UsageError: a value is out of its range.
    """

    recipe: str = option(recipes.HELP, default="paper", choices=recipes.NAMES)
    augmentation: str = changed(
        RunConfig,
        "augmentation",
        default=None,
        help="Changes of training images: paper: crops, flips, … as published; fast: the same "
        f"without changes of brightness; none: pixels in [0, 1] ({_defaults('augmentation')}).",
        choices=("paper", "fast", "none"),
    )
    label_smoothing: float = option(
        "Part of a label that is spread over all classes in the loss "
        f"({_defaults('label_smoothing')}).",
        default=None,
        range="in [0, 1)",
    )
    learning_rate: float = changed(
        RunConfig,
        "learning_rate",
        default=None,
        help="Of the optimizer, in the first epoch, or after the warm-up (paper: 0.001; fast: "
        "0.1 for 128 examples of a batch).",
    )
    schedule: str = changed(
        RunConfig,
        "schedule",
        default=None,
        help=f"{of(fields(RunConfig)['schedule']).help.removesuffix('.')} "
        f"({_defaults('schedule')}).",
    )
    batch_size: int = changed(
        RunConfig,
        "batch_size",
        default=None,
        help=f"Examples per step, over all devices ({_defaults('batch_size')}).",
    )
    precision: str = changed(
        RunConfig,
        "precision",
        default=None,
        help=f"{of(fields(RunConfig)['precision']).help.removesuffix('.')} "
        f"({_defaults('precision')}).",
        choices=(*of(fields(RunConfig)["precision"]).allowed(), "float64"),
        aliases=("dtype",),
    )
    model: str = option("Which network.", default="resnet", choices=NETWORKS)
    num_layers: int = option(
        "4, 10, 20, 30, 50, 76, 100 or 120, as the papers call them; any number for fnn.",
        default=20,
    )
    blocks: tuple[int, ...] = option(
        "Blocks per stage, such as 3,12,41,3, instead of --num_layers.",
        default=(),
        range=">= 0",
    )
    width_layers: int = option(
        "Units of an fnn's layers, or filters of the first stage, which double from stage to "
        "stage; 0: 128 or 64.",
        default=0,
        range=">= 0",
    )
    widths: tuple[int, ...] = option(
        "Filters per stage, instead of --width_layers.", default=(), range=">= 1"
    )
    hidden_widths: tuple[int, ...] = option(
        "Filters between the two convolutions of a block, per stage; none: those of the stage.",
        default=(),
        range=">= 1",
    )
    stem: str = option(
        "imagenet: 7×7, stride 2, as published; cifar: 3×3, stride 1; pooled: the same, and 2×2 "
        f"max pooling; deep: two of these, and the pooling ({_defaults('stem')}).",
        default=None,
        choices=STEMS,
    )
    epochs: int = changed(
        RunConfig, "epochs", default=None, help=f"Epochs in all ({_defaults('epochs')})."
    )
    conflicting_samples_size: int = changed(RunConfig, "conflicting_samples_size", default=512)

    def __post_init__(self) -> None:
        self._settle_recipe()
        super().__post_init__()
        blocks = self.blocks or self._named_blocks()
        widths = self.widths or self._doubled_widths(len(blocks))
        check_stages(blocks, widths)
        object.__setattr__(self, "blocks", blocks)
        object.__setattr__(self, "widths", widths)
        allowed = 0 if self.model == "fnn" else len(widths)
        self.expect(
            "hidden_widths", len(self.hidden_widths) in (0, allowed), f"with {allowed} entries"
        )

    def _settle_recipe(self) -> None:
        """What isn't given is as the recipe has it."""
        self.check("recipe")
        for name, value in _RECIPES[self.recipe].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        if self.learning_rate is None:
            self.check("batch_size")
            rate = recipes.fast_rate(self.batch_size) if self.recipe == "fast" else 1e-3
            object.__setattr__(self, "learning_rate", rate)

    def _named_blocks(self) -> tuple[int, ...]:
        if self.model == "fnn":
            self.expect("num_layers", self.num_layers >= 1, ">= 1")
            return (self.num_layers,)
        return block_counts(self.num_layers)

    def _doubled_widths(self, stages: int) -> tuple[int, ...]:
        if self.model == "fnn":
            return (self.width_layers or _DENSE_WIDTH,) * stages
        return doubled_widths(self.width_layers, stages)

    @property
    def run_name(self) -> str:
        return f"{self.dataset_name}-{self.model}"

    def task(self) -> "BlockNetworkTask":
        return BlockNetworkTask(self)


class BlockNetworkTask(ImageTask[BlockNetworkConfig]):
    """Cross-entropy with the optimizer of the recipe: see `BlockNetworkConfig` and `Task`.

    Source: Peer et al., Conflicting bundles, arXiv 2011.02956.
    """

    @property
    def augmentation(self):
        return {"paper": "blocks"}.get(self.config.augmentation, self.config.augmentation)

    def network(self, image_shape, num_classes):
        config = self.config
        return models.BlockNetwork(
            image_shape,
            num_classes,
            kind=config.model,
            blocks=config.blocks,
            widths=config.widths,
            stem=config.stem,
            hidden=config.hidden_widths or None,
        )

    def compile(self, model, *, jit, optimizer=None):
        import keras

        model.compile(
            optimizer=optimizer or self._optimizer(),
            loss=self._loss(),
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
            jit_compile=jit,
            run_eagerly=not self.config.enable_tf_function,
        )

    def _optimizer(self):
        learning_rate = self.config.learning_rate
        if self.config.recipe == "fast":
            return recipes.fast_optimizer(learning_rate)
        return optimizers.Lookahead(optimizers.RectifiedAdam(learning_rate))

    def _loss(self):
        import keras

        if self.config.label_smoothing:
            return losses.SmoothedCrossEntropy(self.config.label_smoothing)
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def results(self, model, inputs):
        del inputs
        return {"flops": models.count_flops(model)}
