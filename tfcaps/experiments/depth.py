"""The depth experiment: how many capsule layers can be trained, with which routing and skips?"""

import contextlib
import dataclasses
import functools
import itertools
import json
import multiprocessing
import pathlib
import time
from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple

import keras
import numpy as np

from tfcaps import datasets, files, plots, training
from tfcaps import routing as routings
from tfcaps.errors import UsageError
from tfcaps.experiments.experiment import (
    Experiment,
    at_least,
    boolean,
    expect,
    share_out,
    time_left,
)
from tfcaps.plots.depth_curves import depth_curves

# Of the published networks: the primary layer, and the class capsules' dimension.
PRIMARY_DIMENSION, CLASS_DIMENSION = 8, 16
HIDDEN_DIMENSIONS = {"em": 10}
HIDDEN_DIMENSION = 12  # of all other routings
_FAILED = "failed.txt"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DepthExperiment(Experiment):
    """All choices of a depth experiment; a field is the flag of the same name.

    A network of depth L has the layers `primary, capsules × (L − 2), classes`; hidden capsules have
    dimension 10 with em and 12 with all other routings.

    Args:
        log_dir: folder of the results.
        datasets: names of data sets.
        depths: numbers of capsule layers, each at least 2.
        routings: names of `tfcaps.routing.names()`.
        use_bias, make_skips: one of true and false, or both.
        seeds: of the trainings.
        primary_capsules: channels of the primary layer. Default 32.
        capsules: of each hidden layer. Default 16.
        iterations: of the routing. Default 2.
        skip_dist: layers that a residual connection spans. Default 2.
        use_reconstruction: whether there is a decoder. Default True.
        train_examples: so many of each training set; 0: all. Default 10,000.
        epochs, batch_size, learning_rate: of the training with Adam. Defaults 3, 128 and 1e-3.
        augmentation, kernel_initializer: see `CapsuleNetworkConfig`.
        data_dir: folder of tensorflow_datasets' prepared sets, or None.
        workers: see `Experiment`.
        resume: whether to go on in `log_dir`; the lists above may be others.

    Raises:
        UsageError: a value is out of its range.

    Example:

    >>> DepthExperiment(log_dir="runs/depth", depths=["2", "3"]).depths
    (2, 3)

    Sources: Peer, Stabinger, Rodríguez-Sánchez: Limitation of capsule networks, arXiv 1905.08744;
    Gugglberger, Peer, Rodríguez-Sánchez: Training deep capsule networks with residual connections,
    arXiv 2104.07393.
    """

    varying: ClassVar = (
        *Experiment.varying,
        *("data_dir", "datasets", "depths", "routings", "use_bias", "make_skips", "seeds"),
    )

    datasets: tuple[str, ...] = ("mnist", "fashion_mnist")
    depths: tuple[int, ...] = (2, 3, 4, 5, 6, 7)
    routings: tuple[str, ...] = ("rba", "em", "sda")
    use_bias: tuple[bool, ...] = (True,)
    make_skips: tuple[bool, ...] = (False, True)
    seeds: tuple[int, ...] = (0, 1)
    primary_capsules: int = 32
    capsules: int = 16
    iterations: int = 2
    skip_dist: int = 2
    use_reconstruction: bool = True
    train_examples: int = 10_000
    epochs: int = 3
    batch_size: int = 128
    learning_rate: float = 1e-3
    augmentation: str = "paper"
    kernel_initializer: str = "normal"
    data_dir: str | None = None

    def __post_init__(self) -> None:
        self.set_list("datasets", str, "to be distinct names")
        self.set_list("depths", functools.partial(at_least, 2), "to be distinct integers >= 2")
        self.set_list("seeds", functools.partial(at_least, 0), "to be distinct integers >= 0")
        for name in ("use_bias", "make_skips"):
            self.set_list(name, boolean, "to be true, false or both")
        known = {name: name for name in routings.names()}
        self.set_list("routings", known.__getitem__, f"to be distinct ones of {', '.join(known)}")
        for name in ("primary_capsules", "capsules"):
            expect(getattr(self, name) >= 1, f"--{name} >= 1", getattr(self, name))
        expect(self.workers >= 0, "--workers >= 0", self.workers)
        # What every training has is checked where trainings are: now, and not in the first cell.
        self.cells()[0].config(self, num_classes=2)

    def cells(self) -> list["Cell"]:
        """All combinations, in an order in which a stopped experiment has something of each.

        The seed changes last; of the depths the smallest and the largest come first, then those
        that halve the gaps.
        """
        return [
            Cell(*values, depth, seed)
            for seed in self.seeds
            for depth in _ends_first(sorted(self.depths))
            for values in itertools.product(
                self.datasets, self.routings, self.use_bias, self.make_skips
            )
        ]


