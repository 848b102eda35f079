"""The fine-tuning of pretrained networks of images: vision transformers, and residual networks."""

import abc
import dataclasses
import functools
import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tfcaps import datasets, metrics, models
from tfcaps.errors import UsageError
from tfcaps.options import fields, option
from tfcaps.training import fine_tuning
from tfcaps.training.configuration import KINDS, RunConfig
from tfcaps.training.fine_tuning import FineTuningConfig
from tfcaps.training.image_task import ImageTask
from tfcaps.training.run_directory import RunDirectory, expect_same_data

if TYPE_CHECKING:
    import keras

    from tfcaps.training.run import Run

METRIC = "accuracy"
_RESIDUAL = "resnet"


@KINDS.register("pretrained_network")
@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainedNetworkConfig(FineTuningConfig):
    """All choices of one fine-tuning on images; a field is the flag of the same name.

    Raises:
        UsageError: a value is out of its range.
    """

    model: str | None = option(
        "The run of a residual network; or a ViT: a preset of KerasHub, or a folder of one or in "
        "Hugging Face's format.",
        default=None,
        may_change=True,  # a folder that moves; what is gone on with has its weights already
    )
    split_seed: int | None = option(
        "Of --train_examples and of what is held out; none: --seed.", default=None, range=">= 0"
    )

    def task(self) -> "PretrainedNetworkTask":
        return PretrainedNetworkTask(self)


class PretrainedNetwork(abc.ABC):
    """Base class: a network of images that was trained before.

    Args:
        name: what it was opened by.
    """

    def __init__(self, name: str):
        self.name = name

    @abc.abstractmethod
    def preprocessing(self, dataset: str) -> "datasets.Preprocessing":
        """From stored images of a data set to what the network has learnt to see."""

    @abc.abstractmethod
    def check_shape(self, shape: tuple[int, int, int], dataset: str) -> None:
        """Checks that it can see images (h, w, C).

        Raises:
            UsageError: it can't.
        """

    @abc.abstractmethod
    def classifier(
        self, shape: tuple[int, int, int], class_names: Sequence[str], *, dropout: float
    ) -> "keras.Model":
        """A network with these weights below a head for some classes.

        Args:
            shape: (h, w, C) of preprocessed images.
            class_names: the K classes. A head that tells these already is kept.
            dropout: of a new head.
        """

    @abc.abstractmethod
    def check_data(self, data: "datasets.ImageDataset") -> None:
        """Refuses data that aren't what they were any more.

        Raises:
            UsageError: they aren't.
        """


class PretrainedViT(PretrainedNetwork):
    """A vision transformer of KerasHub, see `PretrainedNetwork`.

    Args:
        encoder: with its layers.
    """

    def __init__(self, encoder: "models.VisionEncoder"):
        super().__init__(encoder.name)
        self.encoder = encoder

    def preprocessing(self, dataset):
        found = datasets.preprocessing(dataset, "blocks")
        # It has a converter of pixels, and images have been stretched to its size.
        return dataclasses.replace(found, resize=None, standardize=False)

    def check_shape(self, shape, dataset):
        *size, channels = self.encoder.image_shape
        if shape[:2] != tuple(size) or shape[2] not in (1, channels):
            raise _wrong_shape(self.name, (*size, channels), shape, dataset)

    def check_data(self, data):
        del data  # what it has learnt from isn't known

    def classifier(self, shape, class_names, *, dropout):
        return models.ViTClassifier(
            self.encoder.backbone,
            len(class_names),
            channels=shape[2],
            scale=self.encoder.scale,
            offset=self.encoder.offset,
            dropout=dropout,
        )


class PretrainedResidualNetwork(PretrainedNetwork):
    """A residual network of a finished run, see `PretrainedNetwork`.

    Args:
        run: the run; its network is a `BlockNetwork`.
    """

    def __init__(self, run: "Run"):
        super().__init__(run.config.log_dir)
        self.run = run

    def preprocessing(self, dataset):
        del dataset  # the network sees what it has been shown
        return self.run.preprocessing

    def check_shape(self, shape, dataset):
        expected = tuple(self.run.model.input_shape[1:])
        if shape != expected:
            raise _wrong_shape(self.name, expected, shape, dataset)

    def check_data(self, data):
        run = self.run
        if datasets.is_same_set(data.name, run.config.dataset):
            known = {"class_names": run.class_names, "fingerprint": run.fingerprint}
            now = {"class_names": data.class_names, "fingerprint": data.fingerprint}
            expect_same_data(known, now, data.name, self.name)

    def classifier(self, shape, class_names, *, dropout):
        del dropout  # there is none in such a head
        trained: Any = self.run.model
        found = models.BlockNetwork(
            shape,
            len(class_names),
            kind=trained.kind,
            blocks=trained.blocks,
            widths=trained.widths,
            stem=trained.stem,
            hidden=trained.hidden,
        )
        keeps_head = tuple(class_names) == self.run.class_names
        for layer in found.layers:
            if layer.weights and (keeps_head or layer.name != "logits"):
                layer.set_weights(trained.get_layer(layer.name).get_weights())
        return found


