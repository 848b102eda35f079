"""One training of the experiment on abstract classes, and what is kept of it."""

import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfcaps import files, training
from tfcaps.datasets import ImageDataset, Split, abstract_shapes
from tfcaps.errors import NotFiniteError, UsageError
from tfcaps.experiments.abstract_configuration import (
    AbstractClassExperiment,
    Training,
)
from tfcaps.experiments.experiment import own_output
from tfcaps.training import RunConfig

_SEED = 0  # of validation and test images, which are the same for all trainings
# Of the ratio of two scores, one of which may have become 0 in single precision.
_LEAST_SCORE = 1e-38


def _record_path(config: AbstractClassExperiment, cell: Training) -> pathlib.Path:
    """The file that says that a training is done, and what its network answers."""
    return pathlib.Path(config.log_dir) / "records" / f"{cell.name}.json"


def read_record(config: AbstractClassExperiment, cell: Training) -> dict[str, Any] | None:
    """What is kept of a training with all that is asked of it; None where something is missing.

    It has `labels`, a list of the T test images, and for each rendering `scores`: the logarithm of
    the score of the class with the relation divided by that of the other one; beside them `epoch`,
    `steps`, `validation_accuracy`, `parameters` and `seconds`. Under `transfer` stand `labels` and
    `scores` for each other task that the network was shown. Of a training whose numbers didn't
    stay finite it has `failed`, the sentence.
    """
    record = files.read_json(_record_path(config, cell))
    if not isinstance(record, dict):
        return None
    missing = _unmeasured(config, cell, record) or _unseen(config, cell, record)
    return record if "failed" in record or not missing else None


def _unmeasured(config: AbstractClassExperiment, cell: Training, record: dict) -> list[str]:
    scores = record.get("scores", {})
    return [way for way in config.measured(cell) if way not in scores]


def _unseen(config: AbstractClassExperiment, cell: Training, record: dict) -> list[str]:
    return [task for task in config.others(cell) if task not in record.get("transfer", {})]


def train(config: AbstractClassExperiment, cell: Training) -> None:
    """Trains a network, tests it, and writes its record."""
    import keras

    run = cell.run(config)
    folder = pathlib.Path(run.log_dir)
    with own_output(folder):
        try:
            record = _tested(config, cell, run)
        except NotFiniteError as error:
            record = {"failed": str(error)}
        finally:
            # Keras keeps the graphs of all networks alive otherwise.
            keras.utils.clear_session()
    files.write_json(_record_path(config, cell), record)
    if not config.keep_networks:
        shutil.rmtree(folder, ignore_errors=True)