class Cell(NamedTuple):
    """One network of the experiment."""

    dataset: str
    routing: str
    use_bias: bool
    make_skips: bool
    depth: int
    seed: int

    @property
    def name(self) -> str:
        """Of its run directory."""
        dataset = self.dataset.removeprefix("images:").rstrip("/").rpartition("/")[2]
        bias, skips = "bias" if self.use_bias else "no_bias", "-skips" if self.make_skips else ""
        return f"{dataset}-{self.routing}-{bias}{skips}-depth_{self.depth}-seed_{self.seed}"

    def config(
        self, experiment: DepthExperiment, num_classes: int
    ) -> training.CapsuleNetworkConfig:
        """Its training."""
        hidden = HIDDEN_DIMENSIONS.get(self.routing, HIDDEN_DIMENSION)
        between = self.depth - 2
        return training.CapsuleNetworkConfig(
            log_dir=str(pathlib.Path(experiment.log_dir) / "cells" / self.name),
            dataset=self.dataset,
            routing=self.routing,
            use_bias=self.use_bias,
            make_skips=self.make_skips,
            layers=(experiment.primary_capsules, *[experiment.capsules] * between, num_classes),
            dimensions=(PRIMARY_DIMENSION, *[hidden] * between, CLASS_DIMENSION),
            seed=self.seed,
            resume=True,
            **{
                name: getattr(experiment, name)
                for name in (
                    *("iterations", "skip_dist", "use_reconstruction", "train_examples"),
                    *("epochs", "batch_size", "learning_rate", "augmentation", "data_dir"),
                    "kernel_initializer",
                )
            },
        )

    def network(
        self, experiment: DepthExperiment, num_classes: int
    ) -> training.CapsuleNetworkConfig:
        """The training of the cell's network, which other cells may share."""
        own = self.config(experiment, num_classes)
        return self.without_idle_skips(own).config(experiment, num_classes)

    def without_idle_skips(self, config: training.CapsuleNetworkConfig) -> "Cell":
        """The cell with the same network: without skips where no connection fits in."""
        sizes = list(zip(config.layers, config.dimensions, strict=True))[1:]
        distance = config.skip_dist
        has_any = any(
            sizes[index] == sizes[index - distance]
            for index in range(distance, len(sizes), distance)
        )
        return self if has_any else self._replace(make_skips=False)


def depth_experiment(config: DepthExperiment) -> list[dict[str, Any]]:
    """Trains the networks that aren't there yet, and writes tables and figure after each of them.

    `log_dir` then has `cells/` (a run directory for each network, and the progress of those that
    were trained by other processes), `cells.csv` (a row for each network), `table.csv` (a row per
    setting and depth: mean and standard deviation of the test accuracy over the seeds) and
    `figures/depth.png`. Networks in which no residual connection fits are trained once, and are in
    both curves.

    A training whose numbers don't stay finite is noted in its run directory, and the others go on.

    Returns:
        The rows of table.csv.

    Raises:
        UsageError: `log_dir` has an experiment and `resume` isn't set, or one with other settings;
            a data set can't be had.
    """
    # Wrong names and missing data end the experiment before it began.
    classes = {name: _count_classes(config, name) for name in config.datasets}
    folder = config.open_folder("figures")
    networks = {cell: cell.network(config, classes[cell.dataset]) for cell in config.cells()}
    results = {name: _read_results(run) for name, run in _by_name(networks.values()).items()}
    missing = [run for name, run in _by_name(networks.values()).items() if results[name] is None]
    depths = [len(run.layers) for run in missing]  # a layer takes about as long as another
    trained = share_out(_train, [(run,) for run in missing], config.workers)
    started, table = time.monotonic(), _write_tables(folder, networks, results)
    done = 0
    for number, (run,) in enumerate(trained, start=1):
        results[run.log_dir] = _read_results(run)
        done += len(run.layers)
        print(
            f"Network {number}/{len(missing)}: {_describe(run, results[run.log_dir])}"
            + time_left(time.monotonic() - started, done, sum(depths)),
            flush=True,
        )
        table = _write_tables(folder, networks, results)
    return table


def _by_name(runs: Iterable[training.CapsuleNetworkConfig]):
    """The different ones, in their order; cells may share a network."""
    return {run.log_dir: run for run in runs}


def _write_tables(
    folder: pathlib.Path,
    networks: "dict[Cell, training.CapsuleNetworkConfig]",
    results: dict[str, dict[str, Any] | None],
) -> list[dict[str, Any]]:
    """Writes what is known so far; returns the rows of table.csv."""
    known = ((cell, results[run.log_dir]) for cell, run in networks.items())
    rows = [{**cell._asdict(), **values} for cell, values in known if values is not None]
    table = summarize(rows)
    if rows:
        files.write_csv(folder / "cells.csv", rows)
        files.write_csv(folder / "table.csv", table)
    if any(row["mean"] is not None for row in table):
        plots.save(depth_curves(_curves(table)), folder / "figures" / "depth.png")
    return table


