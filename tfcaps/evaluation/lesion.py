"""Lesion study: what a trained residual network loses with some of its blocks."""

import csv
import io
import itertools
import math
import os
import pathlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfcaps import datasets, files, plots, training
from tfcaps.datasets import sampling
from tfcaps.errors import UsageError
from tfcaps.evaluation.branches import BranchSwitches
from tfcaps.evaluation.options import LesionOptions
from tfcaps.metrics import BundleEntropy
from tfcaps.models.block_network import BlockNetwork

# The papers' probe set, for runs that measured nothing themselves.
_PROBE_SIZE = 512


class _Row(NamedTuple):
    """A row of results.csv: the test accuracy without some blocks."""

    group: str
    removed: int
    draw: int  # from 1 on
    accuracy: float
    blocks: tuple[str, ...]


class Curve(NamedTuple):
    """Test accuracy of one group, for each number of removed blocks."""

    removed: tuple[int, ...]
    means: tuple[float, ...]
    stds: tuple[float, ...]


def lesion_study(log_dir: str | os.PathLike, **choices: Any) -> dict[str, Curve]:
    """Removes k random blocks of a group at a time and measures the test accuracy.

    A removed block leaves its shortcut, and nothing is trained again. A block conflicts when the
    bundle entropy of its branch is above 0, measured with the learning rate and the batch size of
    the training on a part of its training data, without augmentation.

    The folder `lesion_study` in the run directory gets study.json (settings, entropies, accuracy
    of the whole network), results.csv (one row per draw) and lesion_curves.png. A study that was
    stopped goes on where it was when it is called again.

    Args:
        log_dir: directory of a finished training of a residual network.
        **choices: see `LesionOptions`.

    Returns:
        For each group that has blocks: k, and mean and standard deviation of the test accuracy.

    Raises:
        UsageError: an argument is out of its range, the run is not one of a residual network, the
            groups are empty, or an earlier study there was made otherwise.

    Source: Peer et al., Auto-tuning of deep neural networks by conflicting layer removal,
        arXiv 2103.04331.
    """
    options = LesionOptions(log_dir=os.fspath(log_dir), **choices)
    run = _load(log_dir)
    data = run.load_data(data_dir=options.data_dir)
    learning_rate = options.learning_rate or run.config.learning_rate
    settings = {
        "epoch": run.epoch,
        **{name: getattr(options, name) for name in ("seed", "draws", "test_examples")},
        "conflicting_samples_size": _probe_size(run, data, options.conflicting_samples_size),
        "learning_rate": learning_rate,
    }
    test = _test_split(data, options.test_examples, options.seed)
    accuracy_without = _evaluator(run, test, options.batch_size)
    folder = files.WorkFolder(pathlib.Path(log_dir) / "lesion_study", files.STUDY)
    with folder.locked():
        study = _read_study(folder, settings)
        if study is None:
            entropies = _branch_entropies(
                run, data, settings["conflicting_samples_size"], learning_rate
            )
            study = {"settings": settings, "entropies": entropies, "accuracy": accuracy_without(())}
            # Rows without the study that they belong to say nothing.
            (folder.path / "results.csv").unlink(missing_ok=True)
        folder.begin(study)
        return _measure_groups(folder.path, study, options, accuracy_without)


def _measure_groups(
    folder: pathlib.Path,
    study: Mapping[str, Any],
    options: LesionOptions,
    accuracy_without: Callable[[Collection[str]], float],
) -> dict[str, Curve]:
    """Removes blocks of each group, and shows what came out."""
    print(f"Test accuracy of the whole network: {study['accuracy']:.2%}")
    names, most = list(study["entropies"]), options.max_removed
    groups = _members(study["entropies"], options.groups, most)
    sets = {
        (group, removed): draw_blocks(
            names, members, removed, draws=options.draws, seed=options.seed
        )
        for group, members in groups.items()
        for removed in range(1, min(most or len(members), len(members)) + 1)
    }
    curves = _measure(folder / "results.csv", sets, accuracy_without)
    plots.save(plots.lesion_curves(curves, study["accuracy"]), folder / "lesion_curves.png")
    print(f"\n{lesion_table(curves, study['accuracy'])}")
    return curves


def divide_blocks(entropies: Mapping[str, float]) -> dict[str, tuple[str, ...]]:
    """Divides blocks by the bundle entropy of their branches.

    Args:
        entropies: of each block's branch, by name.

    Returns:
        The names of each group, in the blocks' order.

    Example:

    >>> divide_blocks({"a": 0.0, "b": 0.1})["conflicting"]
    ('b',)
    """
    return {
        "conflicting": tuple(name for name, entropy in entropies.items() if entropy > 0.0),
        "non_conflicting": tuple(name for name, entropy in entropies.items() if entropy <= 0.0),
        "all": tuple(entropies),
    }


