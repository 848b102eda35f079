"""Where a training keeps what it writes."""

import csv
import itertools
import json
import os
import pathlib
from typing import Any

from tfcaps import files
from tfcaps.errors import UsageError
from tfcaps.training import recipes
from tfcaps.training.configuration import RunConfig

# What run.json holds beside the configuration.
_DESCRIBED = ("class_names", "image_shape", "preprocessing")


class RunDirectory:
    """The files of one run.

        flags.txt       repeats the run: --flagfile=RUN/flags.txt
        run.json        configuration, classes, shape of raw images, preprocessing
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
        self.path = pathlib.Path(path)
        self.flags = self.path / "flags.txt"
        self.description = self.path / "run.json"
        self.metrics = self.path / "metrics.csv"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self.figures = self.path / "figures"
        self.results = self.path / "results.json"
        self.serving = self.path / "serving"

    def check(self, config: RunConfig) -> None:
        """Refuses a directory whose run would be overwritten, or can't be resumed.

        Raises:
            UsageError: there is a run already and `config.resume` is false, or it was of another
                configuration; or the path is a file, or another folder's content is there.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"Expected --log_dir to be a folder. Received the file: {self.path}")
        if not self.description.exists():
            return
        if not config.resume:
            raise UsageError(
                "Expected --log_dir without a run, or --resume to go on with it. "
                f"Received: --log_dir={self.path}, which holds a run"
            )
        earlier = self.read_description()["config"]
        if earlier.kind != config.kind:
            raise UsageError(
                f"Expected --log_dir with a run of a {config.kind} to resume it. "
                f"Received: {self.path}, which holds a {earlier.kind}"
            )
        name = config.first_difference(earlier)
        if name is not None:
            raise UsageError(
                f"Expected {earlier.flag(name)}, as the run in {self.path} was started with, "
                f"to resume it. Received: {config.flag(name)}"
            )

    def create(self, config: RunConfig, description: dict[str, Any]) -> None:
        """Makes the folders, and writes flags and description last, so that they mark a run."""
        for folder in (self.checkpoints, self.figures):
            folder.mkdir(parents=True, exist_ok=True)
        for folder in (self.path, self.checkpoints):
            files.remove_unfinished(folder)
        files.write_text(self.flags, config.flag_lines())
        files.write_json(
            self.description, {"config": recipes.to_description(config), **description}
        )

    def read_description(self) -> dict[str, Any]:
        """The content of run.json, in which `config` is a `RunConfig`.

        Raises:
            UsageError: there is none, or it is damaged.
        """
        try:
            content = json.loads(self.description.read_text(encoding="utf-8"))
            config = recipes.from_description(content["config"])
            return {**{name: content[name] for name in _DESCRIBED}, "config": config}
        except FileNotFoundError:
            raise UsageError(
                f"Expected --log_dir to be the directory of a run. Received: {self.path}, "
                "which has no run.json"
            ) from None
        except (ValueError, KeyError, TypeError):
            raise UsageError(
                f"Expected a run description. Received: {self.description}, which is damaged"
            ) from None

    def read_metrics(self, epochs: int) -> list[dict[str, float]]:
        """The rows of metrics.csv of the first `epochs` epochs, oldest first.

        Raises:
            UsageError: they aren't all there, or hold something else than numbers.
        """
        if not epochs:
            return []
        try:
            with self.metrics.open(encoding="utf-8", newline="") as file:
                rows = [
                    {name: float(value) for name, value in row.items()}
                    for row in itertools.islice(csv.DictReader(file), epochs)
                ]
        except (FileNotFoundError, ValueError, TypeError):
            rows = []
        if [row.get("epoch") for row in rows] != list(range(1, epochs + 1)):
            raise UsageError(
                f"Expected a row of numbers for each of the {epochs} epochs that were trained. "
                f"Received: {self.metrics}, which is missing or damaged"
            )
        return rows

    def read_results(self) -> dict[str, Any]:
        """The content of results.json."""
        return json.loads(self.results.read_text(encoding="utf-8"))

    def epochs_in_results(self) -> int:
        """How many epochs results.json tells of; 0 when there is none, or a damaged one."""
        try:
            return int(self.read_results()["epochs"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return 0

    def write_metrics(self, rows: list[dict[str, float]]) -> None:
        """Replaces metrics.csv."""
        files.write_csv(self.metrics, ({**row, "epoch": int(row["epoch"])} for row in rows))
