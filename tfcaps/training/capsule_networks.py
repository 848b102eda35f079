"""The training of capsule networks."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

from tfcaps import losses, metrics, robustness
from tfcaps.errors import UsageError
from tfcaps.models import registry as networks
from tfcaps.options import changed, fields, flag_value, of, option
from tfcaps.routing import registry as routings
from tfcaps.training import recipes
from tfcaps.training.block_networks import BlockNetworkConfig, check_stages, doubled_widths
from tfcaps.training.configuration import KINDS, RunConfig
from tfcaps.training.image_task import ImageTask

# Votes' initializer in the papers, as a configuration: an initializer draws a seed when it is made.
_PUBLISHED = {"class_name": "RandomNormal", "config": {"mean": 0.0, "stddev": 0.2, "seed": None}}
# What the schedule of EM's published cost is, unless it is asked for.
_SCHEDULE = {"inverse_temperature": 0.001, "inverse_temperature_decay": 0.95}
# How it is trained, unless it is asked for. The margin loss has no smoothed labels: it doesn't pull
# any further from 0.9 and 0.1 on, which is what they are for.
_RECIPES: dict[str, dict[str, Any]] = {
    "paper": {"augmentation": "paper", "batch_size": 32, "epochs": 16, "precision": "auto"},
    "fast": {name: recipes.FAST[name] for name in recipes.FAST if name != "label_smoothing"},
}
# Of the fast recipe's rate, which is made for a cross-entropy: the margin loss has smaller
# gradients, and with this factor networks learn faster (docs/results.md).
_RATE_OF_LENGTHS = 3.0


def _defaulted(name: str) -> Any:
    """The option of all trainings, whose default is told apart from a value that is given."""
    known = of(fields(RunConfig)[name]).help.removesuffix(".")
    default = recipes.defaults(_RECIPES, name)
    return changed(RunConfig, name, default=None, help=f"{known} ({default}).")


def _of_trunk(name: str, words: str, **changes: Any) -> Any:
    """The option of block networks, for capsules on their trunk."""
    return changed(BlockNetworkConfig, name, help=f"Of CapsHead: {words}.", **changes)


def _defaults(name: str) -> str:
    """What the networks have where an option isn't given, for its help."""
    names: dict[str, list[str]] = {}
    for network in networks.names():
        known = networks.published(network)
        if name in known:
            names.setdefault(flag_value(known[name]), []).append(network)
    return "; ".join(f"{', '.join(having)}: {value}" for value, having in names.items())


