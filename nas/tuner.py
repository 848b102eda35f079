"""keras-tuner's runner of trials."""

import contextlib
import gc
import json
import pathlib
import threading
import time
from collections.abc import Iterator

import keras
import keras_tuner

from nas import weight_transfer
from nas.attempt import Material, Outcome, make_attempt
from nas.hypermodel import BlockHyperModel, from_values
from nas.oracle import ENTROPY, OBJECTIVE, ControllerOracle, sign_of_life, trial_folder
from tfcaps import measure
from tfcaps.models.block_network import BlockNetwork, count_flops
from tfcaps.training import devices, files

_POLLING_SECONDS = 0.5
_HEARTBEAT_SECONDS = 2.0


class ControllerTuner(keras_tuner.Tuner):
    """Runs a trial: builds its network, lets it inherit, trains and measures it.

    Args:
        oracle: proposes.
        hypermodel: builds.
        material: what networks learn from.
        folder: of the search.
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
        folder: pathlib.Path,
        check_before: bool,
        stop_at_conflict: bool,
        keep_networks: bool,
        init: str,
    ):
        self.material = material
        self.folder = pathlib.Path(folder)
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
        proposal = from_values(trial.hyperparameters.values)
        counts = ",".join(map(str, proposal.architecture.counts))
        print(f"Round {proposal.round}, {proposal.role}: blocks {counts}", flush=True)
        with self._heartbeat(trial.trial_id):
            # The same architecture gets the same weights, whenever and wherever it is built.
            devices.seed_generators(self.material.seed)
            model = self.hypermodel.build(trial.hyperparameters)
            if proposal.parent:
                parent = load_network(trial_folder(self.folder, proposal.parent))
                weight_transfer.inherit(model, parent, init=self.init, seed=self.material.seed)
            with devices.deterministic():
                outcome = make_attempt(
                    model,
                    self.material,
                    # Rounds go on where the one before stopped; children of a round see the same.
                    first_epoch=proposal.round * self.material.checks if proposal.parent else 0,
                    check_before=self.check_before,
                    stop_at_conflict=self.stop_at_conflict,
                    show=lambda line: print(line, flush=True),
                )
            results = self._store(trial, model, outcome)
        print(
            f"  validation accuracy {outcome.accuracy:.2%}, {model.count_params():,} parameters, "
            f"{count_flops(model) / 1e6:,.1f} MFLOPs, {outcome.seconds:.0f} s",
            flush=True,
        )
        del model
        keras.backend.clear_session()
        gc.collect()
        return results

    def _store(self, trial, model: BlockNetwork, outcome: Outcome) -> dict[str, float]:
        """Writes a trial's files, and returns what the oracle is told."""
        folder = trial_folder(self.folder, trial.trial_id)
        folder.mkdir(parents=True, exist_ok=True)
        if self.keep_networks:
            with files.replacing(folder / "network.keras") as temporary:
                model.save(temporary)
        costs = {"parameters": model.count_params(), "flops": count_flops(model)}
        milliseconds = measure.milliseconds_per_image(model, self.material.image_shape, rounds=3)
        files.write_json(
            folder / "outcome.json",
            {
                **costs,
                "ms_per_image": round(milliseconds, 4),
                "checks": outcome.checks,
                "entropies": outcome.entropies,
                "losses": outcome.losses,
                "accuracy": outcome.accuracy,
                "seconds": round(outcome.seconds, 2),
            },
        )
        last = {f"{ENTROPY}{tap}": value for tap, value in outcome.last().items()}
        return {OBJECTIVE: outcome.accuracy, **costs, "seconds": outcome.seconds, **last}

    @contextlib.contextmanager
    def _heartbeat(self, name: str) -> Iterator[None]:
        """Gives signs of life from a thread of its own: a graph may take a minute to trace."""
        stopped = threading.Event()

        def beat():
            while not stopped.wait(_HEARTBEAT_SECONDS):
                sign_of_life(self.folder, name)

        sign_of_life(self.folder, name)
        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()

    def save(self):
        """Writes the oracle's state, which is all there is; a worker has none."""
        if isinstance(self.oracle, keras_tuner.Oracle):
            self.oracle.save()

    def reload(self):
        """Reads the oracle's state."""
        self.oracle.reload()

    def load_model(self, trial):
        return load_network(trial_folder(self.folder, trial.trial_id))


def load_network(folder: pathlib.Path) -> BlockNetwork:
    """The trained network of a trial."""
    return keras.models.load_model(folder / "network.keras")


def read_outcome(folder: pathlib.Path) -> dict | None:
    """The content of a trial's outcome.json, or None while it isn't there."""
    try:
        return json.loads((folder / "outcome.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
