"""Tables, figures and report.md of the experiment on abstract classes."""

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfcaps import files, metrics, plots
from tfcaps.datasets import Split
from tfcaps.experiments.abstract_configuration import AbstractClassExperiment, Training
from tfcaps.experiments.abstract_trainings import test_images

Records = Mapping[Training, Mapping[str, Any]]
Row = dict[str, Any]

_SHOWN = 6  # images in a row of a contact sheet
# Among so many of the first test images are those that are shown.
_LOOKED_AT = 200
_TESTED_ON = (
    (
        *("renderings", "rendering", "Other renderings"),
        "A row's task is learnt as its name says, as outlines where it says nothing.",
    ),
    ("transfer", "shown", "Other tasks", "A row says what is learnt, and a column what is shown."),
)
_NUMBERS = ("epoch", "steps", "validation_accuracy", "parameters", "seconds")


def cell_rows(records: Records) -> list[Row]:
    """A row for each training: test accuracy and AUC on the rendering that it learnt."""
    rows = []
    for cell, record in records.items():
        accuracy, auc = _scored(record, cell.rendering)
        numbers = {name: record.get(name) for name in _NUMBERS}
        rows.append({**cell._asdict(), "accuracy": accuracy, "auc": auc, **numbers})
    return rows


def size_rows(cells: Iterable[Row]) -> list[Row]:
    """A row for each task, network and size: means and standard errors over the seeds.

    Trainings that failed are counted, and left out.

    Example:

    >>> cell = {"task": "svrt_1", "network": "lenet", "size": 20, "auc": 0.5}
    >>> row, = size_rows([{**cell, "accuracy": 0.5}, {**cell, "accuracy": 0.75}])
    >>> row["runs"], row["accuracy"], row["accuracy_error"], row["auc"], row["auc_error"]
    (2, 0.625, 0.125, 0.5, 0.0)
    """
    rows = []
    for key, group in _grouped(cells, ("task", "network", "size")).items():
        finished = [row for row in group if row["accuracy"] is not None]
        rows.append(
            {
                **dict(key),
                "runs": len(finished),
                "failed": len(group) - len(finished),
                **_mean_and_error("accuracy", [row["accuracy"] for row in finished]),
                **_mean_and_error("auc", [row["auc"] for row in finished]),
            }
        )
    return rows


def efficiency_rows(cells: Iterable[Row], sizes: Sequence[int]) -> list[Row]:
    """A row for each task and network: what the accuracies of all sizes come to.

    `mean_accuracy` is their mean, `ses` the sample-efficiency score; each is computed for every
    seed that has all sizes, and then averaged, with a standard error over the seeds.

    Args:
        cells: as `cell_rows` gives them.
        sizes: numbers of training images.

    Example:

    >>> cell = {"task": "svrt_1", "network": "lenet", "seed": 0}
    >>> rows = [{**cell, "size": n, "accuracy": a} for n, a in ((1, 1.0), (2, 0.5))]
    >>> row, = efficiency_rows(rows, (1, 2))  # (1 + 0.5/1.693) / (1 + 1/1.693)
    >>> row["seeds"], row["mean_accuracy"], round(row["ses"], 4), row["ses_error"]
    (1, 0.75, 0.8143, None)
    """
    rows = []
    for key, group in _grouped(cells, ("task", "network")).items():
        complete = []
        for seed in _grouped(group, ("seed",)).values():
            found = {row["size"]: row["accuracy"] for row in seed if row["accuracy"] is not None}
            if set(found) >= set(sizes):
                complete.append([found[size] for size in sizes])
        if complete:
            means = [float(np.mean(values)) for values in complete]
            scores = [metrics.sample_efficiency_score(sizes, values) for values in complete]
            rows.append(
                {
                    **dict(key),
                    "seeds": len(complete),
                    **_mean_and_error("mean_accuracy", means),
                    **_mean_and_error("ses", scores),
                }
            )
    return rows


def _rendering_rows(config: AbstractClassExperiment, records: Records) -> list[Row]:
    """A row for each task, network, size and rendering of the test images."""
    found = [
        {**_setting(cell), "rendering": way, "accuracy": accuracy, "auc": auc}
        for cell, record in records.items()
        if "failed" not in record
        for way in config.measured(cell)
        for accuracy, auc in [_scored(record, way)]
    ]
    return _means(found, "rendering")


def _transfer_rows(config: AbstractClassExperiment, records: Records) -> list[Row]:
    """A row for each task, network, size and task whose test images are shown."""
    found = [
        {**_setting(cell), "shown": task, "accuracy": accuracy, "auc": auc}
        for cell, record in records.items()
        if "failed" not in record
        for task in config.transfer
        for answers in [record if task == cell.task else record["transfer"][task]]
        for accuracy, auc in [_scored(answers, cell.rendering)]
    ]
    return _means(found, "shown")


