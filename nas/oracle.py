"""keras-tuner's proposer of trials: a rule, and a state that survives being cut off."""

import json
import math
import pathlib
import time
from collections.abc import Callable

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial, TrialStatus

from nas import policy
from nas.hypermodel import from_values, to_values
from nas.policy import Record
from nas.trial_folder import TrialFolder
from tfcaps import files
from tfcaps.errors import UsageError

OBJECTIVE = "val_accuracy"
ENTROPY = "entropy/"
# A trial that crashed is tried again; one whose numbers aren't finite isn't: it would be the same.
_RETRIES = 1
_COSTS = ("parameters", "milliseconds", "seconds")


class ControllerOracle(keras_tuner.Oracle):
    """Proposes what a rule decides.

    All that it knows is in one file, which is replaced as a whole after each change; keras-tuner's
    own files are not read.

    A trial whose worker gives no sign of life for a while goes to the next worker that asks.

    Args:
        rule: with a method `decide`, see `nas.policy`.
        folder: of the search; trials have folders of their own below it.
        max_trials: bound of all trials.
        worker_timeout: seconds without a sign of life. Default 60.
        on_end: is called with the oracle after each trial.
    """

    def __init__(
        self,
        rule: policy.PruneConflicts | policy.GrowAndPrune,
        *,
        folder: pathlib.Path,
        max_trials: int,
        worker_timeout: float = 60.0,
        on_end: Callable[["ControllerOracle"], None] = lambda _: None,
    ):
        super().__init__(
            objective=keras_tuner.Objective(OBJECTIVE, "max"),
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
        self.verbose = 0  # the search has a display of its own
        self.tuner_ids = _Workers(worker_timeout)

    def records(self) -> list[Record]:
        """All trials that were begun, oldest first."""
        return [self._record(self.trials[name]) for name in self.start_order]

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
            seconds = TrialFolder(self.folder, trial.trial_id).seconds_since_sign_of_life()
            if seconds > self.worker_timeout:
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
            if trial.metrics.exists(OBJECTIVE)
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
        try:
            state = json.loads(self.state_file.read_text("utf-8"))
            self.trials = {n: Trial.from_state(trial) for n, trial in state["trials"].items()}
            self.set_state(state["oracle"])
            self.records()
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UsageError(
                f"Expected the state of a search. Received: {self.state_file}, which is damaged"
            ) from None
        self.verbose = 0
        for name, trial in list(self.ongoing_trials.items()):
            if trial.status == TrialStatus.RUNNING:
                # Whoever asks first gets it.
                TrialFolder(self.folder, trial.trial_id).abandon()
            else:
                del self.ongoing_trials[name]

    def _record(self, trial: Trial) -> Record:
        values = {name: trial.metrics.get_best_value(name) for name in trial.metrics.metrics}
        status = {
            TrialStatus.COMPLETED: policy.COMPLETED,
            TrialStatus.FAILED: policy.FAILED,
        }.get(trial.status, policy.RUNNING)
        is_failed = status == policy.FAILED
        return Record(
            name=trial.trial_id,
            proposal=from_values(trial.hyperparameters.values),
            status=status,
            entropies={
                name.removeprefix(ENTROPY): _single(value)
                for name, value in values.items()
                if name.startswith(ENTROPY)
            },
            accuracy=_single(values.get(OBJECTIVE, math.nan)),
            flops=_single(values.get("flops", math.nan)),
            message=TrialFolder(self.folder, trial.trial_id).read_failure() if is_failed else "",
            **{name: values.get(name, math.nan) for name in _COSTS},
        )


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


def _single(value: float) -> float:
    """In single precision, as numbers come over the network: decisions are the same everywhere."""
    return float(np.float32(value))
