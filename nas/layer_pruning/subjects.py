"""What is pruned: what differs between text encoders, vision transformers, residual networks."""

import abc
import dataclasses
import functools
import itertools
import os
import pathlib
from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar, cast

import numpy as np

from nas.architecture import Architecture, prune
from nas.layer_pruning.configuration import PruningConfig
from nas.layer_pruning.removals import Layers
from tfcaps import datasets, models
from tfcaps.errors import UsageError
from tfcaps.models import weight_transfer
from tfcaps.models.pretrained import keras_hub
from tfcaps.options import fields
from tfcaps.training import (
    PretrainedNetworkTask,
    Task,
    TextClassifierConfig,
    TextClassifierTask,
    pretrained_networks,
)
from tfcaps.training.fine_tuning import FineTuningConfig

# Of a layer: its input and its output, (B, P, C) each, for P tokens or places.
States = tuple[np.ndarray, np.ndarray]
# From a folder and a dtype policy to what opens the network there, a function of its inputs: all
# that is imported for that has been imported by then.
Opener = Callable[[str, str], Callable[[], Callable[..., object]]]


def _text_encoder_opener(folder: str, policy: str) -> Callable[[], Callable[..., object]]:
    keras_hub()
    return lambda: models.open_text_encoder(folder, dtype=policy).backbone


def _vit_opener(folder: str, policy: str) -> Callable[[], Callable[..., object]]:
    keras_hub()

    def open_it():
        encoder = models.open_vision_encoder(folder, dtype=policy)
        channels = encoder.image_shape[-1]
        return lambda images, **how: encoder.backbone(_with_channels(images, channels), **how)

    return open_it


def _with_channels(images: np.ndarray, channels: int) -> np.ndarray:
    return np.repeat(images, channels, axis=-1) if images.shape[-1] < channels else images


def _residual_network_opener(folder: str, policy: str) -> Callable[[], Callable[..., object]]:
    del policy  # that of the run

    def open_it():
        opened: Any = pretrained_networks.open_pretrained(folder)
        return opened.run.model

    return open_it


class Subject(abc.ABC):
    """Base class: a pretrained network whose layers are removed.

    Args:
        config: of the pruning, as `for_model` gives it.

    Raises:
        UsageError: the network can't be opened, or isn't for the task.
    """

    noun: ClassVar[str]  # of an example

    def __init__(self, config: PruningConfig):
        self.config = config

    @property
    @abc.abstractmethod
    def num_layers(self) -> int:
        """L, how many layers there are that may go."""

    @property
    def layer_names(self) -> tuple[str, ...]:
        """What they are called; (): just by their numbers."""
        return ()

    @property
    @abc.abstractmethod
    def network(self) -> Any:
        """The whole network, without a head where that is new: a Keras model."""

    def task(self, removed: Layers, **choices: Any) -> Task:
        """The fine-tuning of the network without some layers.

        Args:
            removed: these layers.
            **choices: see `PruningConfig.fine_tuning`.
        """
        return self._task(removed, self.config.fine_tuning(removed, **choices))

    @abc.abstractmethod
    def _task(self, removed: Layers, config: Any) -> Task: ...

    def form(self, removed: Layers) -> Hashable:
        """What networks without some layers have in common where one graph computes them all."""
        return len(removed)

    @abc.abstractmethod
    def metric(self, data: Any) -> str:
        """The name of the score."""

    @abc.abstractmethod
    def states(self, task: Any, batch: Any) -> tuple[list[States], np.ndarray]:
        """Input and output of each layer, and which places count, (B, P).

        Args:
            task: of the whole network.
            batch: of examples, as the task has it.
        """

    @abc.abstractmethod
    def timed(self, task: Any, examples: Any) -> tuple[Any, Any]:
        """Network inputs: of one of some examples, and of all of them."""

    @property
    @abc.abstractmethod
    def opener(self) -> Opener:
        """How a new process opens a network that `save` has written."""

    @abc.abstractmethod
    def save(self, removed: Layers, folder: pathlib.Path, place: pathlib.Path) -> None:
        """Writes the network without some layers so that `--model` opens it.

        Args:
            removed: these layers.
            folder: where to; it is there.
            place: where that comes to lie.
        """

    def final(self, removed: Layers, log_dir: pathlib.Path, pruned: pathlib.Path) -> Any:
        """The configuration of the training on all examples.

        Args:
            removed: the layers that go.
            log_dir: its folder.
            pruned: where the smaller network was saved.
        """
        del pruned
        return self.config.fine_tuning(removed, log_dir=log_dir, all_examples=True)

    @abc.abstractmethod
    def save_trained(self, trained: Any, config: Any, folder: pathlib.Path, place: pathlib.Path):
        """As `save`, of what the training on all examples made of it.

        Args:
            trained: the classifier.
            config: of the training.
            folder: where to; it is there.
            place: where that comes to lie.
        """


