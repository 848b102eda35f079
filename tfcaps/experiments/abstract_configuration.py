"""What there is to choose about the experiment on abstract classes, and its trainings."""

import dataclasses
import functools
import itertools
import pathlib
from typing import TYPE_CHECKING, Any, NamedTuple

from tfcaps.experiments.experiment import Experiment, ends_first
from tfcaps.options import changed, fields, of, option
from tfcaps.training import (
    BlockNetworkConfig,
    CapsuleNetworkConfig,
    ImageClassifierConfig,
    RunConfig,
)

if TYPE_CHECKING:
    from tfcaps.datasets.abstract_shapes.generator import NamedTask

# The published problems; tasks of other names are asked for by name.
_PROBLEMS = tuple(f"svrt_{number}" for number in range(1, 24))
_KINDS: tuple[Any, ...] = (
    BlockNetworkConfig,
    ImageClassifierConfig,
    CapsuleNetworkConfig,
)


def _networks_of(kind: type[RunConfig]) -> tuple[str, ...]:
    return of(fields(kind)["model"]).allowed()


def _network_names() -> tuple[str, ...]:
    """The values of --networks: all that a program trains on images."""
    return tuple(itertools.chain.from_iterable(map(_networks_of, _KINDS)))


def _renderings() -> tuple[str, ...]:
    from tfcaps.datasets import abstract_shapes

    return abstract_shapes.renderings()


