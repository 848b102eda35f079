"""The sign experiment: which capsule networks learn the sign of a number?"""

import dataclasses
import itertools
import pathlib
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from tfcaps import files, plots
from tfcaps.errors import UsageError
from tfcaps.experiments.experiment import Experiment, em_cost, share_out, time_left
from tfcaps.options import changed, option
from tfcaps.routing import registry as routings
from tfcaps.training import CapsuleNetworkConfig

THRESHOLDS = (0.0, 0.6, 0.7, 0.8, 0.9)  # of the published table
DRAWN_POINTS = 256  # of each network's decision, for the figure
_ROW = ("routing", "use_bias", "hidden_layers", "capsules", "dimensions", "run", "accuracy")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SignExperiment(Experiment):
    """All choices of a sign experiment; a field is the flag of the same name.

    The networks are all combinations of hidden layers, capsules and dimensions. In a call that goes
    on, routings, capsules and dimensions may be others.

    Raises:
        UsageError: a value is out of its range.

    Example:

    >>> SignExperiment(log_dir="runs/sign", routing=["em"], capsules=["10"]).capsules
    (10,)

    Source: Peer, Stabinger, Rodríguez-Sánchez: Limitation of capsule networks, arXiv 1905.08744.
    """

    log_dir: str = changed(Experiment, "log_dir", help="Folder of the results (runs/sign-TIME).")
    routing: tuple[str, ...] = option(
        "How capsules agree.",
        default=("em", "rba"),
        choices=routings.names,
        distinct=True,
        least=1,
        may_change=True,
    )
    use_bias: tuple[bool, ...] = option(
        "With bias, without, or both.", default=(True, False), distinct=True, least=1
    )
    hidden_layers: tuple[int, ...] = option(
        "Numbers of hidden layers.", default=(1, 2, 3, 4), range=">= 1", distinct=True, least=1
    )
    capsules: tuple[int, ...] = option(
        "Numbers of capsules per hidden layer.",
        default=(10, 15, 20, 25, 30),
        range=">= 1",
        distinct=True,
        least=1,
        may_change=True,
    )
    dimensions: tuple[int, ...] = option(
        "Capsule dimensions of the hidden layers.",
        default=(10, 12, 14, 16, 18),
        range=">= 1",
        distinct=True,
        least=1,
        may_change=True,
    )
    iterations: int = changed(CapsuleNetworkConfig, "iterations")
    em_cost: str = em_cost()
    runs: int = option(
        "Networks per combination, each with initial weights of its own.", default=3, range=">= 1"
    )
    examples: int = option(
        "Points on [-1, 1], an even number so that 0 isn't one.", default=4096, range=">= 1"
    )
    epochs: int = option("Epochs of each training.", default=50, range=">= 1")
    batch_size: int = changed(
        CapsuleNetworkConfig, "batch_size", default=64, help="Examples per step."
    )
    learning_rate: float = changed(
        CapsuleNetworkConfig, "learning_rate", default=1e-4, help="Of Adam."
    )
    seed: int = changed(CapsuleNetworkConfig, "seed", help="Of initial weights and order.")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("examples", self.examples % 2 == 0, "to be even")
        self.expect(
            "batch_size", self.batch_size <= self.examples, f"<= --examples={self.examples}"
        )

    @property
    def run_name(self) -> str:
        return "sign"

    def parts(self) -> list[tuple[str, int, int]]:
        """Routings and widths, each of which is trained by itself."""
        return list(itertools.product(self.routing, self.capsules, self.dimensions))


class _Decisions(NamedTuple):
    """What the networks of one routing and width became.

    hidden_layers, use_bias, run and accuracy are arrays `(M,)`; differences are `‖v₊‖ − ‖v₋‖`,
    `(M, P)`, at the points x `(P,)`.
    """

    hidden_layers: np.ndarray
    use_bias: np.ndarray
    run: np.ndarray
    accuracy: np.ndarray
    x: np.ndarray
    differences: np.ndarray


def _points(count: int) -> np.ndarray:
    """So many points on [−1, 1] at equal distances, ±x together and 0 not among them.

    >>> _points(4).tolist()
    [-1.0, -0.3333333432674408, 0.3333333432674408, 1.0]
    """
    positive = (np.arange(1, count, 2) / (count - 1)).astype("float32")
    return np.concatenate([-positive[::-1], positive])


def sign_experiment(config: SignExperiment) -> list[dict[str, Any]]:
    """Trains the networks that aren't there yet, and writes tables and figure.

    `log_dir` then has networks.csv (a row per network and run), table.csv (a row per setting: how
    many networks have a mean accuracy over their runs above each threshold), figures/decisions.png
    and parts/ with what was trained, one file per routing and width.

    Returns:
        The rows of table.csv.

    Raises:
        UsageError: `log_dir` has an experiment and `resume` isn't set, or one with other settings;
            a training diverged.
    """
    with config.open_folder("parts", "figures") as folder:
        _train_missing(config, folder)
        return _write_results(config, folder)


