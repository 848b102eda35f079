"""keras-tuner's runner of trials."""

import contextlib
import gc
import pathlib
import threading
import time
from collections.abc import Iterator

import keras
import keras_tuner

from nas import weight_transfer
from nas.attempt import Material, Outcome, make_attempt
from nas.hypermodel import BlockHyperModel, from_values
from nas.oracle import ENTROPY, OBJECTIVE, ControllerOracle
from nas.trial_folder import TrialFolder
from tfcaps import measure
from tfcaps.errors import UsageError
from tfcaps.models.block_network import BlockNetwork, count_flops
from tfcaps.training import devices

# How often a worker without work asks for some, and how often one with work says that it lives.
_POLLING_SECONDS = 0.5
_SIGN_SECONDS = 2.0
_TIMED_BATCHES = 5


class ControllerTuner(keras_tuner.Tuner):
    """Runs a trial: builds its network, lets it inherit, trains and measures it.

    Args:
        oracle: proposes.
        hypermodel: builds.
        material: what networks learn from.
        check_before: whether networks are checked before their first step.
        stop_at_conflict: whether an attempt ends at a conflict.
        keep_networks: whether trained networks are kept, for children to inherit from.
        init: of new blocks, see `weight_transfer.inherit`.
    """

    def __init__(
        self,
        oracle: ControllerOracle,
        hypermodel: BlockHyperModel,
        material: Material,
        *,
        check_before: bool,
        stop_at_conflict: bool,
        keep_networks: bool,
        init: str = "zero",
    ):
        self.material = material
        self.folder: pathlib.Path = oracle.folder
        self.check_before = check_before
        self.stop_at_conflict = stop_at_conflict
        self.keep_networks = keep_networks
        self.init = init
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
                return self._run(trial, folder)
        except OSError as error:
            # No fault of the trial's: a full disk must not decide about a network.
            raise keras_tuner.errors.FatalError(str(error)) from error
        except keras_tuner.errors.FatalError:
            raise
        except Exception as error:
            sentence = _sentence(error)
            folder.write_failure(sentence)
            print(f"  failed: {sentence}", flush=True)
            if isinstance(error, UsageError):
                # It would come out the same another time.
                raise keras_tuner.errors.FailedTrialError(sentence) from error
            raise
        finally:
            keras.backend.clear_session()
            gc.collect()

    def _run(self, trial, folder: TrialFolder) -> dict[str, float]:
        proposal = from_values(trial.hyperparameters.values)
        counts = ",".join(map(str, proposal.architecture.counts))
        print(f"Round {proposal.round}, {proposal.role}: blocks {counts}", flush=True)
        # The same architecture gets the same weights, whenever and wherever it is built.
        devices.seed_generators(self.material.seed)
        model = self.hypermodel.build(trial.hyperparameters)
        if proposal.parent:
            parent = self._parent(proposal.parent)
            weight_transfer.inherit(model, parent, init=self.init, seed=self.material.seed)
            del parent
        with devices.deterministic():
            outcome = make_attempt(
                model,
                self.material,
                # Children of a round see the same examples, and others than their parent.
                first_epoch=proposal.round * self.material.epochs if proposal.parent else 0,
                check_before=self.check_before,
                stop_at_conflict=self.stop_at_conflict,
                show=lambda line: print(line, flush=True),
            )
        if self.keep_networks:
            self.save_model(trial.trial_id, model)
        folder.write_outcome(outcome)
        return self._results(model, outcome)

    def _parent(self, name: str) -> BlockNetwork:
        try:
            return TrialFolder(self.folder, name).read_network()
        except UsageError as error:
            raise keras_tuner.errors.FatalError(str(error)) from error

    def _results(self, model: BlockNetwork, outcome: Outcome) -> dict[str, float]:
        """What the oracle is told."""
        results = {
            OBJECTIVE: outcome.accuracy,
            "parameters": model.count_params(),
            "flops": count_flops(model),
            "milliseconds": measure.milliseconds_per_image(
                model, self.material.image_shape, rounds=_TIMED_BATCHES
            ),
            "seconds": outcome.seconds,
        }
        print(
            f"  validation accuracy {outcome.accuracy:.2%}, {results['parameters']:,} parameters, "
            f"{results['flops'] / 1e6:,.1f} MFLOPs, {results['milliseconds']:.2f} ms per image, "
            f"{outcome.seconds:.0f} s",
            flush=True,
        )
        last = {f"{ENTROPY}{tap}": values[-1] for tap, values in outcome.entropies.items()}
        return {**results, **last}

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
