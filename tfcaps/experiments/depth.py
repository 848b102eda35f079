"""The depth experiment: how many capsule layers can be trained, with which routing and skips?"""

import dataclasses
import itertools
import pathlib
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from tfcaps import datasets, files, plots, training
from tfcaps.datasets.image_names import check_name
from tfcaps.errors import NotFiniteError
from tfcaps.experiments.experiment import (
    Experiment,
    em_cost,
    ends_first,
    own_output,
    share_out,
    time_left,
)
from tfcaps.options import changed, option
from tfcaps.routing.registry import names as routing_names
from tfcaps.training import CapsuleNetworkConfig
from tfcaps.training.configuration import RunConfig

# Of the published networks: the primary layer, and the class capsules' dimension.
PRIMARY_DIMENSION, CLASS_DIMENSION = 8, 16
HIDDEN_DIMENSIONS = {"em": 10}
HIDDEN_DIMENSION = 12  # of all other routings
# What all networks of an experiment have from it.
_SHARED = (
    *("iterations", "em_cost", "skip_dist", "skip_kind", "use_reconstruction", "train_examples"),
    *("epochs", "batch_size", "learning_rate", "augmentation", "data_dir", "kernel_initializer"),
    *("schedule", "learning_rate_decay", "warmup_epochs"),
)
_FAILED = "failed.txt"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DepthExperiment(Experiment):
    """All choices of a depth experiment; a field is the flag of the same name.

    A network of depth L has the layers `primary, capsules × (L − 2), classes`; hidden capsules have
    dimension 10 with em and 12 with all other routings.

    Raises:
        UsageError: a value is out of its range.

    Example:

    >>> DepthExperiment(log_dir="runs/depth", depths=["2", "3"]).depths
    (2, 3)

    Sources: Peer, Stabinger, Rodríguez-Sánchez: Limitation of capsule networks, arXiv 1905.08744;
    Gugglberger, Peer, Rodríguez-Sánchez: Training deep capsule networks with residual connections,
    arXiv 2104.07393.
    """

    log_dir: str = changed(Experiment, "log_dir", help="Folder of the results (runs/depth-TIME).")
    datasets: tuple[str, ...] = option(
        "Data sets, as --dataset of bin/train_capsnet.",
        default=("mnist", "fashion_mnist"),
        distinct=True,
        least=1,
        may_change=True,
        check=check_name,
    )
    depths: tuple[int, ...] = option(
        "Numbers of capsule layers, the primary one among them.",
        default=(2, 3, 4, 5, 6, 7),
        range=">= 2",
        distinct=True,
        least=1,
        may_change=True,
    )
    routings: tuple[str, ...] = option(
        "How capsules agree.",
        default=("rba", "em", "sda"),
        choices=routing_names,
        distinct=True,
        least=1,
        may_change=True,
    )
    use_bias: tuple[bool, ...] = option(
        "With bias (true), without (false), or both.",
        default=(True,),
        distinct=True,
        least=1,
        may_change=True,
    )
    make_skips: tuple[bool, ...] = option(
        "With residual connections, without, or both.",
        default=(False, True),
        distinct=True,
        least=1,
        may_change=True,
    )
    seeds: tuple[int, ...] = option(
        "Of the trainings.",
        default=(0, 1),
        range=">= 0",
        distinct=True,
        least=1,
        may_change=True,
    )
    primary_capsules: int = option("Channels of the primary layer.", default=32, range=">= 1")
    capsules: int = option("Capsules of each hidden layer.", default=16, range=">= 1")
    iterations: int = changed(CapsuleNetworkConfig, "iterations")
    em_cost: str = em_cost()
    skip_dist: int = changed(CapsuleNetworkConfig, "skip_dist")
    skip_kind: str = changed(CapsuleNetworkConfig, "skip_kind")
    use_reconstruction: bool = changed(CapsuleNetworkConfig, "use_reconstruction")
    train_examples: int = changed(
        CapsuleNetworkConfig,
        "train_examples",
        default=10_000,
        help="Learn from so many examples of each set; 0: from all.",
    )
    epochs: int = changed(
        CapsuleNetworkConfig,
        "epochs",
        default=3,
        help="Epochs of each training.",
        may_change=False,
    )
    batch_size: int = changed(RunConfig, "batch_size", default=128)
    learning_rate: float = changed(
        CapsuleNetworkConfig, "learning_rate", default=1e-3, help="Of Adam."
    )
    schedule: str = changed(RunConfig, "schedule")
    learning_rate_decay: float = changed(CapsuleNetworkConfig, "learning_rate_decay", before=1.0)
    warmup_epochs: float | None = changed(CapsuleNetworkConfig, "warmup_epochs")
    augmentation: str = changed(CapsuleNetworkConfig, "augmentation")
    kernel_initializer: str = changed(CapsuleNetworkConfig, "kernel_initializer")
    data_dir: str | None = changed(CapsuleNetworkConfig, "data_dir")

    @property
    def run_name(self) -> str:
        return "depth"

    def cells(self) -> list["Cell"]:
        """All combinations, in an order in which a stopped experiment has something of each.

        The seed changes last; of the depths the smallest and the largest come first, then those
        that halve the gaps.
        """
        return [
            Cell(*values, depth, seed)
            for seed in self.seeds
            for depth in ends_first(sorted(self.depths))
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

    def config(self, experiment: DepthExperiment, num_classes: int) -> CapsuleNetworkConfig:
        """Its training."""
        hidden = HIDDEN_DIMENSIONS.get(self.routing, HIDDEN_DIMENSION)
        between = self.depth - 2
        return CapsuleNetworkConfig(
            log_dir=str(pathlib.Path(experiment.log_dir) / "cells" / self.name),
            dataset=self.dataset,
            routing=self.routing,
            use_bias=self.use_bias,
            make_skips=self.make_skips,
            layers=(experiment.primary_capsules, *[experiment.capsules] * between, num_classes),
            dimensions=(PRIMARY_DIMENSION, *[hidden] * between, CLASS_DIMENSION),
            seed=self.seed,
            precision="float32",
            resume=True,
            **{name: getattr(experiment, name) for name in _SHARED},
        )

    def network(self, experiment: DepthExperiment, num_classes: int) -> CapsuleNetworkConfig:
        """The training of the cell's network, which other cells may share."""
        own = self.config(experiment, num_classes)
        return self.without_idle_skips(own).config(experiment, num_classes)

    def without_idle_skips(self, config: CapsuleNetworkConfig) -> "Cell":
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
    with config.open_folder("figures") as folder:
        networks = {cell: cell.network(config, classes[cell.dataset]) for cell in config.cells()}
        return _train_missing(config, folder, networks)


def _train_missing(
    config: DepthExperiment,
    folder: pathlib.Path,
    networks: "dict[Cell, CapsuleNetworkConfig]",
) -> list[dict[str, Any]]:
    """Trains the networks that aren't there yet; returns the rows of table.csv."""
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


def _by_name(runs: Iterable[CapsuleNetworkConfig]):
    """The different ones, in their order; cells may share a network."""
    return {run.log_dir: run for run in runs}


def _write_tables(
    folder: pathlib.Path,
    networks: "dict[Cell, CapsuleNetworkConfig]",
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
        plots.save(plots.depth_curves(_curves(table)), folder / "figures" / "depth.png")
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


def _read_results(run: CapsuleNetworkConfig) -> dict[str, Any] | None:
    """What an earlier call left of a finished training; None without one."""
    folder = pathlib.Path(run.log_dir)
    if (folder / _FAILED).exists():
        return {"accuracy": None, "parameters": None, "seconds": None}
    results = files.read_json(folder / "results.json")
    if not isinstance(results, dict) or results.get("epochs") != run.epochs:
        return None
    return {
        "accuracy": results.get("test_accuracy"),
        "parameters": results.get("parameters"),
        "seconds": results.get("seconds"),
    }


def _train(run: CapsuleNetworkConfig) -> None:
    """Trains a network; one whose numbers don't stay finite gets a note in its directory."""
    import keras

    folder = pathlib.Path(run.log_dir)
    with own_output(folder):
        try:
            training.train(run)
        except NotFiniteError as error:
            files.write_text(folder / _FAILED, f"{error}\n")
        finally:
            # Keras keeps the graphs of all networks alive otherwise.
            keras.utils.clear_session()


def _count_classes(config: DepthExperiment, name: str) -> int:
    return len(datasets.load(name, data_dir=config.data_dir).class_names)


def _curves(
    table: list[dict[str, Any]],
) -> dict[str, dict[tuple[str, bool], tuple[list, list, list]]]:
    """For each panel and each (routing, skips): depths, means and standard deviations."""
    panels: dict[str, dict[tuple[str, bool], tuple[list, list, list]]] = {}
    for row in table:
        if row["mean"] is not None:
            panel = row["dataset"] + ("" if row["use_bias"] else ", no bias")
            curves = panels.setdefault(panel, {})
            columns = curves.setdefault((row["routing"], row["make_skips"]), ([], [], []))
            for column, name in zip(columns, ("depth", "mean", "std"), strict=True):
                column.append(row[name])
    return panels


def _describe(run: CapsuleNetworkConfig, results: dict[str, Any] | None) -> str:
    accuracy = results["accuracy"] if results else None
    return (
        f"{run.dataset}, {run.routing}, {'bias' if run.use_bias else 'no bias'}, "
        f"{'skips' if run.make_skips else 'no skips'}, {len(run.layers)} layers, seed {run.seed}: "
        + ("failed, and the experiment goes on" if accuracy is None else f"{accuracy:.2%}")
    )