@functools.cache
def _renderings_of(problem: str, size: int) -> tuple[str, ...]:
    """All ways to draw a problem: where there are no outlines there is only one."""
    from tfcaps.datasets import abstract_shapes

    has_outlines = isinstance(
        abstract_shapes.layouts(problem, 1, size=size), abstract_shapes.Layout
    )
    return _renderings() if has_outlines else _renderings()[:1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AbstractClassExperiment(Experiment):
    """All choices of an experiment on abstract classes; a field is the flag of the same name.

    Every training has the same number of steps at most, whatever its number of images: `steps`,
    with the validation images looked at after each `steps_per_epoch`. Of these epochs the best one
    counts, and the training ends after `patience` of them without a better one.

    Raises:
        UsageError: a value is out of its range.

    Example:

    >>> config = AbstractClassExperiment(log_dir="runs/abstract", sizes=["20", "50"], steps=100)
    >>> config.sizes, config.epochs
    ((20, 50), 2)

    Sources: Fleuret et al., Comparing machines and humans on a visual categorization test, PNAS
    2011; sizes and score: Zerroug et al., A benchmark for compositional visual reasoning, arXiv
    2206.05379.
    """

    log_dir: str = changed(
        Experiment, "log_dir", help="Folder of the results (runs/abstract_classes-TIME)."
    )
    tasks: tuple[str, ...] = option(
        "Tasks, also TASK/RENDERING and TASK/SHAPES, as in --dataset=abstract:TASK.",
        default=_PROBLEMS,
        distinct=True,
        least=1,
        may_change=True,
    )
    networks: tuple[str, ...] = option(
        "Networks: values of --model of bin/train_network and bin/train_capsnet.",
        default=("resnet",),
        choices=_network_names,
        distinct=True,
        least=1,
        may_change=True,
    )
    sizes: tuple[int, ...] = option(
        "Numbers of training images.",
        default=(20, 50, 100, 200, 500, 1_000, 10_000),
        range=">= 1",
        distinct=True,
        least=1,
        may_change=True,
    )
    seeds: tuple[int, ...] = option(
        "Of the trainings, and of their images; those of validation and test are the same.",
        default=(0, 1),
        range=">= 0",
        distinct=True,
        least=1,
        may_change=True,
    )
    renderings: tuple[str, ...] = option(
        "How the test images are drawn, beside the way that is learnt; none: in all ways.",
        default=(),
        choices=_renderings,
        distinct=True,
        may_change=True,
    )
    transfer: tuple[str, ...] = option(
        "Tasks whose test images are shown to all networks, as in --tasks.",
        default=(),
        distinct=True,
        may_change=True,
    )
    image_size: int = option("Side in pixels that images are drawn in.", default=128, range=">= 1")
    validation_images: int = option(
        "Images that say which epoch counts, and when to stop.", default=500, range=">= 1"
    )
    test_images: int = option(
        # Of so many both classes are among them.
        "Images of the results.",
        default=1_000,
        range=">= 50",
    )
    weights: str | None = changed(
        ImageClassifierConfig,
        "weights",
        help="File that the network has its weights from: .keras, .weights.h5 or .h5; none: drawn.",
    )
    blocks: tuple[int, ...] = changed(
        BlockNetworkConfig, "blocks", default=(1, 1, 1), help="Of resnet and vgg: blocks per stage."
    )
    widths: tuple[int, ...] = changed(
        BlockNetworkConfig,
        "widths",
        default=(16, 32, 64),
        help="Of resnet, vgg and fnn: filters or units per stage.",
    )
    layers: tuple[int, ...] | None = changed(
        CapsuleNetworkConfig,
        "layers",
        help="Of capsule networks: capsules per layer, the last one 2 (as each is published).",
        example="16,2",
    )
    dimensions: tuple[int, ...] | None = changed(
        CapsuleNetworkConfig,
        "dimensions",
        help="Of capsule networks: capsule dimension per layer (as each is published).",
        example="8,16",
    )
    routing: str | None = changed(
        CapsuleNetworkConfig,
        "routing",
        help="Of capsule networks: how capsules agree (as each is published).",
    )
    steps: int = option(
        "Steps of a training at most, whatever its number of images.", default=1_000, range=">= 1"
    )
    steps_per_epoch: int = option(
        "The validation images are looked at after so many steps.", default=50, range=">= 1"
    )
    patience: int = changed(
        RunConfig,
        "patience",
        default=10,
        may_change=False,
        help="Stop after looking so often without a better validation accuracy; 0: never.",
    )
    batch_size: int = changed(RunConfig, "batch_size", default=32, help="Images per step.")
    learning_rate: float = changed(RunConfig, "learning_rate", help="Of each network's optimizer.")
    keep_networks: bool = option(
        "Keep each training's run directory, for bin/explain and bin/evaluate, and not only its "
        "scores.",
        default=True,
        may_change=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect(
            "steps",
            self.steps % self.steps_per_epoch == 0,
            f"to be a multiple of {self.flag('steps_per_epoch')}",
        )
        if self.weights is not None:
            self.expect("weights", pathlib.Path(self.weights).is_file(), "to be a file")
        if self.layers is not None:
            self.expect("layers", self.layers[-1] == 2, "to end in 2, the number of classes")
        for network in self.networks:  # its own choices may not fit each other
            Training("svrt_1", network, 1, 0).run(self)

    @property
    def run_name(self) -> str:
        return "abstract_classes"

    @property
    def epochs(self) -> int:
        """How often a training looks at the validation images, at most."""
        return self.steps // self.steps_per_epoch

    def measured(self, training: "Training") -> tuple[str, ...]:
        """The renderings of the test images, beginning with the one that is learnt."""
        task, rendering, _ = training.images
        asked = self.renderings or _renderings_of(task, self.image_size)
        return tuple(dict.fromkeys((rendering, *asked)))

    def others(self, training: "Training") -> tuple[str, ...]:
        """The other tasks whose test images a network is shown."""
        return tuple(task for task in self.transfer if task != training.task)

    def trainings(self) -> list["Training"]:
        """All combinations, in an order in which a stopped experiment has something of each.

        The seed changes last; of the sizes the smallest and the largest come first, then those that
        halve the gaps.
        """
        return [
            Training(task, network, size, seed)
            for seed in self.seeds
            for size in ends_first(sorted(self.sizes))
            for task, network in itertools.product(self.tasks, self.networks)
        ]


class Training(NamedTuple):
    """One training of the experiment."""

    task: str
    network: str
    size: int
    seed: int

    @property
    def name(self) -> str:
        """Of its files."""
        task = self.task.replace("/", "_")
        return f"{task}-{self.network}-{self.size}-seed_{self.seed}"

    @property
    def images(self) -> "NamedTask":
        """The problem of the images that are learnt, how they are drawn, and of how many shapes."""
        from tfcaps.datasets import abstract_shapes

        return abstract_shapes.read_name(self.task)

    @property
    def rendering(self) -> str:
        """The way in which the images that are learnt are drawn."""
        return self.images.rendering

    def run(self, experiment: AbstractClassExperiment) -> RunConfig:
        """What is trained.

        Raises:
            UsageError: the network can't be made so.
        """
        kind = next(kind for kind in _KINDS if self.network in _networks_of(kind))
        shared = ("patience", "steps_per_epoch", "epochs", "batch_size", "learning_rate")
        return kind(
            log_dir=str(pathlib.Path(experiment.log_dir) / "cells" / self.name),
            dataset=f"abstract:{self.task}",
            seed=self.seed,
            model=self.network,
            augmentation="none",  # most changes of an image would change its relation
            test=False,  # the scores of the best epoch are all that is asked of the test images
            resume=True,
            **{name: getattr(experiment, name) for name in shared},
            **self._own(kind, experiment),
        )

    def _own(self, kind: type[RunConfig], experiment: AbstractClassExperiment) -> dict:
        """What only networks of this kind have."""
        if kind is BlockNetworkConfig:
            sizes = {"blocks": experiment.blocks, "widths": experiment.widths}
            return {**sizes, "conflicting_samples_size": 0}
        if kind is CapsuleNetworkConfig:
            own = {name: getattr(experiment, name) for name in ("layers", "dimensions", "routing")}
            # A decoder of such images would have more weights than all the rest.
            return {**own, "use_reconstruction": False}
        return {}
