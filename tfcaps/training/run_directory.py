"""Where a training keeps what it writes."""

import csv
import io
import itertools
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from tfcaps import files
from tfcaps.errors import UsageError
from tfcaps.training.configuration import RunConfig

# Of metrics.csv: what was measured in an epoch, by name.
Row = dict[str, float]


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_image_shape(value: Any) -> bool:
    sizes = value if isinstance(value, list) else []
    return len(sizes) == 3 and all(type(size) is int and size >= 1 for size in sizes)


# What the package's tasks say of their data, if they do, and whether a value can be that.
_SAID: dict[str, Callable[[Any], bool]] = {
    "class_names": _are_names,
    "fingerprint": lambda value: value is None or isinstance(value, str),
    "image_shape": _is_image_shape,
    "preprocessing": lambda value: isinstance(value, dict),
}


def says_what_it_can(description: Mapping[str, Any]) -> bool:
    """Whether what a file says of data is what tasks say of them, see `Task.describe`."""
    return all(is_so(description[name]) for name, is_so in _SAID.items() if name in description)


class RunDirectory(files.WorkFolder):
    """The files of one run.

        flags.txt       repeats the run: --flagfile=RUN/flags.txt
        run.json        configuration, and what the task says of the data
        metrics.csv     one row per epoch
        checkpoints/    epoch-0001.keras …, best.keras
        tensorboard/    event files
        figures/        PNG files
        results.json    accuracy, parameters, seconds, versions, seed
        serving/1/      SavedModel

    Args:
        path: the directory; it need not exist.
    """

    def __init__(self, path: str | os.PathLike):
        super().__init__(path, files.RUN)
        self.flags = self.path / "flags.txt"
        self.metrics = self.path / "metrics.csv"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self.figures = self.path / "figures"
        self.results = self.path / "results.json"
        self.serving = self.path / "serving"

    def made_with(self, options: RunConfig) -> RunConfig:
        """The configuration that the run was started with.

        Raises:
            UsageError: run.json is damaged, or the run is one of another kind.
        """
        earlier = self.read_description()["config"]
        if earlier.kind != options.kind:
            raise UsageError(
                f"Expected --log_dir with a run of a {options.kind} to resume it. "
                f"Received: {self.path}, which holds a {earlier.kind}"
            )
        return earlier

    def as_begun(self, config: RunConfig) -> RunConfig:
        """What is asked for, where a run is gone on with as that was begun.

        Raises:
            UsageError: as `made_with`.
        """
        if not (config.resume and self.marker.exists()):
            return config
        return config.as_begun(self.made_with(config))

    def create(self, config: RunConfig, description: dict[str, Any]) -> None:
        """Makes the folders, and writes flags and description last, so that they mark a run."""
        self.path.mkdir(parents=True, exist_ok=True)
        files.write_text(self.flags, config.flag_lines())
        self.begin(
            {"config": config.to_description(), **description},
            *(self.checkpoints.name, self.figures.name),
        )

    def read_description(self) -> dict[str, Any]:
        """The content of run.json, in which `config` is a `RunConfig`.

        Raises:
            UsageError: there is none, or it is damaged.
        """
        content = self.read()
        try:
            config = RunConfig.from_description(content["config"])
        except (KeyError, TypeError, ValueError, OverflowError):
            raise self.damaged() from None
        if not says_what_it_can(content):
            raise self.damaged()
        return {**content, "config": config}

    def compare_data(self, name: str, description: Mapping[str, Any]) -> None:
        """Refuses other data than those that the run was begun with; its labels mean other things.

        Args:
            name: how the data are called.
            description: what the task says of them now.

        Raises:
            UsageError: they differ; or run.json is damaged.
        """
        if self.marker.exists():
            expect_same_data(self.read_description(), description, name, self.path)

    def read_metrics(self, epochs: int) -> list[Row]:
        """The rows of metrics.csv of the first `epochs` epochs, oldest first.

        Raises:
            UsageError: they aren't all there, or hold something else than numbers.
        """
        if not epochs:
            return []
        try:
            text = files.read_text(self.metrics)
            rows = [
                {name: float(value) for name, value in row.items()}
                for row in itertools.islice(csv.DictReader(io.StringIO(text)), epochs)
            ]
        except UsageError:
            raise
        except (FileNotFoundError, ValueError, TypeError, csv.Error):
            rows = []
        if [row.get("epoch") for row in rows] != list(range(1, epochs + 1)):
            raise UsageError(
                f"Expected a row of numbers for each of the {epochs} epochs that were trained. "
                f"Received: {self.metrics}, which is missing or damaged"
            )
        return rows

    def read_results(self) -> dict[str, Any]:
        """The content of results.json."""
        return json.loads(files.read_text(self.results))

    def epochs_in_results(self) -> int:
        """How many epochs results.json tells of; 0 when there is none, or a damaged one."""
        try:
            return int(self.read_results()["epochs"])
        except UsageError:
            raise
        except (FileNotFoundError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return 0

    def write_metrics(self, rows: list[Row]) -> None:
        """Replaces metrics.csv."""
        files.write_csv(self.metrics, ({**row, "epoch": int(row["epoch"])} for row in rows))


def export_description(config: RunConfig, epoch: int, fingerprint: str | None) -> dict[str, Any]:
    """What an export of a run says of itself beside what all exports do.

    Args:
        config: of the run.
        epoch: how many epochs the network was trained.
        fingerprint: of its data.
    """
    return {"dataset": config.dataset, "data_fingerprint": fingerprint, "epoch": epoch}


def expect_same_data(
    earlier: Mapping[str, Any], now: Mapping[str, Any], name: str, place: str | os.PathLike
) -> None:
    """Refuses data that aren't those of a training.

    Args:
        earlier: what was said of its data. What wasn't known then isn't compared.
        now: what is said of these, see `Task.describe`.
        name: how they are called.
        place: where what was trained lies.

    Raises:
        UsageError: they have other classes, or other content.
    """
    before, classes = earlier.get("class_names"), now.get("class_names")
    if before and classes and list(before) != list(classes):
        differing = sorted(set(before) ^ set(classes)) or classes
        raise UsageError(
            f"Expected the {len(before)} classes of the training in {place}, in their order. "
            f"Received: {name} with {len(classes)}, of which differ: {', '.join(differing)}"
        )
    mark = earlier.get("fingerprint")
    if mark and mark != now.get("fingerprint"):
        raise UsageError(
            f"Expected the data of the training in {place}. Received: {name}, which has changed "
            "since: other examples, or other names, sizes or contents of files"
        )