def summarize(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and standard deviation over the seeds; failed trainings are counted, and left out.

    Example:

    >>> cell = Cell("mnist", "em", True, False, 2, seed=0)._asdict()
    >>> rows = [{**cell, "accuracy": 0.5}, {**cell, "accuracy": 0.75}, {**cell, "accuracy": None}]
    >>> row, = summarize(rows)
    >>> row["runs"], row["failed"], row["mean"], row["std"]
    (2, 1, 0.625, 0.125)
    """
    groups: dict[tuple, list[float | None]] = {}
    for row in rows:
        setting = tuple(row[name] for name in Cell._fields if name != "seed")
        groups.setdefault(setting, []).append(row["accuracy"])
    table = []
    for setting, accuracies in sorted(groups.items()):
        finite = [value for value in accuracies if value is not None]
        table.append(
            {
                **dict(zip(Cell._fields, setting, strict=False)),
                "runs": len(finite),
                "failed": len(accuracies) - len(finite),
                "mean": float(np.mean(finite)) if finite else None,
                "std": float(np.std(finite)) if finite else None,
            }
        )
    return table


def _read_results(run: training.CapsuleNetworkConfig) -> dict[str, Any] | None:
    """What an earlier call left of a finished training; None without one."""
    folder = pathlib.Path(run.log_dir)
    if (folder / _FAILED).exists():
        return {"accuracy": None, "parameters": None, "seconds": None}
    try:
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        if results["epochs"] == run.epochs:
            return {
                "accuracy": results["test_accuracy"],
                "parameters": results["parameters"],
                "seconds": results["seconds"],
            }
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass
    return None


def _train(run: training.CapsuleNetworkConfig) -> None:
    """Trains a network; one whose numbers don't stay finite gets a note in its directory.

    Beside others its progress goes to a file, as several bars on one screen say nothing.
    """
    folder = pathlib.Path(run.log_dir)
    with contextlib.ExitStack() as stack:
        if multiprocessing.parent_process() is not None:
            folder.parent.mkdir(exist_ok=True)
            log = stack.enter_context(folder.with_suffix(".log").open("a", encoding="utf-8"))
            stack.enter_context(contextlib.redirect_stdout(log))
        try:
            training.train(run)
        except UsageError as error:
            # Whoever got as far as writing run.json had good input: the numbers didn't stay finite.
            if not training.RunDirectory(folder).description.exists():
                raise
            files.write_text(folder / _FAILED, f"{error}\n")
        finally:
            # Keras keeps the graphs of all networks alive otherwise.
            keras.utils.clear_session()


def _count_classes(config: DepthExperiment, name: str) -> int:
    return len(datasets.load(name, data_dir=config.data_dir).class_names)


def _curves(table: list[dict[str, Any]]) -> dict[str, dict[tuple[str, bool], tuple[list, ...]]]:
    """For each panel and each (routing, skips): depths, means and standard deviations."""
    panels: dict[str, dict[tuple[str, bool], tuple[list, ...]]] = {}
    for row in table:
        if row["mean"] is not None:
            panel = row["dataset"] + ("" if row["use_bias"] else ", no bias")
            curves = panels.setdefault(panel, {})
            columns = curves.setdefault((row["routing"], row["make_skips"]), ([], [], []))
            for column, name in zip(columns, ("depth", "mean", "std"), strict=True):
                column.append(row[name])
    return panels


def _ends_first(values: list[int]) -> list[int]:
    """The first and the last, then the middle of each gap.

    >>> _ends_first([2, 3, 4, 5, 6, 7])
    [2, 7, 4, 3, 5, 6]
    """
    order = [values[0], *values[-1:]] if len(values) > 1 else values[:]
    gaps = [(0, len(values) - 1)]
    while gaps:
        low, high = gaps.pop(0)
        middle = (low + high) // 2
        if high - low > 1:
            order.append(values[middle])
            gaps += [(low, middle), (middle, high)]
    return order


def _describe(run: training.CapsuleNetworkConfig, results: dict[str, Any]) -> str:
    accuracy = results["accuracy"]
    return (
        f"{run.dataset}, {run.routing}, {'bias' if run.use_bias else 'no bias'}, "
        f"{'skips' if run.make_skips else 'no skips'}, {len(run.layers)} layers, seed {run.seed}: "
        + ("failed, and the experiment goes on" if accuracy is None else f"{accuracy:.2%}")
    )
