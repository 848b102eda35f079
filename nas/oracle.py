"""keras-tuner's proposer of trials: a rule, and a state that survives being cut off."""

import json
import math
import os
import pathlib
import time
from collections.abc import Callable, Sequence

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from nas import policy
from nas.hypermodel import from_values, to_values
from nas.policy import Record
from tfcaps.errors import UsageError
from tfcaps.training import files

OBJECTIVE = "val_accuracy"
ENTROPY = "entropy/"
_RETRIES = 1
_FAILURES_IN_A_ROW = 3


class ControllerOracle(keras_tuner.Oracle):
    """Proposes what a rule decides.

    All that it knows is in one file, which is replaced as a whole after every trial; keras-tuner's
    own files are not read.

    A trial whose worker gives no sign of life for a while goes to the next worker that asks.

    Args:
        rule: with a method `decide`, see `nas.policy`.
        folder: of the search; trials have folders of their own below it.
        max_trials: bound of all trials.
        worker_timeout: seconds without a sign of life.
        on_change: is called with all records after each trial.
    """

    def __init__(
        self,
        rule: policy.PruneConflicts | policy.GrowAndPrune,
        *,
        folder: str | os.PathLike,
        max_trials: int,
        worker_timeout: float = 60.0,
        on_change: Callable[[Sequence[Record]], None] = lambda _: None,
    ):
        super().__init__(
            objective=keras_tuner.Objective(OBJECTIVE, "max"),
            max_trials=max_trials,
            seed=1,  # nothing is drawn here; without one keras-tuner would draw one
            max_retries_per_trial=_RETRIES,
            max_consecutive_failed_trials=_FAILURES_IN_A_ROW,
        )
        self.rule = rule
        self.folder = pathlib.Path(folder)
        self.state_file = self.folder / "state.json"
        self.worker_timeout = worker_timeout
        self.on_change = on_change
        self.verbose = 0  # the search has a display of its own
        self.tuner_ids = _Workers(worker_timeout)

    def records(self) -> list[Record]:
        """All trials that were begun, oldest first."""
        return [_record(self.trials[name]) for name in self.start_order]

    def decision(self) -> policy.Decision:
        """What the rule says now."""
        return self.rule.decide(self.records())

    def populate_space(self, trial_id):
        del trial_id
        decision = self.decision()
        if decision.proposals:
            return {"status": TrialStatus.RUNNING, "values": to_values(decision.proposals[0])}
        return {"status": TrialStatus.IDLE if decision.reason is None else TrialStatus.STOPPED}

    @keras_tuner.synchronized
    def create_trial(self, tuner_id):
        self.tuner_ids.seen(tuner_id)
        if tuner_id not in self.ongoing_trials:
            self._take_over(tuner_id)
        trial = super().create_trial(tuner_id)
        if trial.status == TrialStatus.RUNNING:
            sign_of_life(self.folder, trial.trial_id)
        return trial

    def _take_over(self, tuner_id: str) -> None:
        """Gives a trial of a worker that is gone to another one."""
        for other, trial in list(self.ongoing_trials.items()):
            if seconds_since_sign_of_life(self.folder, trial.trial_id) > self.worker_timeout:
                print(f"Trial {trial.trial_id}: {other} is gone, {tuner_id} takes over.")
                self.ongoing_trials[tuner_id] = self.ongoing_trials.pop(other)
                self.tuner_ids.discard(other)
                self.tuner_ids.add(tuner_id)
                self.save()
                return

    @keras_tuner.synchronized
    def end_trial(self, trial):
        if trial.trial_id not in {ongoing.trial_id for ongoing in self.ongoing_trials.values()}:
            return  # of two workers, one of which was thought to be gone, this is the second
        super().end_trial(trial)
        self.on_change(self.records())

    def score_trial(self, trial):
        super().score_trial(trial)
        if trial.score is None or not math.isfinite(trial.score):
            trial.score = math.nan  # makes keras-tuner retry it, and then fail it

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
        try:
            state = json.loads(self.state_file.read_text(encoding="utf-8"))
            self.trials = {name: Trial.from_state(trial) for name, trial in state["trials"].items()}
            self.set_state(state["oracle"])
            self.records()
        except (ValueError, KeyError, TypeError, UsageError):
            raise UsageError(
                f"Expected the state of a search. Received: {self.state_file}, which is damaged"
            ) from None
        self.verbose = 0
        # Their workers are gone, whatever they were called.
        for trial in self.ongoing_trials.values():
            lifeless(self.folder, trial.trial_id)


class _Workers(set):
    """Names of the workers that have been heard of lately, or have a trial.

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
        for name in list(self):
            if now - self._heard.get(name, now) > self.timeout:
                self.discard(name)
        return super().__len__()


def trial_folder(folder: pathlib.Path, name: str) -> pathlib.Path:
    """Where a trial keeps its files."""
    return pathlib.Path(folder) / f"trial_{name}"


def sign_of_life(folder: pathlib.Path, name: str) -> None:
    """Notes that somebody works on a trial."""
    path = trial_folder(folder, name) / "alive"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def lifeless(folder: pathlib.Path, name: str) -> None:
    """Takes the sign of life back."""
    (trial_folder(folder, name) / "alive").unlink(missing_ok=True)


def seconds_since_sign_of_life(folder: pathlib.Path, name: str) -> float:
    """How long nothing was heard of a trial."""
    try:
        return time.time() - (trial_folder(folder, name) / "alive").stat().st_mtime
    except FileNotFoundError:
        return math.inf


def _record(trial: Trial) -> Record:
    values = {name: _value(trial, name) for name in trial.metrics.metrics}
    status = {
        TrialStatus.COMPLETED: policy.COMPLETED,
        TrialStatus.FAILED: policy.FAILED,
    }.get(trial.status, policy.RUNNING)
    return Record(
        name=trial.trial_id,
        proposal=from_values(trial.hyperparameters.values),
        status=status,
        entropies={
            name.removeprefix(ENTROPY): value
            for name, value in values.items()
            if name.startswith(ENTROPY)
        },
        accuracy=values.get(OBJECTIVE, math.nan),
        flops=values.get("flops", math.nan),
        message=_last_line(trial.message),
    )


def _value(trial: Trial, name: str) -> float:
    value = trial.metrics.get_best_value(name)
    return math.nan if value is None else float(value)


def _last_line(message: str | None) -> str:
    """What an error says, without the stack that leads to it."""
    lines = (message or "no message").strip().splitlines()
    return lines[-1].rpartition("UsageError: ")[2]
