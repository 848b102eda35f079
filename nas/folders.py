"""Where a search, and each of its trials, keeps what it writes."""

import json
import os
import pathlib
import re
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nas.records import Outcome
from nas.rules import REPLACED
from tfcaps import files
from tfcaps.errors import UsageError
from tfcaps.options import WorkOptions
from tfcaps.training.run_directory import expect_same_data, says_what_it_can

if TYPE_CHECKING:
    from tfcaps.models import BlockNetwork

_OWNER = "trial.json"  # in the folder of a final training: of which trial it is
_NAME = re.compile(r"[\w-]{1,100}")  # of a trial; a folder is called by it


def is_trial_name(value: Any) -> bool:
    """Whether a trial can have this identity."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


class TrialsFolder(files.WorkFolder):
    """Base class: a folder of work that consists of trials on some data.

    Args:
        path: the folder; it need not exist.
        work: what is done in it.
    """

    def __init__(self, path: str | os.PathLike, work: files.Work):
        super().__init__(path, work)
        self.flags = self.path / "flags.txt"
        self.history = self.path / "history.csv"
        self.figures = self.path / "figures"
        self.best = self.path / "best"
        self.serving = self.path / "serving"
        self.report = self.path / "report.md"

    def create(self, config: WorkOptions, description: Mapping[str, Any]) -> None:
        """Makes the folders, and writes flags and description last, so that they mark the work.

        Args:
            config: what is asked for.
            description: what the task says of the data.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        files.write_text(self.flags, config.flag_lines())
        self.begin({**config.to_dict(), "data": description}, self.figures.name, self.best.name)

    def compare_data(self, name: str, description: Mapping[str, Any]) -> None:
        """Refuses other data than those that the work was begun with.

        Args:
            name: how they are called.
            description: what the task says of them.

        Raises:
            UsageError: they differ; or the marker is damaged.
        """
        if not self.marker.exists():
            return
        try:
            earlier = {**self.read().get("data", {})}
        except (AttributeError, TypeError):
            raise self.damaged() from None
        if not says_what_it_can(earlier):
            raise self.damaged()
        expect_same_data(earlier, description, name, self.path)

    def take_best(self, owner: str, *, unknown: str = "before") -> None:
        """Makes `best` the folder of the final training of a trial.

        A training belongs to its trial: where work that went on comes to another one, that of
        the earlier one moves aside, and comes back when the work does.

        Args:
            owner: identity of the trial that the work came to.
            unknown: that of a training of which no owner was noted.
        """
        if (self.best / files.RUN.marker).exists():
            earlier_owner = self._owner() or unknown
            if earlier_owner != owner:
                self.best.rename(self._best_of(earlier_owner))
        earlier = self._best_of(owner)
        if earlier.exists() and not (self.best / files.RUN.marker).exists():
            shutil.rmtree(self.best, ignore_errors=True)  # nothing has been trained in it
            earlier.rename(self.best)
        self.best.mkdir(exist_ok=True)
        if files.read_json(self.best / _OWNER) != {"trial": owner}:
            files.write_json(self.best / _OWNER, {"trial": owner})

    def _owner(self) -> str | None:
        """The trial whose final training `best` is; None: it isn't known."""
        known = files.read_json(self.best / _OWNER)
        found = known.get("trial") if isinstance(known, dict) else None
        return found if is_trial_name(found) else None

    def _best_of(self, owner: str) -> pathlib.Path:
        return self.path / f"best_of_trial_{owner}"


