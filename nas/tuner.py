"""keras-tuner's two parts of a search: the oracle proposes trials, the tuner has them run."""

import contextlib
import dataclasses
import math
import os
import pathlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.src import config as keras_tuner_config

from nas import records
from nas.folders import TrialFolder, is_trial_name
from nas.records import Comparison, Decision, Proposal, Record
from nas.trial import COMPARISON, ENTROPY, OBJECTIVE, SCORE, SCORE_ERROR, LostNetworkError
from tfcaps import files
from tfcaps.errors import UsageError
from tfcaps.options import WorkOptions

# How often a worker without work asks for some, and how often one with work says that it lives.
_POLLING_SECONDS = 0.5
_SIGN_SECONDS = 2.0
# A trial that crashed is tried again; one whose numbers aren't finite isn't: it would be the same.
_RETRIES = 1
_COSTS = ("parameters", "milliseconds", "seconds", "epoch_seconds", "pause_seconds")
# keras-tuner's chief/worker mode; a name with "chief" in it makes the chief.
_NAME = "KERASTUNER_TUNER_ID"
_ADDRESS = ("KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")


class _Decider(Protocol):
    """What decides by the records of trials."""

    def decide(self, records: Sequence[Any]) -> Decision:
        """The next step after these trials, oldest first."""


class ControllerOracle(keras_tuner.Oracle):
    """Proposes what a rule decides.

    All that it knows is in one file, which is replaced as a whole after each change; keras-tuner's
    own files are not read.

    A trial whose worker gives no sign of life for a while goes to the next worker that asks.

    Args:
        rule: with a method `decide`, see `nas.rules` and `nas.layer_pruning`.
        folder: of the search; trials have folders of their own below it.
        max_trials: bound of all trials.
        worker_timeout: seconds without a sign of life. Default 60.
        objective: name of the number that trials are compared by. Default "val_accuracy".
        to_record: from a `FinishedTrial` to what the rule decides by. Default: a `Record`.
        on_end: is called with the oracle after each trial.
    """

    def __init__(
        self,
        rule: _Decider,
        *,
        folder: pathlib.Path,
        max_trials: int,
        worker_timeout: float = 60.0,
        objective: str = OBJECTIVE,
        to_record: "Callable[[FinishedTrial], Any] | None" = None,
        on_end: Callable[["ControllerOracle"], None] = lambda _: None,
    ):
        super().__init__(
            objective=keras_tuner.Objective(objective, "max"),
            max_trials=max_trials,
            seed=1,  # nothing is drawn here; without one keras-tuner would draw one
            max_retries_per_trial=_RETRIES,
            # The rule knows when to give up.
            max_consecutive_failed_trials=max_trials + 1,
        )
        self.rule = rule
        self.folder = folder
        self.state_file = folder / "state.json"
        self.worker_timeout = worker_timeout
        self.on_end = on_end
        self._to_record = to_record or _block_record
        self.verbose = 0  # the search has a display of its own
        self.tuner_ids = _Workers(worker_timeout)
        self._silence = _Silence(folder)

    def records(self) -> list[Any]:
        """All trials that were begun, oldest first."""
        return [self._record(self.trials[name]) for name in self.start_order]

    def decision(self) -> Decision:
        """What the rule says now."""
        return self.rule.decide(self.records())

    def populate_space(self, trial_id):
        del trial_id
        decision = self.decision()
        if decision.proposals:
            return {"status": TrialStatus.RUNNING, "values": decision.proposals[0].to_values()}
        return {"status": TrialStatus.IDLE if decision.reason is None else TrialStatus.STOPPED}

    @keras_tuner.synchronized
    def create_trial(self, tuner_id):
        self.tuner_ids.seen(tuner_id)
        self.tuner_ids.add(tuner_id)
        if tuner_id not in self.ongoing_trials:
            self._take_over(tuner_id)
        is_full = len(self.trials) >= self.max_trials and not self._retry_queue
        if is_full and self.ongoing_trials and tuner_id not in self.ongoing_trials:
            # Somebody has to be there for the others' trials, in case that they don't end them.
            return Trial(self.get_space(), status=TrialStatus.IDLE)
        trial = super().create_trial(tuner_id)
        if trial.status == TrialStatus.RUNNING:
            TrialFolder(self.folder, trial.trial_id).sign_of_life()
        return trial

    def _take_over(self, tuner_id: str) -> None:
        """Gives a worker the trial of one that is gone."""
        for other, trial in self.ongoing_trials.items():
            if self._silence.of(trial.trial_id) > self.worker_timeout:
                print(
                    f"Trial {trial.trial_id}: {other} is gone, {tuner_id} takes over.", flush=True
                )
                self.ongoing_trials[tuner_id] = self.ongoing_trials.pop(other)
                self.tuner_ids.discard(other)
                self.save()
                return

    @keras_tuner.synchronized
    def update_trial(self, trial_id, metrics, step=0):
        trial = self.trials[trial_id]
        # Of two workers, one of which was thought to be gone, the first is believed.
        return (
            trial
            if trial.metrics.exists(self.objective.name)
            else super().update_trial(trial_id, metrics, step)
        )

    @keras_tuner.synchronized
    def end_trial(self, trial):
        if trial.trial_id not in {ongoing.trial_id for ongoing in self.ongoing_trials.values()}:
            return  # the second of two workers
        super().end_trial(trial)
        self.save()  # it isn't ongoing any more
        self.on_end(self)

    def score_trial(self, trial):
        super().score_trial(trial)
        if trial.score is None:
            trial.score = math.nan  # keras-tuner tries it again, then

    def save(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "trials": {name: trial.get_state() for name, trial in self.trials.items()},
            "oracle": self.get_state(),
        }
        files.write_json(self.state_file, state)

    def reload(self):
        """Goes on where an earlier search stopped.

        Raises:
            UsageError: the state file is damaged.
        """
        state = files.read_json(self.state_file)
        try:
            self.trials = {n: Trial.from_state(trial) for n, trial in state["trials"].items()}
            if not all(
                is_trial_name(name) and trial.trial_id == name
                for name, trial in self.trials.items()
            ):
                raise ValueError("Folders are called by the trials' names.")
            self.set_state(state["oracle"])
            self.decision()  # by records that no search has, a rule can't decide
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            raise UsageError(
                f"Expected the state of a search. Received: {self.state_file}, which is damaged"
            ) from error
        self.verbose = 0
        for name, trial in list(self.ongoing_trials.items()):
            if trial.status == TrialStatus.RUNNING:
                # Whoever asks first gets it.
                TrialFolder(self.folder, trial.trial_id).abandon()
            else:
                del self.ongoing_trials[name]

    def _record(self, trial: Trial) -> Any:
        status = {
            TrialStatus.COMPLETED: records.COMPLETED,
            TrialStatus.FAILED: records.FAILED,
        }.get(trial.status, records.RUNNING)
        is_failed = status == records.FAILED
        return self._to_record(
            FinishedTrial(
                name=trial.trial_id,
                values=trial.hyperparameters.values,
                status=status,
                numbers={
                    name: trial.metrics.get_best_value(name) for name in trial.metrics.metrics
                },
                message=TrialFolder(self.folder, trial.trial_id).read_failure()
                if is_failed
                else "",
            )
        )