@KINDS.register("capsule_network")
@dataclasses.dataclass(frozen=True, kw_only=True)
class CapsuleNetworkConfig(RunConfig):
    """All choices of one training of a capsule network; a field is the flag of the same name.

    What isn't given, the recipe says. `paper`: Adam's learning rate falls from 1e-3 to 0 in 16
    epochs of batches of 32. `fast`: that of `BlockNetworkConfig`, with the margin loss, and a rate
    of 0.3 for 128 examples. That of arXiv 1905.08744 and 2104.07393 is Adam's at 1e-4 for 30 epochs
    of batches of 128, see the flag files. A run that is gone on with keeps the defaults that it was
    begun with. Of the inverse temperature of EM's published cost the published 0.01 is too large
    for wide layers, see docs/results.md.

    What a network is made of where nothing is asked for, it says itself (`models.registry`). The
    last of the layers is then the number of classes of the data.

    Raises:
        UsageError: a value is out of its range.

    Example:

    >>> config = CapsuleNetworkConfig(log_dir="runs/mine", model="EfficientCapsNet")
    >>> config.layers, config.routing, config.with_classes(3).layers
    ((16, 10), 'attention', (16, 3))
    """

    recipe: str = option(recipes.HELP, default="paper", choices=recipes.NAMES)
    augmentation: str = changed(
        RunConfig,
        "augmentation",
        default=None,
        help="Changes of training images: paper: crops, flips, … as published; fast: those of "
        "block networks, without changes of brightness; efficient: that of Efficient-CapsNet, for "
        "capsules on MNIST; none: pixels in [0, 1] "
        f"({recipes.defaults(_RECIPES, 'augmentation')}).",
        choices=("paper", "fast", "efficient", "none"),
    )
    model: str = option(
        "Which network.",
        default="CapsNet",
        choices=networks.names,
    )
    routing: str = option(
        f"How capsules agree ({_defaults('routing')}).", default=None, choices=routings.names
    )
    iterations: int = option("Routing iterations.", default=2, range=">= 1")
    scale: str = option(
        "Mean distance of sda: per sample, or per batch as published.",
        default="sample",
        choices=("sample", "batch"),
    )
    em_cost: str | None = option(
        "Of em: what a cluster costs, relative to the others or as published (default: relative; "
        "with an inverse temperature: published).",
        default=None,
        choices=("relative", "published"),
    )
    inverse_temperature: float | None = option(
        "Of em's published cost: the limit of its schedule (default: 0.001; published: 0.01).",
        default=None,
        range="> 0",
    )
    inverse_temperature_decay: float | None = option(
        "Of em's published cost: 0 starts at the limit (default: 0.95).",
        default=None,
        range="in [0, 1)",
    )
    use_prior: bool = option(
        "Of attention: whether a prior of the couplings is learnt; ConvCapsNet can't have one "
        f"({_defaults('use_prior')}).",
        default=None,
    )
    layers: tuple[int, ...] = option(
        "Capsules per layer; the last one: the classes "
        f"({_defaults('layers')}; the last one as the data set has them).",
        default=None,
        range=">= 1",
        least=2,
        example="32,32,10",
    )
    dimensions: tuple[int, ...] = option(
        f"Capsule dimension per layer ({_defaults('dimensions')}).",
        default=None,
        range=">= 1",
        least=2,
        example="32,32,10",
    )
    use_bias: bool = option(
        f"Whether capsules have a bias ({_defaults('use_bias')}).", default=None
    )
    blocks: tuple[int, ...] = _of_trunk(
        "blocks", f"residual blocks per stage ({_defaults('blocks')})", default=None
    )
    width_layers: int = _of_trunk(
        "width_layers",
        "filters of the first stage, which double from stage to stage; 0: 64",
    )
    widths: tuple[int, ...] = _of_trunk(
        "widths", "filters per stage, instead of --width_layers", default=None
    )
    stem: str = _of_trunk(
        "stem",
        "imagenet: 7×7, stride 2; cifar: 3×3, stride 1; pooled: the same, and 2×2 max pooling; "
        f"deep: two of these, and the pooling ({_defaults('stem')})",
    )
    make_skips: bool = option("Whether there are residual connections.", default=False)
    skip_dist: int = option("Layers that a residual connection spans.", default=2, range=">= 1")
    skip_kind: str = option(
        "What a residual connection adds to the lower layer's output: gated: a learnt part of the "
        "upper layer's, 0.2 at first; published: all of it, to the output before an addition.",
        default="gated",
        choices=networks.SKIP_KINDS,
        before="published",
    )
    use_reconstruction: bool = option(
        f"Whether there is a decoder ({_defaults('use_reconstruction')}).", default=None
    )
    reconstruction_weight: float = option("Weight of its loss.", default=1e-5, range=">= 0")
    mask: str = option(
        "What the decoder sees: all class capsules (none), or the label's (label).",
        default="none",
        choices=networks.MASKS,
    )
    kernel_initializer: str = option(
        "Of the votes: length_preserving, with which 16 layers and more have gradients, or "
        "published, N(0, 0.2).",
        default="length_preserving",
        choices=("length_preserving", "published"),
        former={"normal": "published"},
    )
    robust: bool = option(
        "Attack each batch before learning from it: γ-capsules, arXiv 1812.09707.", default=False
    )
    epsilon: float = option(
        "The attack's largest change of a pixel, of a range of 1.", default=0.1, range=">= 0"
    )
    attack_step_size: float = option("Of one of its steps.", default=0.01, range="> 0")
    attack_steps: int = option("How many it takes.", default=40, range=">= 1")
    learning_rate: float = changed(
        RunConfig,
        "learning_rate",
        default=None,
        help="Of the optimizer, in the first epoch, or after the warm-up (paper: 0.001; fast: "
        "0.3 for 128 examples of a batch).",
    )
    schedule: str = changed(
        RunConfig,
        "schedule",
        default=None,
        help=f"{of(fields(RunConfig)['schedule']).help.removesuffix('.')} "
        "(paper: cosine; with --learning_rate_decay: exponential; fast: "
        f"{recipes.FAST['schedule']}).",
    )
    batch_size: int = _defaulted("batch_size")
    epochs: int = _defaulted("epochs")
    precision: str = _defaulted("precision")
    # No option: what wasn't given, with the value that it has from the network. Copies with another
    # model, or another number of classes, have what that one makes of it.
    own: Mapping[str, Any] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        self.check("model")
        self._settle()
        super().__post_init__()
        if len(self.layers) != len(self.dimensions):
            raise UsageError(
                "Expected as many entries in --dimensions as in --layers. Received: "
                f"{len(self.layers)} in --layers={flag_value(self.layers)} and "
                f"{len(self.dimensions)} in --dimensions={flag_value(self.dimensions)}"
            )
        self._check_trunk()
        self._settle_em_cost()

    def _settle(self) -> None:
        """What isn't given is as the network has it; of the training, as the recipe has it."""
        for name in ("recipe", "learning_rate_decay", "batch_size", "blocks", "width_layers"):
            self.check(name)
        falling = "cosine" if self.learning_rate_decay == 1 else "exponential"
        training = {"schedule": falling, "learning_rate": 1e-3, **_RECIPES[self.recipe]}
        if self.recipe == "fast":
            size = self.batch_size if self._is_given("batch_size") else training["batch_size"]
            training["learning_rate"] = _RATE_OF_LENGTHS * recipes.fast_rate(size)
        defaults = {**training, **self._network()}
        own = {name: value for name, value in defaults.items() if not self._is_given(name)}
        for name, value in {**own, "own": own}.items():
            object.__setattr__(self, name, value)

    def _is_given(self, name: str) -> bool:
        """Whether an option has a value that it doesn't have from recipe or network."""
        return getattr(self, name) not in (None, self.own.get(name))

    def _network(self) -> dict[str, Any]:
        """What the network is made of, where nothing else is asked for."""
        known = networks.published(self.model)
        if self._has_trunk:
            stages = len(self.blocks if self._is_given("blocks") else known["blocks"])
            return {**known, "widths": doubled_widths(self.width_layers, stages)}
        # Of a copy of one that has them, which were that network's own.
        return {**known, **dict.fromkeys(networks.TRUNK)}

    @property
    def _has_trunk(self) -> bool:
        """Whether the network stands on the trunk of a residual one."""
        return "blocks" in networks.published(self.model)

    def _check_trunk(self) -> None:
        if self._has_trunk:
            check_stages(self.blocks, self.widths)
            return
        known = [name for name in networks.names() if "blocks" in networks.published(name)]
        allowed = f"with --model={' or '.join(known)} only, not with {self.flag('model')}"
        for name in (*networks.TRUNK, "width_layers"):
            self.expect(name, not getattr(self, name), allowed)

    def with_classes(self, count: int) -> "CapsuleNetworkConfig":
        if "layers" not in self.own:
            return self
        return dataclasses.replace(self, layers=(*self.layers[:-1], count))

    def as_begun(self, earlier: RunConfig) -> "CapsuleNetworkConfig":
        begun = super().as_begun(earlier)
        return dataclasses.replace(begun, **{name: getattr(earlier, name) for name in self.own})

    def _settle_em_cost(self) -> None:
        """A schedule asks for the published cost: before there was another one, it was enough."""
        given = [name for name in _SCHEDULE if getattr(self, name) is not None]
        if self.em_cost is None:
            object.__setattr__(self, "em_cost", "published" if given else "relative")
        if self.em_cost == "published":
            for name in _SCHEDULE.keys() - given:
                object.__setattr__(self, name, _SCHEDULE[name])
        elif given:
            self.expect(given[0], False, "with --em_cost=published only")

    def settled(self) -> dict[str, Any]:
        """Without what is EM's alone, or residual connections', where there are none."""
        idle = () if self.routing == "em" else ("em_cost", *_SCHEDULE)
        idle += () if self.make_skips else ("skip_kind",)
        return {name: value for name, value in super().settled().items() if name not in idle}

    @property
    def run_name(self) -> str:
        return f"{self.dataset_name}-{self.routing}"

    def task(self) -> "CapsuleNetworkTask":
        return CapsuleNetworkTask(self)

    def trunk(self) -> dict[str, Any]:
        """What a network on a residual trunk is given of it; nothing for any other network."""
        own = networks.TRUNK if self._has_trunk else ()
        return {name: getattr(self, name) for name in own}

    def routing_config(self) -> dict[str, Any]:
        """The routing with its own arguments, as `tfcaps.routing.get` takes it."""
        schedule = {name: getattr(self, name) for name in _SCHEDULE}
        own: dict[str, dict[str, Any]] = {
            "em": {"cost": self.em_cost, **(schedule if self.em_cost == "published" else {})},
            "sda": {"scale": self.scale},
            "attention": {"use_prior": self.use_prior},
        }
        return {"name": self.routing, "iterations": self.iterations, **own.get(self.routing, {})}