def _write_results(config: SignExperiment, folder: pathlib.Path) -> list[dict[str, Any]]:
    """Writes tables and figure; returns the rows of table.csv."""
    rows: list[dict[str, Any]] = []
    curves: dict[str, list[np.ndarray]] = {}
    for routing, capsules, dim in config.parts():
        path = _part_path(folder, routing, capsules, dim)
        part = _Decisions(**files.read_arrays(path, _Decisions._fields))
        columns = zip(*part[:4], part.differences, strict=True)
        for hidden_layers, use_bias, run, accuracy, difference in columns:
            values = (routing, bool(use_bias), hidden_layers, capsules, dim, run, accuracy)
            rows.append(dict(zip(_ROW, values, strict=True)))
            curves.setdefault(_setting(routing, use_bias), []).append(difference)
    rows.sort(key=lambda row: tuple(row.values())[:-1])
    table = count_above(rows)
    files.write_csv(folder / "networks.csv", rows)
    files.write_csv(folder / "table.csv", table)
    _draw(folder / "figures" / "decisions.png", part.x, curves)
    return table


def count_above(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """How many networks of each setting have a mean accuracy over their runs above thresholds.

    >>> row = dict(routing="em", use_bias=True, hidden_layers=1, capsules=10, dimensions=10)
    >>> table = count_above([{**row, "run": 0, "accuracy": 0.5}, {**row, "run": 1, "accuracy": 1}])
    >>> table[0]["networks"], table[0]["above_0.7"], table[0]["above_0.8"]
    (1, 1, 0)
    """
    accuracies: dict[tuple, dict[tuple, list[float]]] = {}
    for row in rows:
        setting = (row["routing"], row["use_bias"])
        network = (row["hidden_layers"], row["capsules"], row["dimensions"])
        accuracies.setdefault(setting, {}).setdefault(network, []).append(row["accuracy"])
    table = []
    for (routing, use_bias), networks in accuracies.items():
        means = np.array([np.mean(values) for values in networks.values()])
        counts = {f"above_{limit:g}": int(np.sum(means > limit)) for limit in THRESHOLDS}
        table.append({"routing": routing, "use_bias": use_bias, "networks": len(means), **counts})
    return table


def _train_missing(config: SignExperiment, folder: pathlib.Path) -> None:
    """Trains the parts that have no file yet."""
    missing = [part for part in config.parts() if not _part_path(folder, *part).exists()]
    # The largest first, so that no worker is left alone with one; matrix products are the work.
    work = {part: (part[1] * part[2]) ** 2 for part in missing}
    missing.sort(key=work.__getitem__, reverse=True)
    calls = [(config, folder, *part) for part in missing]
    started, done = time.monotonic(), 0
    ended = share_out(_train_part, calls, config.workers)
    for number, (_, _, *part) in enumerate(ended, start=1):
        done += work[tuple(part)]
        print(
            "Part {}/{}: {}, {} capsules of dimension {}".format(number, len(missing), *part)
            + time_left(time.monotonic() - started, done, sum(work.values())),
            flush=True,
        )


def _train_part(
    config: SignExperiment, folder: pathlib.Path, routing: str, capsules: int, dim: int
) -> None:
    """Trains all networks of one routing and width, and stores their `_Decisions`.

    Raises:
        UsageError: lengths don't stay finite.
    """
    from tfcaps.experiments.network_stack import Member, NetworkStack

    stack = NetworkStack(
        config.hidden_layers,
        [Member(*values) for values in itertools.product(config.use_bias, range(config.runs))],
        capsules,
        dim,
        {
            "name": routing,
            "iterations": config.iterations,
            **({"cost": config.em_cost} if routing == "em" else {}),
        },
        learning_rate=config.learning_rate,
        seed=config.seed,
    )
    x = _points(config.examples)
    for epoch in range(config.epochs):
        stack.train_epoch(x, epoch, config.batch_size)
    differences = stack.differences(x, config.batch_size)
    for depth, values in zip(stack.hidden_layers, differences.swapaxes(0, 1), strict=True):
        if not np.isfinite(values).all():
            raise UsageError(
                f"Expected finite lengths. Received: others from {routing}, {capsules} capsules of "
                f"dimension {dim}, {depth} hidden layers; lower --learning_rate "
                f"(now {config.learning_rate:g})"
            )
    drawn = slice(None, None, max(1, len(x) // DRAWN_POINTS))
    networks = [(depth, *member) for member in stack.members for depth in stack.hidden_layers]
    differences = differences.reshape(len(networks), -1)
    hidden_layers, use_bias, run = np.array(networks).T
    part = _Decisions(
        hidden_layers=hidden_layers,
        use_bias=use_bias,
        run=run,
        accuracy=np.mean((differences > 0) == (x > 0), axis=1),
        x=x[drawn],
        differences=differences[:, drawn],
    )
    with files.replacing(_part_path(folder, routing, capsules, dim)) as temporary:
        np.savez(temporary, **part._asdict())


def _part_path(folder: pathlib.Path, routing: str, capsules: int, dim: int) -> pathlib.Path:
    return folder / "parts" / f"{routing}_{capsules}x{dim}.npz"


def _draw(path: pathlib.Path, x: np.ndarray, curves: dict[str, list[np.ndarray]]) -> None:
    figure = plots.sign_decisions(x, {name: np.stack(lines) for name, lines in curves.items()})
    plots.save(figure, path)


def _setting(routing: str, use_bias: bool) -> str:
    return f"{routing}, {'bias' if use_bias else 'no bias'}"