def draw_blocks(
    names: Sequence[str], group: Iterable[str], removed: int, *, draws: int, seed: int
) -> list[tuple[str, ...]]:
    """Draws different sets of blocks of a group; all sets, where there are at most `draws`.

    A draw shuffles all blocks and takes the first of the group, so groups with the same blocks get
    the same sets.

    Args:
        names: of all blocks.
        group: names of the group's blocks.
        removed: size of a set, 1 to that of the group.
        draws: how many sets.
        seed: of the shuffles.

    Example:

    >>> draw_blocks(["a", "b", "c"], ["a", "c"], 1, draws=15, seed=0)
    [('a',), ('c',)]
    """
    members = set(group)
    ordered = [name for name in names if name in members]
    if math.comb(len(ordered), removed) <= draws:
        return list(itertools.combinations(ordered, removed))
    sets: dict[tuple[str, ...], None] = {}  # keeps the order of the draws
    attempts = itertools.count()
    while len(sets) < draws:
        # NumPy promises the same bits in all its versions, but not the same `Generator.choice`.
        keys = np.random.PCG64([seed, removed, next(attempts)]).random_raw(len(names))
        shuffled = [index for index in np.argsort(keys) if names[index] in members]
        sets[tuple(names[index] for index in sorted(shuffled[:removed]))] = None
    return list(sets)


def lesion_table(curves: Mapping[str, Curve], accuracy: float) -> str:
    """The curves as a text table: mean and standard deviation in percent, a line for each k.

    Args:
        curves: of each group.
        accuracy: of the whole network.

    Example:

    >>> print(lesion_table({"all": Curve((1,), (0.5,), (0.25,))}, 0.75))
    removed               all
          0           75.00 %
          1   50.00 ± 25.00 %
    """
    longest = max(curve.removed[-1] for curve in curves.values())
    lines = ["removed" + "".join(f"{group:>18}" for group in curves)]
    lines.append(f"{0:>7}" + f"{f'{100 * accuracy:.2f} %':>18}" * len(curves))
    for k in range(1, longest + 1):
        lines.append(f"{k:>7}" + "".join(f"{_cell(curve, k):>18}" for curve in curves.values()))
    return "\n".join(lines)


def _cell(curve: Curve, removed: int) -> str:
    if removed not in curve.removed:
        return ""
    index = curve.removed.index(removed)
    return f"{100 * curve.means[index]:.2f} ± {100 * curve.stds[index]:.2f} %"


def _load(log_dir: str | os.PathLike) -> training.Run:
    """Loads a run, which has to be one of a residual network."""
    run = training.load_run(log_dir)
    if not isinstance(run.model, BlockNetwork) or not run.model.residual_blocks:
        kind = getattr(run.config, "model", type(run.model).__name__)
        raise UsageError(
            "Expected --log_dir to be the directory of a residual network's run. "
            f"Received: {log_dir}, in which the network is a {kind}"
        )
    return run


def _test_split(data: datasets.ImageDataset, count: int, seed: int) -> datasets.Split:
    if count > len(data.test):
        raise UsageError(
            f"Expected --test_examples <= {len(data.test)}, the size of the test set. "
            f"Received: {count}"
        )
    return sampling.subset(data.test, count, seed=seed) if count else data.test


def _probe_size(run: training.Run, data: datasets.ImageDataset, asked: int) -> int:
    if asked > len(data.train):
        raise UsageError(
            f"Expected --conflicting_samples_size <= {len(data.train)}, the size of the training "
            f"set. Received: {asked}"
        )
    return asked or run.config.conflicting_samples_size or min(_PROBE_SIZE, len(data.train))


def _branch_entropies(
    run: training.Run, data: datasets.ImageDataset, probe_size: int, learning_rate: float
) -> dict[str, float]:
    """Bundle entropy of each residual block's branch, by the block's name."""
    probe = datasets.probe_set(data.train, probe_size, seed=run.config.seed)
    branches = {f"{name}/branch": name for name in run.model.residual_blocks}
    measure = BundleEntropy(
        run.model,
        list(branches),
        learning_rate=learning_rate,
        batch_size=run.config.batch_size,
        num_classes=len(run.class_names),
    )
    images, _ = run.preprocessing.evaluate(probe.images)
    bundles = measure(np.asarray(images), probe.labels)
    return {name: float(bundles[branch].entropy) for branch, name in branches.items()}


def _evaluator(
    run: training.Run, test: datasets.Split, batch_size: int
) -> Callable[[Collection[str]], float]:
    """Makes a function from names of blocks to the test accuracy without their branches."""
    batches = datasets.evaluation_batches(test, run.preprocessing, batch_size=batch_size)
    judge = BranchSwitches(run.model, batches.map(lambda batch: (batch["image"], batch["label"])))
    return lambda removed: float(judge(removed).right.mean())


