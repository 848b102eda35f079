"""The training of block networks: fully connected, plain and residual convolutional ones."""

import dataclasses

from tfcaps import models, optimizers
from tfcaps.errors import UsageError
from tfcaps.models.block_names import KINDS as NETWORKS, STEMS, block_counts
from tfcaps.options import changed, fields, flag_value, of, option
from tfcaps.training.configuration import KINDS, RunConfig
from tfcaps.training.image_task import ImageTask

_WIDTH = 64  # filters of the first stage; of each further one twice as many
_DENSE_WIDTH = 128


@KINDS.register("block_network")
@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockNetworkConfig(RunConfig):
    """All choices of one training of a block network; a field is the flag of the same name.

    Learning rate 1e-3 of rectified Adam inside Lookahead, batches of 64 and 120 epochs are the
    defaults of arXiv 2011.02956.

    Raises:
        UsageError: a value is out of its range.
    """

    precision: str = changed(
        RunConfig,
        "precision",
        default="float32",
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
    stem: str = option(
        "imagenet: 7×7, stride 2, as published; cifar: 3×3, stride 1.",
        default="imagenet",
        choices=STEMS,
    )
    epochs: int = changed(RunConfig, "epochs", default=120)
    conflicting_samples_size: int = changed(RunConfig, "conflicting_samples_size", default=512)

    def __post_init__(self) -> None:
        super().__post_init__()
        blocks = self.blocks or self._named_blocks()
        widths = self.widths or self._doubled_widths(len(blocks))
        if len(widths) != len(blocks):
            raise UsageError(
                f"Expected as many entries in --widths as in --blocks={flag_value(blocks)}. "
                f"Received: --widths={flag_value(widths)}"
            )
        if not any(blocks):
            raise UsageError(
                f"Expected --blocks with at least one block. Received: {flag_value(blocks)}"
            )
        object.__setattr__(self, "blocks", blocks)
        object.__setattr__(self, "widths", widths)

    def _named_blocks(self) -> tuple[int, ...]:
        if self.model == "fnn":
            self.expect("num_layers", self.num_layers >= 1, ">= 1")
            return (self.num_layers,)
        return block_counts(self.num_layers)

    def _doubled_widths(self, stages: int) -> tuple[int, ...]:
        if self.model == "fnn":
            return (self.width_layers or _DENSE_WIDTH,) * stages
        return tuple((self.width_layers or _WIDTH) * 2**stage for stage in range(stages))

    @property
    def run_name(self) -> str:
        return f"{self.dataset_name}-{self.model}"

    def task(self) -> "BlockNetworkTask":
        return BlockNetworkTask(self)


class BlockNetworkTask(ImageTask[BlockNetworkConfig]):
    """Cross-entropy with rectified Adam inside Lookahead: see `BlockNetworkConfig` and `Task`.

    Source: Peer et al., Conflicting bundles, arXiv 2011.02956.
    """

    @property
    def augmentation(self):
        return {"paper": "blocks", "none": "none"}[self.config.augmentation]

    def network(self, image_shape, num_classes):
        config = self.config
        return models.BlockNetwork(
            image_shape,
            num_classes,
            kind=config.model,
            blocks=config.blocks,
            widths=config.widths,
            stem=config.stem,
        )

    def compile(self, model, *, jit, optimizer=None):
        import keras

        learning_rate = self.config.learning_rate
        model.compile(
            optimizer=optimizer or optimizers.Lookahead(optimizers.RectifiedAdam(learning_rate)),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
            jit_compile=jit,
            run_eagerly=not self.config.enable_tf_function,
        )

    def results(self, model, inputs):
        del inputs
        return {"flops": models.count_flops(model)}