@dataclasses.dataclass(frozen=True)
class FinishedTrial:
    """What the oracle knows of a trial, which needn't be finished yet.

    Args:
        name: its identity.
        values: what was tried.
        status: "completed", "failed" or "running".
        numbers: what it came to, by name.
        message: of a failed trial.
    """

    name: str
    values: Mapping[str, Any]
    status: str
    numbers: Mapping[str, float]
    message: str

    def number(self, name: str) -> float:
        """One of the numbers, NaN where it isn't known, in single precision.

        So are numbers that come over the network: decisions are the same everywhere.
        """
        # One and the same NaN, so that records of the same trial are equal.
        return _single(self.numbers[name]) if name in self.numbers else math.nan


def _block_record(trial: FinishedTrial) -> Record:
    return Record(
        name=trial.name,
        proposal=Proposal.from_values(trial.values),
        status=trial.status,
        entropies={
            name.removeprefix(ENTROPY): _single(value)
            for name, value in trial.numbers.items()
            if name.startswith(ENTROPY)
        },
        accuracy=trial.number(OBJECTIVE),
        score=trial.number(SCORE),
        score_error=trial.number(SCORE_ERROR),
        flops=trial.number("flops"),
        comparisons=_comparisons(trial),
        message=trial.message,
        **{name: trial.numbers.get(name, math.nan) for name in _COSTS},
    )


def _comparisons(trial: FinishedTrial) -> tuple[Comparison, ...]:
    found: dict[str, dict[str, float]] = {}
    for name in trial.numbers:
        if name.startswith(COMPARISON):
            change, _, field = name.removeprefix(COMPARISON).rpartition("/")
            found.setdefault(change, {})[field] = trial.number(name)
    return tuple(Comparison(change, **numbers) for change, numbers in found.items())