class _Encoder(Subject):
    """Base class of KerasHub's encoders, of texts or images, see `Subject`."""

    encoder: Any

    @property
    def num_layers(self):
        return self.encoder.num_layers

    @property
    def network(self):
        return self.encoder.backbone

    def save(self, removed, folder, place):
        del place  # a preset doesn't know where it lies
        self.encoder.without(removed).save(folder)

    def save_trained(self, trained, config, folder, place):
        del config, place
        dataclasses.replace(self.encoder, backbone=trained.backbone).save(folder)


class _TextSubject(_Encoder):
    """A text encoder, see `Subject`."""

    noun = "text"

    def __init__(self, config: PruningConfig):
        super().__init__(config)
        if pretrained_networks.is_run(config.model):
            raise UsageError(
                "Expected a text encoder, a preset of KerasHub or a folder, for texts. "
                f"Received: --dataset={config.dataset} and {config.model}, the run of a training"
            )
        self.encoder = models.open_text_encoder(str(config.model))
        self.encoder.packer(config.max_tokens)  # the positions that there are

    @functools.cached_property
    def _whole(self) -> TextClassifierTask:
        whole = cast(TextClassifierConfig, self.config.fine_tuning(()))
        return TextClassifierTask(whole, self.encoder)

    def _task(self, removed, config):
        del removed  # the configuration has them
        return self._whole.with_config(config)  # what was tokenized stays

    def metric(self, data):
        return data.metric

    @functools.cached_property
    def _taps(self) -> Any:
        import keras

        layers = models.encoder_layers(self.network)
        first, *_ = keras.tree.flatten(layers[0].input)  # the padding mask goes with it
        return keras.Model(self.network.input, [first, *(layer.output for layer in layers)])

    def states(self, task, batch):
        states = _as_arrays(self._taps(task.network_input(batch), training=False))
        return list(itertools.pairwise(states)), np.asarray(batch["padding_mask"], "float64")

    def timed(self, task, examples):
        tokens = task.tokens(examples)
        lengths = tokens["padding_mask"].sum(axis=1)
        middle = int(np.argsort(lengths)[len(lengths) // 2])
        return {k: v[middle : middle + 1, : lengths[middle]] for k, v in tokens.items()}, tokens

    @property
    def opener(self):
        return _text_encoder_opener


class _ImageSubject(Subject):
    """Base class of networks that see images, see `Subject`."""

    noun = "image"

    @abc.abstractmethod
    def without(self, removed: Layers) -> pretrained_networks.PretrainedNetwork:
        """The network without some layers."""

    @abc.abstractmethod
    def _own(self) -> dict[str, Any]:
        """What the network asks of its fine-tunings: size and split of the images."""

    def _task(self, removed, config):
        own = dataclasses.replace(config, **self._own())
        return PretrainedNetworkTask(own, self.without(removed))

    def metric(self, data):
        del data
        return pretrained_networks.METRIC

    def timed(self, task, examples):
        images = task.network_input(task.arrays(None, examples))
        return images[:1], images

    def final(self, removed, log_dir, pruned):
        config = super().final(removed, log_dir, pruned)
        return dataclasses.replace(config, model=os.fspath(pruned), **self._own())


class _ViTSubject(_Encoder, _ImageSubject):
    """A vision transformer of KerasHub, see `Subject`."""

    def __init__(self, config: PruningConfig):
        super().__init__(config)
        self.encoder = models.open_vision_encoder(str(config.model))

    def without(self, removed):
        return pretrained_networks.PretrainedViT(self.encoder.without(removed))

    def _own(self):
        return {"image_size": self.encoder.image_shape[:2]}

    def states(self, task, batch):
        import keras

        network = task.network(tuple(batch["image"].shape[1:]), 1)
        x = keras.Model(network.input, network.get_layer("pixels").output)(batch["image"])
        within = self.network.get_layer("vit_encoder")
        x = keras.Model(self.network.input, within.input)(x, training=False)
        states = [x]
        for layer in models.encoder_layers(self.network):
            states.append(layer(states[-1], training=False))
        return list(itertools.pairwise(_as_arrays(states))), np.ones(states[0].shape[:2])

    @property
    def opener(self):
        return _vit_opener


class _ResidualSubject(_ImageSubject):
    """The residual network of a run, see `Subject`.

    Its layers are the blocks that may go: those whose shortcut is the identity.
    """

    def __init__(self, config: PruningConfig):
        super().__init__(config)
        config.expect(
            "dropout",
            config.dropout == _default("dropout"),
            "where there is a new head; a residual network has none in its own",
        )
        opened: Any = pretrained_networks.open_pretrained(str(config.model))
        self.run = opened.run
        if self.num_layers < 2:
            raise UsageError(
                "Expected a residual network with two blocks or more that may go: those whose "
                f"shortcut is the identity. Received: {config.model}, which has "
                f"{self.num_layers or 'none'}"
            )

    @property
    def architecture(self) -> Architecture:
        """Of the whole network."""
        return _architecture(self.network)

    @property
    def num_layers(self):
        return len(self.layer_names)

    @property
    def layer_names(self):
        return self.architecture.removable_blocks

    @property
    def network(self):
        return self.run.model

    def form(self, removed):
        return _pruned(self.architecture, removed).counts

    def without(self, removed):
        return pretrained_networks.PretrainedResidualNetwork(_smaller(self.run, removed))

    def _own(self):
        own = self.run.config
        if datasets.is_same_set(own.dataset, self.config.dataset):
            # What was held out stays so: the network knows the rest.
            seed = getattr(own, "split_seed", None)
            return {
                "image_size": own.image_size,
                "split_seed": own.seed if seed is None else seed,
            }
        return {"image_size": self.run.image_shape[:2]}

    @functools.cached_property
    def _taps(self) -> Any:
        import keras

        outputs = self.network.inspector.output
        states = []
        for name in self.layer_names:
            before, *_ = keras.tree.flatten(self.network.get_layer(name).input)
            states += [before, outputs[f"{name}/output"]]
        return keras.Model(self.network.input, states)

    def states(self, task, batch):
        found = _as_arrays(self._taps(task.network_input(batch), training=False))
        states = [state.reshape(len(state), -1, state.shape[-1]) for state in found]
        # Stages have fewer places from one to the next; each block has its own.
        return list(zip(states[::2], states[1::2], strict=True)), np.ones((len(states[0]), 1))

    @property
    def opener(self):
        return _residual_network_opener

    def save(self, removed, folder, place):
        pretrained_networks.write_run(folder, _smaller(self.run, removed), place=place)

    def save_trained(self, trained, config, folder, place):
        from tfcaps.training import load_run

        # That of the training on all examples, with what it says of the data.
        run = load_run(config.log_dir)
        pretrained_networks.write_run(folder, dataclasses.replace(run, model=trained), place=place)


def _default(name: str) -> Any:
    """The default of an option of a pruning."""
    return fields(PruningConfig)[name].default


def for_model(config: PruningConfig) -> PruningConfig:
    """The choices, where what wasn't asked for depends on the network.

    Of the data set that a residual network was trained on, that part is held out which was held
    out then: the network knows the rest.

    Raises:
        UsageError: there is no such task; or another part is asked for, or none was held out.
    """
    config.check_images()
    if config.validation_fraction is not None:
        fraction = config.validation_fraction
    else:
        fraction = fields(FineTuningConfig)["validation_fraction"].default
    if config.is_on_texts or not pretrained_networks.is_run(config.model):
        return dataclasses.replace(config, validation_fraction=fraction)
    own = pretrained_networks.residual_run(str(config.model))
    if not datasets.is_same_set(own.dataset, config.dataset):
        return dataclasses.replace(config, validation_fraction=fraction)
    if not own.validation_fraction:
        raise UsageError(
            f"Expected a run that held out a part of {own.dataset}: by what it has learnt from, "
            f"layers can't be chosen. Received: {config.model} with --validation_fraction=0"
        )
    for name in ("validation_fraction", "train_examples"):
        asked, known = getattr(config, name), getattr(own, name)
        config.expect(
            name,
            asked in (known, _default(name)),
            f"to be {known}, as in {config.model}, whose network knows all but what was held out",
        )
    return dataclasses.replace(
        config,
        validation_fraction=own.validation_fraction,
        train_examples=own.train_examples,
    )


def open_subject(config: PruningConfig) -> Subject:
    """Opens what is pruned.

    Raises:
        UsageError: see `Subject`.
    """
    if config.is_on_texts:
        return _TextSubject(config)
    if pretrained_networks.is_run(config.model):
        return _ResidualSubject(config)
    return _ViTSubject(config)


def _architecture(network: Any) -> Architecture:
    return Architecture(network.kind, network.blocks, network.widths, network.stem, network.hidden)


def _pruned(whole: Architecture, removed: Sequence[int]) -> Architecture:
    names = [whole.removable_blocks[layer] for layer in removed]
    # A stage of identities may go as a whole: what is left computes the same without it.
    return prune(whole, names, allow_empty_stages=True)


def _smaller(run: Any, removed: Sequence[int]) -> Any:
    """A run with a smaller network, whose weights are those of its blocks in the whole one."""
    whole = run.model
    network = _pruned(_architecture(whole), removed).build(whole.input_shape[1:], whole.num_classes)
    weight_transfer.inherit(network, whole)
    return dataclasses.replace(run, model=network)


def _as_arrays(states: Any) -> list[np.ndarray]:
    return [np.asarray(state, "float64") for state in states]