def _setting(cell: Training) -> Row:
    return {"task": cell.task, "network": cell.network, "size": cell.size}


def _means(rows: Iterable[Row], what: str) -> list[Row]:
    """Means and standard errors over the seeds for each setting and what it was tested on."""
    return [
        {
            **dict(key),
            "runs": len(group),
            **_mean_and_error("accuracy", [row["accuracy"] for row in group]),
            **_mean_and_error("auc", [row["auc"] for row in group]),
        }
        for key, group in _grouped(rows, ("task", "network", "size", what)).items()
    ]


def write(config: AbstractClassExperiment, records: Records) -> list[Row]:
    """Writes tables, the figure and report.md of the trainings that are done.

    Returns:
        The rows of table.csv.
    """
    folder = pathlib.Path(config.log_dir)
    cells = cell_rows(records)
    tables = {
        "cells": cells,
        "table": size_rows(cells),
        "efficiency": efficiency_rows(cells, config.sizes),
        "renderings": _rendering_rows(config, records),
        "transfer": _transfer_rows(config, records),
    }
    for name, rows in tables.items():
        if rows:
            files.write_csv(folder / f"{name}.csv", rows)
    panels = _panels(tables["table"])
    if panels:
        plots.save(plots.accuracy_against_size(panels), folder / "figures" / "accuracy.png")
    files.write_text(folder / "report.md", _report(config, tables))
    return tables["table"]


def draw_examples(config: AbstractClassExperiment, records: Records) -> None:
    """Draws right and wrong test images of each task and network, at its largest size.

    Those of the first seed; beside the figure each picture comes to lie in a file of its own.
    """
    import tensorflow as tf

    folder = pathlib.Path(config.log_dir) / "examples"
    for task, network in dict.fromkeys((cell.task, cell.network) for cell in records):
        done = [
            cell
            for cell, record in records.items()
            if (cell.task, cell.network) == (task, network) and "failed" not in record
        ]
        if not done:
            continue
        cell = max(done, key=lambda cell: (cell.size, -config.seeds.index(cell.seed)))
        looked_at = min(_LOOKED_AT, config.test_images)
        split = test_images(config, cell, [cell.rendering], count=looked_at)[cell.rendering]
        chosen = _chosen_examples(split.labels, records[cell]["scores"][cell.rendering])
        title = f"{task}, {network}, {cell.size} training images"
        figure = plots.contact_sheet(_sheet(split, chosen), title=title)
        plots.save(figure, folder.parent / "figures" / "examples" / f"{cell.name}.png")
        task, rendering, shapes = cell.images
        own = folder / (task if shapes is None else f"{task}_{shapes}")
        own.mkdir(parents=True, exist_ok=True)
        for index in np.concatenate(list(chosen.values())).astype(int):
            path = own / f"{rendering}-{index:04d}.png"
            with files.replacing(path) as temporary:
                tf.io.write_file(str(temporary), tf.io.encode_png(split.images[index]))


def _chosen_examples(labels: np.ndarray, scores: Sequence[float]) -> dict[str, np.ndarray]:
    """The first few images of each class that are right, and that are wrong, by their numbers.

    Example:

    >>> found = _chosen_examples(np.array([1, 0, 1, 0]), [2.0, -1.0, -0.5, 3.0])
    >>> {name: numbers.tolist() for name, numbers in found.items()}
    {'with, right': [0], 'with, wrong': [2], 'without, right': [1], 'without, wrong': [3]}
    """
    answers = np.asarray(scores[: len(labels)]) > 0
    return {
        f"{name}, {word}": np.flatnonzero((labels == label) & ((answers == label) == is_right))[
            :_SHOWN
        ]
        for label, name in ((1, "with"), (0, "without"))
        for is_right, word in ((True, "right"), (False, "wrong"))
    }


def _sheet(split: Split, chosen: Mapping[str, np.ndarray]) -> dict:
    return {
        name: (split.images[numbers] / 255.0, [f"test {number}" for number in numbers])
        for name, numbers in chosen.items()
    }


def _scored(record: Mapping[str, Any], rendering: str) -> tuple[float | None, float | None]:
    """Accuracy and AUC on the test images in a rendering; None of a training that failed.

    Of another task there is only one rendering.
    """
    if "failed" in record:
        return None, None
    found = record["scores"]
    labels = np.array(record["labels"])
    scores = np.array(found[rendering] if isinstance(found, dict) else found)
    return float(np.mean((scores > 0) == labels)), metrics.area_under_roc(labels, scores)