class _Workers(set):
    """Names of the workers that have been heard of lately.

    keras-tuner's chief ends when none is left; one that died must not keep it for ever.
    """

    def __init__(self, timeout: float):
        super().__init__()
        self.timeout = timeout
        self._heard: dict[str, float] = {}

    def seen(self, name: str) -> None:
        """Notes that a worker asked for something."""
        self._heard[name] = time.monotonic()

    def __len__(self) -> int:
        now = time.monotonic()
        return sum(now - self._heard.get(name, now) <= self.timeout for name in self)


class _Silence:
    """For how long trials have given no sign of life, by this process' clock, which nobody sets.

    Args:
        folder: of the search.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self._heard: dict[str, tuple[int, float]] = {}

    def of(self, trial: str) -> float:
        """Seconds since the last sign was first seen here; infinite where nobody is at work."""
        sign = TrialFolder(self._folder, trial).last_sign_of_life()
        if sign is None:
            return math.inf
        now = time.monotonic()
        last, since = self._heard.get(trial, (None, now))
        if last != sign:
            since = now
            self._heard[trial] = (sign, now)
        return now - since


def _single(value: float) -> float:
    return float(np.float32(value))


class ControllerTuner(keras_tuner.Tuner):
    """Has trials run, and says what becomes of those that fail.

    Args:
        oracle: proposes.
        run: runs the trial of a name and values, here or elsewhere, and returns its results.
    """

    def __init__(
        self,
        oracle: ControllerOracle,
        run: Callable[[str, Mapping[str, str | int]], dict[str, float]],
    ):
        self.folder: pathlib.Path = oracle.folder
        self._run = run
        self._asked = 0.0
        super().__init__(
            oracle,
            directory=str(self.folder.parent),
            project_name=self.folder.name,
        )

    def pre_create_trial(self):
        """Lets a worker that has nothing to do ask twice a second, not all the time."""
        time.sleep(max(0.0, self._asked + _POLLING_SECONDS - time.monotonic()))
        self._asked = time.monotonic()

    def run_trial(self, trial):
        folder = TrialFolder(self.folder, trial.trial_id)
        started = time.monotonic()
        try:
            with _signs_of_life(folder):
                numbers = self._run(trial.trial_id, trial.hyperparameters.values)
                # With the start of its process, which is much of a short trial.
                return {**numbers, "seconds": time.monotonic() - started}
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


def is_worker(*, distributed: bool) -> bool:
    """Whether keras-tuner's environment variables make this process a worker of a chief.

    Args:
        distributed: whether there is to be a chief at all.

    Raises:
        UsageError: variables are missing, or there and not asked for.
    """
    missing = [name for name in (_NAME, *_ADDRESS) if not os.environ.get(name)]
    if distributed and missing:
        raise UsageError(
            f"Expected the environment variables {_NAME} (chief, worker-1, …), "
            f"{' and '.join(_ADDRESS)} for --distributed. Received: no {', no '.join(missing)}"
        )
    if not distributed and _ADDRESS[0] not in missing:
        raise UsageError(
            f"Expected --distributed, as the environment variable {_ADDRESS[0]} is set. "
            "Received: --distributed=false"
        )
    return distributed and "chief" not in os.environ[_NAME]


def wait_for_chief(folder: files.WorkFolder, options: WorkOptions) -> None:
    """Until it has begun the work; then the options are compared."""
    if not folder.marker.exists():
        print(f"Waiting for the chief to write {folder.marker}.", flush=True)
    while not folder.marker.exists():
        time.sleep(_POLLING_SECONDS)
    folder.compare(options.settled(), folder.made_with(options).settled())


def run_trials(tuner: ControllerTuner) -> None:
    """Searches until the rule, or the number of trials, ends it.

    Raises:
        UsageError: what a trial needs is lost, or there is no chief, or no port for one.
    """
    import grpc  # part of TensorFlow's and keras-tuner's dependencies

    address = ":".join(os.environ.get(name, "") for name in _ADDRESS)
    try:
        with _without_tracebacks():
            tuner.search()
    except keras_tuner.errors.FatalError as error:
        raise (error.__cause__ or error) from None
    except grpc.RpcError as error:
        raise UsageError(
            f"Expected a chief that answers at {address}. Received: {error.code().name}"
        ) from None
    except RuntimeError as error:
        if "bind" not in str(error):
            raise
        raise UsageError(f"Expected a free port for the chief. Received: {address}") from None


@contextlib.contextmanager
def _without_tracebacks() -> Iterator[None]:
    """Keeps keras-tuner from printing that of a failed trial, of which a sentence is told here."""
    before = keras_tuner_config.DEBUG
    keras_tuner_config.DEBUG = False
    try:
        yield
    finally:
        keras_tuner_config.DEBUG = before
