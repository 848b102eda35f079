"""keras-tuner's runner of trials."""

import contextlib
import pathlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import keras_tuner

from nas.hypermodel import BlockHyperModel
from nas.oracle import ControllerOracle
from nas.trial import LostNetworkError
from nas.trial_folder import TrialFolder
from tfcaps.errors import UsageError

# How often a worker without work asks for some, and how often one with work says that it lives.
_POLLING_SECONDS = 0.5
_SIGN_SECONDS = 2.0


class ControllerTuner(keras_tuner.Tuner):
    """Has trials run, and says what becomes of those that fail.

    Args:
        oracle: proposes.
        hypermodel: builds.
        run: runs the trial of a name and values, here or elsewhere, and returns its results.
    """

    def __init__(
        self,
        oracle: ControllerOracle,
        hypermodel: BlockHyperModel,
        run: Callable[[str, Mapping[str, str | int]], dict[str, float]],
    ):
        self.folder: pathlib.Path = oracle.folder
        self._run = run
        self._asked = 0.0
        super().__init__(
            oracle,
            hypermodel,
            directory=str(self.folder.parent),
            project_name=self.folder.name,
        )

    def pre_create_trial(self):
        """Lets a worker that has nothing to do ask twice a second, not all the time."""
        time.sleep(max(0.0, self._asked + _POLLING_SECONDS - time.monotonic()))
        self._asked = time.monotonic()

    def run_trial(self, trial):
        folder = TrialFolder(self.folder, trial.trial_id)
        try:
            with _signs_of_life(folder):
                return self._run(trial.trial_id, trial.hyperparameters.values)
        except (OSError, LostNetworkError) as error:
            # No fault of the trial's: a full disk must not decide about a network.
            raise keras_tuner.errors.FatalError(str(error)) from error
        except Exception as error:
            sentence = _sentence(error)
            folder.write_failure(sentence)
            print(f"  failed: {sentence}", flush=True)
            if isinstance(error, UsageError):
                # It would come out the same another time.
                raise keras_tuner.errors.FailedTrialError(sentence) from error
            raise

    def save(self):
        """Writes the oracle's state, which is all there is; a worker has none."""
        if isinstance(self.oracle, keras_tuner.Oracle):
            self.oracle.save()

    def reload(self):
        """Reads the oracle's state."""
        self.oracle.reload()

    def save_model(self, trial_id, model, step=0):
        del step
        TrialFolder(self.folder, trial_id).write_network(model)

    def load_model(self, trial):
        return TrialFolder(self.folder, trial.trial_id).read_network()


@contextlib.contextmanager
def _signs_of_life(folder: TrialFolder) -> Iterator[None]:
    """Gives them from a thread of its own: a graph may take minutes to trace."""
    ended = threading.Event()

    def give():
        while not ended.wait(_SIGN_SECONDS):
            folder.sign_of_life()

    folder.sign_of_life()
    thread = threading.Thread(target=give, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _sentence(error: Exception) -> str:
    """The first line of what an error says."""
    if isinstance(error, UsageError):
        return str(error)
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}".removesuffix(": ")
