"""What a trial keeps in its folder, where all workers of a search see it."""

import json
import math
import pathlib
import time
from typing import Any

import keras

from nas.attempt import Outcome
from tfcaps import files
from tfcaps.errors import UsageError
from tfcaps.models.block_network import BlockNetwork


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

    def seconds_since_sign_of_life(self) -> float:
        """How long nothing was heard of the trial."""
        try:
            return time.time() - self._alive.stat().st_mtime
        except FileNotFoundError:
            return math.inf

    def write_network(self, model: BlockNetwork) -> None:
        """Keeps a trained network, with its optimizer."""
        self.path.mkdir(parents=True, exist_ok=True)
        with files.replacing(self.network) as temporary:
            model.save(temporary)

    def read_network(self) -> BlockNetwork:
        """The trained network.

        Raises:
            UsageError: it is missing or damaged.
        """
        try:
            return keras.models.load_model(self.network)
        except (OSError, ValueError, KeyError):
            raise UsageError(
                f"Expected a trained network. Received: {self.network}, which is missing or damaged"
            ) from None

    def write_outcome(self, outcome: Outcome) -> None:
        """Keeps what an attempt came to."""
        self.path.mkdir(parents=True, exist_ok=True)
        files.write_json(self._outcome, vars(outcome))
        self._failure.unlink(missing_ok=True)

    def read_outcome(self) -> dict[str, Any] | None:
        """What the attempt came to, see `Outcome`; None where it isn't known."""
        try:
            return json.loads(self._outcome.read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return None

    def write_failure(self, sentence: str) -> None:
        """Keeps why an attempt failed."""
        self.path.mkdir(parents=True, exist_ok=True)
        files.write_text(self._failure, f"{sentence}\n")

    def read_failure(self) -> str:
        """Why the attempt failed."""
        try:
            return self._failure.read_text("utf-8").strip()
        except FileNotFoundError:
            return "its worker didn't say why"