def is_run(name: str | os.PathLike | None) -> bool:
    """Whether that is the folder of a training of this package."""
    return name is not None and RunDirectory(name).marker.exists()


def residual_run(folder: str | os.PathLike) -> RunConfig:
    """The configuration of the run of a residual network.

    Raises:
        UsageError: the folder has no run, or that of another network.
    """
    config = RunDirectory(folder).read_description()["config"]
    # Of a fine-tuning the network itself tells, once it is loaded.
    model = _RESIDUAL if isinstance(config, PretrainedNetworkConfig) else config.to_dict()["model"]
    if config.kind not in ("block_network", "pretrained_network") or model != _RESIDUAL:
        raise _no_residual_network(folder, model)
    return config


def open_pretrained(name: str | os.PathLike) -> PretrainedNetwork:
    """Opens a pretrained network of images.

    Args:
        name: the run of a residual network, or as `models.open_vision_encoder` takes it.

    Raises:
        UsageError: it can't be opened, or is another network.
    """
    if not is_run(name):
        return PretrainedViT(models.open_vision_encoder(name))
    from tfcaps.training.run import load_run

    residual_run(name)
    run = load_run(name)
    if not isinstance(run.model, models.BlockNetwork) or run.model.kind != _RESIDUAL:
        raise _no_residual_network(name, type(run.model).__name__)
    # A folder may have been moved.
    config = dataclasses.replace(run.config, log_dir=os.fspath(name))
    return PretrainedResidualNetwork(dataclasses.replace(run, config=config))


def write_run(folder: str | os.PathLike, run: "Run", *, place: str | os.PathLike) -> None:
    """Writes a network as a run that `load_run` reads, without what tells of its training.

    Args:
        folder: is there.
        run: with the network.
        place: where the folder comes to lie.
    """
    from tfcaps.training import checkpoints

    network: Any = run.model
    own: dict[str, Any] = {"log_dir": os.fspath(place)}
    if "blocks" in fields(run.config):
        own["blocks"] = tuple(map(len, network.blocks))
    directory = RunDirectory(folder)
    directory.create(
        dataclasses.replace(run.config, **own),
        {
            "class_names": list(run.class_names),
            "image_shape": list(run.image_shape),
            "fingerprint": run.fingerprint,
            "preprocessing": run.preprocessing.to_dict(),
        },
    )
    checkpoints.save(directory.checkpoints, network, run.epoch, is_best=False, keep_all=True)


class PretrainedNetworkTask(ImageTask[PretrainedNetworkConfig]):
    """Cross-entropy with AdamW: see `PretrainedNetworkConfig` and `Task`.

    Args:
        config: what is asked for.
        pretrained: the network, already opened. Default: what the configuration names.
    """

    def __init__(
        self, config: PretrainedNetworkConfig, pretrained: PretrainedNetwork | None = None
    ):
        super().__init__(config)
        self._opened = pretrained

    @functools.cached_property
    def pretrained(self) -> PretrainedNetwork:
        """The network that is fine-tuned."""
        return self._opened or open_pretrained(str(self.config.model))

    @functools.cached_property
    def preprocessing(self):
        return self.pretrained.preprocessing(self.config.dataset)

    @property
    def split_seed(self):
        seed = self.config.split_seed
        return self.config.seed if seed is None else seed

    def check_data(self, data):
        super().check_data(data)
        self.pretrained.check_data(data)
        try:
            shape = self.preprocessing.output_shape(data.image_shape)
        except UsageError:  # a crop that doesn't fit
            shape = data.image_shape
        self.pretrained.check_shape(shape, data.name)

    def build(self, data):
        from tfcaps.training import devices

        shape = self.preprocessing.output_shape(data.image_shape)
        # What opens a network draws its weights first: a new head has to depend on the seed alone.
        devices.seed_generators(self.config.seed)
        return self.pretrained.classifier(shape, data.class_names, dropout=self.config.dropout)

    def network(self, image_shape, num_classes):
        # Any names: nobody's head tells these.
        names = [str(number) for number in range(num_classes)]
        return self.pretrained.classifier(image_shape, names, dropout=self.config.dropout)

    def compile(self, model, *, jit, optimizer=None):
        import keras

        model.compile(
            optimizer=optimizer or fine_tuning.adamw(self.config),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
            jit_compile=jit,
            run_eagerly=not self.config.enable_tf_function,
        )

    def scores(self, data, labels, outputs):
        own = {"score": metrics.task_score(METRIC, labels, outputs)}
        return {**super().scores(data, labels, outputs), **own}

    def score_names(self, data):
        return (*super().score_names(data), "score")


def _no_residual_network(folder: str | os.PathLike, model: str) -> UsageError:
    return UsageError(
        "Expected --model to be the run of a residual network, as bin/train_network "
        f"--model=resnet leaves it. Received: {pathlib.Path(folder)}, the run of {model}"
    )


def _wrong_shape(name: str, expected, shape, dataset: str) -> UsageError:
    wanted, found = ("×".join(map(str, sizes)) for sizes in (expected, shape))
    return UsageError(
        f"Expected images of {wanted} (height, width, channels), which {name} sees. "
        f"Received: {dataset} with {found}"
    )