class CapsuleNetworkTask(ImageTask[CapsuleNetworkConfig]):
    """Margin loss and reconstruction, trained by the recipe: see `CapsuleNetworkConfig`."""

    def load(self):
        self._check_pixels()
        return super().load()

    def _check_pixels(self) -> None:
        if self.config.robust and self.preprocessing.standardize:
            raise UsageError(
                "Expected --augmentation=none with --robust, which changes pixels in [0, 1]; "
                f"{self.config.dataset} is standardised otherwise. "
                f"Received: --augmentation={self.config.augmentation}"
            )

    def network(self, image_shape, num_classes):
        config = self.config.with_classes(num_classes)
        if config.layers[-1] != num_classes:
            raise UsageError(
                f"Expected the last entry of --layers to be {num_classes}, the number of classes "
                f"of {config.dataset}. Received: {config.layers[-1]}"
            )
        return networks.get(config.model)(
            image_shape,
            layers=config.layers,
            dimensions=config.dimensions,
            routing=config.routing_config(),
            use_bias=config.use_bias,
            skip_distance=config.skip_dist if config.make_skips else None,
            skip_kind=config.skip_kind,
            use_reconstruction=config.use_reconstruction,
            mask=config.mask,
            kernel_initializer=_PUBLISHED if config.kernel_initializer == "published" else None,
            **config.trunk(),
        )

    def compile(self, model, *, jit, optimizer=None):
        """Compiles with margin and reconstruction loss.

        A robust training attacks the images of each batch inside of the train step.
        """
        import keras

        config = self.config
        terms, weights = {"lengths": losses.MarginLoss()}, {"lengths": 1.0}
        if model.use_reconstruction:
            terms["reconstruction"] = losses.ReconstructionLoss()
            weights["reconstruction"] = config.reconstruction_weight
        model.compile(
            optimizer=optimizer or self._optimizer(),
            loss=terms,
            loss_weights=weights,
            metrics={"lengths": [keras.metrics.CategoricalAccuracy(name="accuracy")]},
            jit_compile=jit,
            run_eagerly=not config.enable_tf_function,
        )
        if config.robust:
            robustness.train_on_attacked_images(
                model,
                epsilon=config.epsilon,
                step_size=config.attack_step_size,
                steps=config.attack_steps,
            )

    def _optimizer(self):
        import keras

        rate = self.config.learning_rate
        if self.config.recipe == "fast":
            return recipes.fast_optimizer(rate)
        return keras.optimizers.Adam(rate)

    def as_inputs_and_targets(self, batches, model, num_classes, *, training):
        """Batches with what there is to be drawn.

        A network whose decoder sees the label's capsule gets the labels in training, and zeros
        otherwise: at inference it reconstructs from the longest capsule. Weights of classes are
        those of the margin loss.
        """
        import tensorflow as tf

        def convert(batch):
            one_hot = tf.one_hot(batch["label"], num_classes)
            targets = {"lengths": one_hot}
            if model.use_reconstruction:
                targets["reconstruction"] = batch["original"]
            inputs = batch["image"]
            if isinstance(model.input, dict):
                inputs = {"image": inputs, "label": one_hot if training else tf.zeros_like(one_hot)}
            if "weight" not in batch:
                return inputs, targets
            # How well an image is drawn has nothing to do with how frequent its class is.
            even = tf.ones_like(batch["weight"])
            weights = {name: batch["weight"] if name == "lengths" else even for name in targets}
            return inputs, targets, weights

        return batches.map(convert, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)

    def callbacks(self, examples):
        from tfcaps.training.capsule_score_recorder import CapsuleScoreRecorder

        return [CapsuleScoreRecorder(examples["image"], batch_size=self.config.batch_size)]

    def results(self, model, inputs):
        inputs = iter(inputs)
        first = next(inputs, None)
        if first is None:
            return {}
        return metrics.capsule_scores(model, itertools.chain([first], inputs)).to_dict()

    def figures(self, model, examples, class_names, *, is_finished):
        from tfcaps.training import capsule_figures

        return capsule_figures.draw(model, examples, class_names, is_finished=is_finished)
