"""The experiment on abstract classes: which networks learn a relation, and from how many images?"""

import time
from typing import Any

from tfcaps.datasets import abstract_shapes
from tfcaps.experiments import abstract_report, abstract_trainings
from tfcaps.experiments.abstract_configuration import AbstractClassExperiment, Training
from tfcaps.experiments.experiment import share_out, time_left


def abstract_class_experiment(config: AbstractClassExperiment) -> list[dict[str, Any]]:
    """Trains the networks that aren't there yet, and writes tables and figures after each of them.

    `log_dir` then has

        report.md         all tables of means, and the figure
        table.csv         a row per task, network and size: test accuracy and AUC
        efficiency.csv    a row per task and network: what the accuracies of all sizes come to
        renderings.csv    the same networks on test images that are drawn in other ways
        transfer.csv      and on those of other tasks
        cells.csv         a row per training
        figures/          accuracy against size; right and wrong examples
        examples/         the pictures of these, a file each
        records/          the answers of each finished training
        cells/            run directories

    A training whose numbers don't stay finite is noted in its record, and the others go on.

    Returns:
        The rows of table.csv.

    Raises:
        UsageError: `log_dir` has an experiment and `resume` isn't set, or one with other settings;
            a task is unknown, or can't be drawn in this size; the weights are of another network.
    """
    # Wrong names and sizes end the experiment before it began.
    for cell in {cell.task: cell for cell in config.trainings()}.values():
        abstract_trainings.test_images(config, cell, config.measured(cell), count=1)
        for task in config.transfer:
            rendering = abstract_shapes.read_name(task).rendering
            abstract_trainings.test_images(config, cell, [rendering], task=task, count=1)
    with config.open_folder("figures", "records", "cells"):
        records = _train_missing(config)
        table = abstract_report.write(config, records)
        abstract_report.draw_examples(config, records)
        return table


def _train_missing(config: AbstractClassExperiment) -> dict[Training, dict[str, Any]]:
    """Trains what isn't there yet; returns what is kept of all trainings."""
    cells = config.trainings()
    records = {cell: abstract_trainings.read_record(config, cell) for cell in cells}
    missing = [cell for cell in cells if records[cell] is None]
    ended = share_out(
        abstract_trainings.train, [(config, cell) for cell in missing], config.workers
    )
    started = time.monotonic()
    for number, (_, cell) in enumerate(ended, start=1):
        records[cell] = abstract_trainings.read_record(config, cell)
        print(
            f"Training {number}/{len(missing)}: {_describe(cell, records[cell])}"
            + time_left(time.monotonic() - started, number, len(missing)),
            flush=True,
        )
        abstract_report.write(config, _known(records))
    return _known(records)


def _known(records: dict[Training, dict[str, Any] | None]) -> dict[Training, dict[str, Any]]:
    return {cell: record for cell, record in records.items() if record is not None}


def _describe(cell: Training, record: dict[str, Any] | None) -> str:
    (row,) = abstract_report.cell_rows(_known({cell: record}))
    return f"{cell.task}, {cell.network}, {cell.size} images, seed {cell.seed}: " + (
        "failed, and the experiment goes on"
        if row["accuracy"] is None
        else f"{row['accuracy']:.2%}, AUC {row['auc']:.3f}"
    )