def _members(
    entropies: Mapping[str, float], groups: Sequence[str], max_removed: int
) -> dict[str, tuple[str, ...]]:
    """Says which blocks the groups have, and gives the groups that have any."""
    members = {group: divide_blocks(entropies)[group] for group in groups}
    for group, names in members.items():
        print(f"{group}: {len(names)} of {len(entropies)} blocks {' '.join(names)}".rstrip())
    largest = max(len(names) for names in members.values())
    if not largest:
        raise UsageError(f"Expected --groups with blocks. Received: {','.join(groups)}, all empty")
    if max_removed > largest:
        raise UsageError(
            f"Expected --max_removed <= {largest}, the number of blocks in the largest group. "
            f"Received: {max_removed}"
        )
    return {group: names for group, names in members.items() if names}


def _measure(
    path: pathlib.Path,
    sets: Mapping[tuple[str, int], list[tuple[str, ...]]],
    accuracy_without: Callable[[Collection[str]], float],
) -> dict[str, Curve]:
    """Measures what results.csv doesn't have yet, and says for each group and k what came out."""
    rows = _read_rows(path, sets)
    known = {row.blocks: row.accuracy for row in rows}
    done = {(row.group, row.removed) for row in rows}
    points: dict[str, list[tuple[int, float, float]]] = {}
    for (group, removed), drawn in sets.items():
        for blocks in drawn:
            if blocks not in known:
                known[blocks] = accuracy_without(blocks)
        accuracies = [known[blocks] for blocks in drawn]
        if (group, removed) not in done:
            rows += [
                _Row(group, removed, draw, *result)
                for draw, result in enumerate(zip(accuracies, drawn, strict=True), start=1)
            ]
            _write_rows(path, rows)
        mean, std = float(np.mean(accuracies)), float(np.std(accuracies))
        points.setdefault(group, []).append((removed, mean, std))
        result = f"{100 * mean:.2f} ± {100 * std:.2f} %"
        print(f"{group}: {removed} removed, {len(drawn)} draws, {result}", flush=True)
    return {group: Curve(*zip(*found, strict=True)) for group, found in points.items()}


def _read_study(folder: files.WorkFolder, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """What an earlier study in the folder measured first, or None without one."""
    if not folder.marker.exists():
        return None
    study = folder.read()
    try:
        earlier = {name: study["settings"][name] for name in settings}
        study = {**study, "accuracy": float(study["accuracy"])}
        study["entropies"] = {name: float(value) for name, value in study["entropies"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        raise _damaged(folder.marker) from None
    measured = study["entropies"].values()
    if not (0.0 <= study["accuracy"] <= 1.0 and all(0.0 <= each < math.inf for each in measured)):
        raise _damaged(folder.marker)
    if earlier["epoch"] != settings["epoch"]:
        raise UsageError(
            f"Expected the run after {earlier['epoch']} epochs, as the study in {folder.path} was "
            f"started with; without that folder a new one begins. "
            f"Received: the run after {settings['epoch']}"
        )
    folder.compare(settings, earlier)
    return study


def _read_rows(
    path: pathlib.Path, sets: Mapping[tuple[str, int], list[tuple[str, ...]]]
) -> list[_Row]:
    """The rows of results.csv, which have to be what is drawn now; none without the file."""
    try:
        text = files.read_text(path)
        rows = [
            _Row(group, int(removed), int(draw), float(accuracy), tuple(blocks.split()))
            for group, removed, draw, accuracy, blocks in list(csv.reader(io.StringIO(text)))[1:]
        ]
    except FileNotFoundError:
        return []
    except UsageError:  # it can't be read
        raise
    except (ValueError, IsADirectoryError, csv.Error):
        raise _damaged(path) from None
    if not all(0.0 <= row.accuracy <= 1.0 for row in rows):
        raise _damaged(path)
    found: dict[tuple[str, int], list[tuple[str, ...]]] = {}
    for row in rows:
        found.setdefault((row.group, row.removed), []).append(row.blocks)
    # There may be more rows than these: of other groups, or of larger k.
    if any(blocks != sets.get(key, blocks) for key, blocks in found.items()):
        raise _damaged(path)
    return rows


def _damaged(path: pathlib.Path) -> UsageError:
    return UsageError(
        f"Expected {path.parent} to hold a whole lesion study, or none. "
        f"Received: {path}, which is damaged"
    )


def _write_rows(path: pathlib.Path, rows: Iterable[_Row]) -> None:
    as_text = ({**row._asdict(), "blocks": " ".join(row.blocks)} for row in rows)
    files.write_csv(path, as_text, _Row._fields)