class SearchFolder(TrialsFolder):
    """The files of one search.

        flags.txt       repeats the search: --flagfile=SEARCH/flags.txt
        search/         search.json, the configuration; state.json; a folder for each trial
        history.csv     one row per trial
        figures/        PNG files
        tensorboard/    event files: a run for each network that is trained all the time
        best/           run directory of the final training, architecture.json, and trial.json
        best_of_trial_N/  that of an earlier end of the search, which went on and came to another
        start/          run directory of the start network's training, with --train_start
        serving/1/      SavedModel
        report.md       before and after

    Args:
        path: the folder; it need not exist.
    """

    def __init__(self, path: str | os.PathLike):
        super().__init__(path, files.SEARCH)
        self.search = self.path / "search"
        self.start = self.path / "start"
        self.tensorboard = self.path / "tensorboard"

    def check(self, options: WorkOptions) -> None:
        """As of every work; a search by a rule that isn't there any more is refused, too."""
        if options.resume and self.marker.exists():
            begun = files.read_json(self.marker)
            rule = begun.get("rule") if isinstance(begun, dict) else None
            if rule in REPLACED:
                raise UsageError(
                    "Expected another --log_dir, for a new search with --rule=auto. "
                    f"Received: --log_dir={self.path}, which holds a search with --rule={rule}"
                )
        super().check(options)

    def make_best(self, trial: str, architecture: str) -> None:
        """Makes `best` the folder of the final training of a trial, see `take_best`.

        Args:
            trial: identity of the trial that the search came to.
            architecture: of it, as JSON.
        """
        described = self.best / "architecture.json"
        is_same = files.read_json(described) == json.loads(architecture)
        # A search before owners were noted has that of its architecture.
        self.take_best(trial, unknown=trial if is_same else "before")
        files.write_text(described, architecture + "\n")


class TrialFolder:
    """The files of one trial.

        alive           touched every few seconds by whoever works on it
        network.keras   the trained network, as long as others may start from it
        outcome.json    all checks
        failure.txt     why it failed, in one sentence

    Args:
        search: folder of the search.
        name: identity of the trial.
    """

    def __init__(self, search: pathlib.Path, name: str):
        self.path = search / f"trial_{name}"  # as keras-tuner calls it
        self.network = self.path / "network.keras"
        self._alive = self.path / "alive"
        self._outcome = self.path / "outcome.json"
        self._failure = self.path / "failure.txt"

    def sign_of_life(self) -> None:
        """Says that somebody works on the trial."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._alive.touch()

    def abandon(self) -> None:
        """Says that nobody works on the trial."""
        self._alive.unlink(missing_ok=True)

    def last_sign_of_life(self) -> int | None:
        """What is another number after each sign of life; None: nobody works on the trial.

        It is a time, but of whichever machine gave the sign, whose clock may be set.
        """
        try:
            return self._alive.stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def write_network(self, model: "BlockNetwork") -> None:
        """Keeps a trained network, with its optimizer."""
        self.path.mkdir(parents=True, exist_ok=True)
        with files.replacing(self.network) as temporary:
            model.save(temporary)

    def read_network(self) -> "BlockNetwork":
        """The trained network.

        Raises:
            UsageError: it is missing or damaged.
        """
        from tfcaps.training import checkpoints

        model = checkpoints.load(self.network)
        if model is None:
            raise UsageError(
                f"Expected a trained network. Received: {self.network}, which is missing or damaged"
            )
        return model

    def write_outcome(self, outcome: Outcome) -> None:
        """Keeps what a trial came to."""
        self.path.mkdir(parents=True, exist_ok=True)
        files.write_json(self._outcome, vars(outcome))
        self._failure.unlink(missing_ok=True)

    def read_outcome(self) -> Outcome | None:
        """What the trial came to; None where it isn't known."""
        return Outcome.from_json(files.read_json(self._outcome))

    def write_failure(self, sentence: str) -> None:
        """Keeps why a trial failed."""
        self.path.mkdir(parents=True, exist_ok=True)
        files.write_text(self._failure, f"{sentence}\n")

    def read_failure(self) -> str:
        """Why the trial failed."""
        try:
            return files.read_text(self._failure).strip()
        except (FileNotFoundError, UnicodeDecodeError):
            return "its worker didn't say why"