def _grouped(rows: Iterable[Row], names: Sequence[str]) -> dict[tuple, list[Row]]:
    """Rows by what they have under these names, as pairs of name and value, sizes in order."""
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple((name, row[name]) for name in names), []).append(row)
    order = {key: number for number, key in enumerate(groups)}
    first = {key[:2]: order[key] for key in reversed(groups)}
    return {
        key: groups[key]
        for key in sorted(
            groups, key=lambda key: (first[key[:2]], dict(key).get("size", 0), order[key])
        )
    }


def _mean_and_error(name: str, values: Sequence[float]) -> Row:
    """Mean, and standard error of the mean, which takes two values or more; else None.

    >>> _mean_and_error("auc", [0.25, 0.75])  # deviations ±1/4: sqrt(1/8 / 1) / sqrt(2)
    {'auc': 0.5, 'auc_error': 0.25}
    """
    count = len(values)
    error = float(np.std(values, ddof=1) / np.sqrt(count)) if count > 1 else None
    return {name: float(np.mean(values)) if count else None, f"{name}_error": error}


def _panels(table: Iterable[Row]) -> dict[str, dict[str, tuple[list, list, list]]]:
    """For each task and network: sizes, mean accuracies and their errors."""
    panels: dict[str, dict[str, tuple[list, list, list]]] = {}
    for row in table:
        if row["accuracy"] is not None:
            curves = panels.setdefault(row["task"], {})
            columns = curves.setdefault(row["network"], ([], [], []))
            for column, name in zip(columns, ("size", "accuracy", "accuracy_error"), strict=True):
                column.append(row[name])
    return panels


def _report(config: AbstractClassExperiment, tables: Mapping[str, list[Row]]) -> str:
    """The content of report.md."""
    parts = [
        "# Abstract classes",
        f"{config.image_size}×{config.image_size} pixels; at most {config.steps} steps of "
        f"{config.batch_size} images whatever the number of training images, and of the epochs of "
        f"{config.steps_per_epoch} steps the one that is best on {config.validation_images} "
        f"validation images; {config.test_images} test images. In percent, ± the standard error "
        f"over {len(config.seeds)} {'seeds' if len(config.seeds) > 1 else 'seed'}; chance is 50.",
        "## Test accuracy",
        _pivot(tables["table"], "size", "accuracy"),
        "![Test accuracy against the number of training images](figures/accuracy.png)",
        "## Area under the ROC curve",
        _pivot(tables["table"], "size", "auc"),
    ]
    if tables["efficiency"]:
        parts += [
            "## Sample efficiency",
            "Over the sizes n: the mean accuracy, and SES = Σ a(n)/(1 + ln n) / Σ 1/(1 + ln n).",
            _columns(tables["efficiency"], {"mean": "mean_accuracy", "SES": "ses"}),
        ]
    size = max(config.sizes)
    for name, across, title, note in _TESTED_ON:
        largest = [row for row in tables[name] if row["size"] == size]
        if len({row[across] for row in largest}) > 1:
            parts += [f"## {title}, {size} training images", note]
            for word, value in (("Accuracy", "accuracy"), ("Area under the ROC curve", "auc")):
                parts += [f"### {title}: {word}", _pivot(largest, across, value)]
    return "\n\n".join(parts) + "\n"


def _pivot(rows: Sequence[Row], across: str, value: str) -> str:
    """A Markdown table with a row for each task and network."""
    heads = list(dict.fromkeys(row[across] for row in rows))
    groups = _grouped(rows, ("task", "network"))
    lines = []
    for key, group in groups.items():
        cells = {row[across]: _percent(row[value], row[f"{value}_error"]) for row in group}
        lines.append([*(text for _, text in key), *(cells.get(head, "") for head in heads)])
    return _markdown(["task", "network", *map(str, heads)], lines)


def _columns(rows: Sequence[Row], values: Mapping[str, str]) -> str:
    lines = [
        [row["task"], row["network"]]
        + [_percent(row[name], row[f"{name}_error"]) for name in values.values()]
        for row in rows
    ]
    return _markdown(["task", "network", *values], lines)


def _markdown(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _percent(value: float | None, error: float | None) -> str:
    """A share as text.

    >>> _percent(0.5, None), _percent(0.5, 0.0125), _percent(None, None)
    ('50.0', '50.0 ± 1.2', '')
    """
    if value is None:
        return ""
    return f"{100 * value:.1f}" + ("" if error is None else f" ± {100 * error:.1f}")