def _load_data(config: AbstractClassExperiment, cell: Training, test: Split) -> ImageDataset:
    """The images of a training.

    Those of a size are the first ones of every larger size. Few images are repeated until they fill
    the steps of an epoch, each as often as any other, and count as so many in the run directory.

    Raises:
        UsageError: there is no such task, or it can't be drawn in this size.
    """
    size = config.image_size
    task, rendering, shapes = cell.images
    learnt, held_out = (
        abstract_shapes.generate(
            *(task, count),
            seed=seed,
            split=split,
            size=size,
            rendering=rendering,
            shapes=shapes,
        )
        for split, count, seed in (
            ("train", cell.size, cell.seed),
            ("validation", config.validation_images, _SEED),
        )
    )
    needed = config.batch_size * config.steps_per_epoch
    copies = -(-needed // cell.size)
    return ImageDataset(
        f"abstract:{cell.task}",
        abstract_shapes.CLASS_NAMES,
        learnt.take(np.tile(np.arange(cell.size), copies)),
        held_out,
        test,
        f"{cell.task}: {cell.size} images of {size} pixels, seed {cell.seed}",
    )


def test_images(
    config: AbstractClassExperiment,
    cell: Training,
    renderings: Sequence[str],
    *,
    task: str | None = None,
    count: int | None = None,
) -> dict[str, Split]:
    """The first test images of a problem in some renderings, which share layouts and labels.

    Args:
        config: of the experiment.
        cell: says how many channels the images have: as many as those that its network learns.
        renderings: their names.
        task: which problem, and of how many shapes. Default None: as they are learnt.
        count: how many. Default None: all.

    Raises:
        UsageError: there is no such problem or rendering, or it can't be drawn in this size.
    """
    choices: Any = {"seed": _SEED, "split": "test", "size": config.image_size}
    learnt, rendering, shapes = cell.images
    example = abstract_shapes.generate(learnt, 1, rendering=rendering, shapes=shapes, **choices)
    channels = example.images.shape[-1]
    problem, _, shapes = abstract_shapes.read_name(task or cell.task)
    layouts = abstract_shapes.layouts(
        problem, count or config.test_images, shapes=shapes, **choices
    )
    return {
        way: Split(layouts.render(way, channels=channels), layouts.labels) for way in renderings
    }


def _tested(config: AbstractClassExperiment, cell: Training, run: RunConfig) -> dict[str, Any]:
    """What is kept of a training: of an earlier call, and what is still missing."""
    known = files.read_json(_record_path(config, cell))
    record = known if isinstance(known, dict) else {}
    splits = test_images(config, cell, config.measured(cell))
    data = _load_data(config, cell, splits[cell.rendering])
    results = training.train(run, data, initial_model=_initial_model(config, run, data))
    model = _best_network(run)
    known, new = record.get("scores", {}), _unmeasured(config, cell, record)
    shown = record.get("transfer", {})
    for task in _unseen(config, cell, record):
        rendering = abstract_shapes.read_name(task).rendering
        split = test_images(config, cell, [rendering], task=task)[rendering]
        answers = {"labels": split.labels.tolist(), "scores": _scores(run, data, model, split)}
        shown = {**shown, task: answers}
    return {
        "labels": splits[cell.rendering].labels.tolist(),
        "scores": {**known, **{way: _scores(run, data, model, splits[way]) for way in new}},
        "transfer": shown,
        "epoch": results["validation_chosen"]["epoch"],
        "steps": results["epochs"] * config.steps_per_epoch,
        "validation_accuracy": results["validation_chosen"]["validation_accuracy"],
        "parameters": results["parameters"],
        "seconds": results["seconds"],
    }


def _best_network(run: RunConfig) -> Any:
    """The network as it was after the epoch that counts.

    Raises:
        UsageError: its file is damaged.
    """
    from tfcaps.training import checkpoints

    folder = training.RunDirectory(run.log_dir).checkpoints
    model = checkpoints.best(folder)
    if model is None:
        raise UsageError(
            f"Expected the network of the best epoch in {folder}. Received: a damaged one; "
            f"without {run.log_dir} it is trained again"
        )
    return model


def _initial_model(config: AbstractClassExperiment, run: RunConfig, data: ImageDataset) -> Any:
    """The network with the weights of the file that is asked for; None without one.

    Raises:
        UsageError: they are of another network.
    """
    if config.weights is None:
        return None
    from tfcaps import models

    with training.surroundings(run):
        task = run.with_classes(len(abstract_shapes.CLASS_NAMES)).task()
        model = task.build(data)
        print(f"From {config.weights}: {models.read_weights(model, config.weights)}.", flush=True)
    return model


def _scores(run: RunConfig, data: ImageDataset, model: Any, split: Split) -> list[float]:
    """For each image the logarithm of how much higher the class with the relation is scored."""
    from tfcaps.training import probe

    task = run.task()
    batches = task.batches(data, split)
    _, found = probe.scores(
        model.classifier, ((task.network_input(batch), batch["label"]) for batch in batches)
    )
    found = np.maximum(found, _LEAST_SCORE)
    return np.round(np.log(found[:, 1] / found[:, 0]), 5).tolist()
