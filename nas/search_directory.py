"""Where a search keeps what it writes."""

import json
import os
import pathlib

from nas.configuration import SearchConfig
from tfcaps import files
from tfcaps.errors import UsageError


class SearchDirectory:
    """The files of one search.

        flags.txt       repeats the search: --flagfile=SEARCH/flags.txt
        search/         search.json, the configuration; state.json; a folder for each trial
        history.csv     one row per trial
        figures/        PNG files
        best/           run directory of the final training, and architecture.json
        start/          run directory of the start network's training, with --train_start
        serving/1/      SavedModel
        report.md       before and after

    Args:
        path: the directory; it need not exist.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)
        self.flags = self.path / "flags.txt"
        self.search = self.path / "search"
        self.description = self.search / "search.json"
        self.history = self.path / "history.csv"
        self.figures = self.path / "figures"
        self.best = self.path / "best"
        self.start = self.path / "start"
        self.serving = self.path / "serving"
        self.report = self.path / "report.md"

    def check(self, config: SearchConfig) -> None:
        """Refuses a directory whose search would be overwritten, or can't be resumed.

        Raises:
            UsageError: there is a search already and `config.resume` is false, or it was of
                another configuration; or it is damaged; or a run or a file is there.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"Expected --log_dir to be a folder. Received the file: {self.path}")
        if (self.path / "run.json").exists():
            raise UsageError(
                "Expected --log_dir without a run. "
                f"Received: --log_dir={self.path}, which holds a training's run"
            )
        if not self.description.exists():
            return
        if not config.resume:
            raise UsageError(
                "Expected --log_dir without a search, or --resume to go on with it. "
                f"Received: --log_dir={self.path}, which holds a search"
            )
        self.compare(config)

    def compare(self, config: SearchConfig) -> None:
        """Refuses another configuration than the search was started with.

        Raises:
            UsageError: the description is damaged, or a flag differs; the first one is named.
        """
        try:
            earlier = SearchConfig.from_dict(json.loads(self.description.read_text("utf-8")))
        except (ValueError, TypeError):
            raise UsageError(
                f"Expected a search's description. Received: {self.description}, which is damaged"
            ) from None
        name = config.first_difference(earlier)
        if name is not None:
            raise UsageError(
                f"Expected {earlier.flag(name)}, as the search in {self.path} was started with, "
                f"to go on with it. Received: {config.flag(name)}"
            )

    def create(self, config: SearchConfig) -> None:
        """Makes the folders, and writes flags and description last, so that they mark a search."""
        for folder in (self.search, self.figures, self.best):
            folder.mkdir(parents=True, exist_ok=True)
        for folder in (self.path, self.search, *self.search.glob("trial_*")):
            files.remove_unfinished(folder)
        files.write_text(self.flags, config.flag_lines())
        files.write_json(self.description, config.to_dict())
