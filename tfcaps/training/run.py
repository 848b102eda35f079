"""A finished run, read back."""

import dataclasses
import os
import pathlib
from typing import Any

import keras

from tfcaps import datasets, export
from tfcaps.errors import UsageError
from tfcaps.training import checkpoints, devices
from tfcaps.training.configuration import ExportOptions, RunConfig
from tfcaps.training.run_directory import RunDirectory, expect_same_data, export_description


@dataclasses.dataclass(frozen=True)
class Run:
    """What was trained, and what belongs to it.

    Args:
        config: the training's configuration.
        model: the network with its newest weights.
        epoch: how many epochs it was trained.
        preprocessing: from raw images to the network's input.
        class_names: the K classes, in the order of the scores.
        image_shape: `(H, W, C)` of raw images.
        fingerprint: what its data are known by again; None: of an older run, which hasn't kept it.
    """

    config: RunConfig
    model: keras.Model
    epoch: int
    preprocessing: datasets.Preprocessing
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    fingerprint: str | None = None

    def load_data(
        self, *, dataset: str | None = None, data_dir: str | os.PathLike | None = None
    ) -> Any:
        """The data as the training had them: what was held out stays held out.

        Args:
            dataset: another data set. Default None: the training's.
            data_dir: folder of tensorflow_datasets' prepared sets. Default None: the training's.

        Raises:
            UsageError: the data can't be had, or have other classes than the training's; or, of
                its own data set, they have changed since.
        """
        config = dataclasses.replace(
            self.config,
            dataset=dataset or self.config.dataset,
            data_dir=os.fspath(data_dir) if data_dir else self.config.data_dir,
        )
        data = config.task().load()
        is_own = datasets.is_same_set(config.dataset, self.config.dataset)
        known = {
            "class_names": self.class_names,
            "fingerprint": self.fingerprint if is_own else None,
        }
        now = {
            "class_names": data.class_names,
            "fingerprint": getattr(data, "fingerprint", None),
        }
        expect_same_data(known, now, data.name, self.config.log_dir)
        return data


def load_run(log_dir: str | os.PathLike) -> Run:
    """Loads a run from its directory, with the weights of its newest undamaged checkpoint.

    Args:
        log_dir: the run directory.

    Returns:
        The run.

    Raises:
        UsageError: the directory holds no run, or no checkpoint that can be read.
    """
    directory = RunDirectory(log_dir)
    description = directory.read_description()
    if "preprocessing" not in description:
        raise UsageError(
            "Expected a run of a network of images. "
            f"Received: {directory.path}, of a {description['config'].kind}"
        )
    config, shown = description["config"], ("class_names", "image_shape")
    if config.precision == "auto" or not all(name in description for name in shown):
        raise directory.damaged()  # a run says which precision it came to
    preprocessing = datasets.Preprocessing.from_dict(description["preprocessing"])
    # Under another policy the optimizer would be another one than the saved one.
    with devices.precision(config.precision):
        model, epoch = checkpoints.restore(directory.checkpoints)
    if model is None:
        raise UsageError(
            f"Expected a run with a checkpoint. Received: {directory.path}, "
            "in which no epoch has been finished"
        )
    return Run(
        config=config,
        model=model,
        epoch=epoch,
        preprocessing=preprocessing,
        class_names=tuple(description["class_names"]),
        image_shape=tuple(description["image_shape"]),
        fingerprint=description.get("fingerprint"),
    )


def export_run(options: ExportOptions) -> pathlib.Path:
    """Exports a finished run's classifier, with its preprocessing, for TF Serving.

    Args:
        options: which run, and where to.

    Returns:
        The version folder's path.

    Raises:
        UsageError: see `load_run` and `tfcaps.export.export_model`.
    """
    run = load_run(options.log_dir)
    return export.export_model(
        run.model.classifier,
        options.output_dir or RunDirectory(options.log_dir).serving,
        preprocess=lambda images: run.preprocessing.evaluate(images)[0],
        image_shape=run.image_shape,
        class_names=run.class_names,
        version=options.version,
        description=export_description(run.config, run.epoch, run.fingerprint),
    )
