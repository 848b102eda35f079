"""One fine-tuning of an encoder without some of its layers, and one look at all layers."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from nas.folders import TrialFolder
from nas.layer_pruning.configuration import PruningConfig, PruningFolder, described
from nas.layer_pruning.removals import FINAL, ONE_PASS, Removal, RemovalRecord
from nas.layer_pruning.subjects import Subject
from nas.tuner import FinishedTrial
from tfcaps import datasets, files, metrics
from tfcaps.training import devices, loop, probe, schedules

OBJECTIVE = "score"
_MEASURES = ("block_influence", "bundle_entropy")
_KEPT_NETWORKS = 2  # compiled ones
_PROBED = 512  # examples that layers are measured on in one pass


class RemovalRunner:
    """Makes and runs trials; to be used inside `loop.surroundings`.

    Encoders of the same number of layers share one compiled network: its variables are set back to
    what a new one would have, as to trace a graph takes longer than some fine-tunings.

    Args:
        config: of the pruning.
        subject: the whole network.

    Raises:
        UsageError: the data can't be had, or are not for the network.
    """

    def __init__(self, config: PruningConfig, subject: Subject):
        self.config = config
        self.subject = subject
        self.folder = PruningFolder(config.log_dir)
        self.task = subject.task(())
        self.data: Any = self.task.load()
        self.task.check_data(self.data)
        self.all_data: Any = subject.task((), all_examples=True).load()
        self.metric = subject.metric(self.data)
        self._shared: dict[Any, _Shared] = {}  # the one that was used last at the end

    def run(self, name: str, values: Mapping[str, Any]) -> dict[str, float]:
        """Runs a trial, and leaves its files in its folder.

        Args:
            name: identity of the trial.
            values: what it tries, see `Removal.to_values`.

        Returns:
            Its objective and other numbers, by name.

        Raises:
            UsageError: a loss, a weight or a score is not finite.
        """
        proposal = Removal.from_values(values)
        return self._measure() if proposal.role == ONE_PASS else self._fine_tune(name, proposal)

    def _fine_tune(self, name: str, proposal: Removal) -> dict[str, float]:
        session = self.session(proposal)
        session.train_epochs(
            range(session.config.epochs),
            schedules.callbacks(session.config, session.steps),
            validate=False,
        )
        data: Any = session.data
        examples = data.test if proposal.role == FINAL else data.validation
        labels, outputs = probe.scores(
            session.model.classifier,
            (
                (session.task.network_input(batch), batch["label"])
                for batch in session.task.batches(data, examples)
            ),
        )
        metric = self.metric
        found = {OBJECTIVE: metrics.task_score(metric, labels, outputs)}
        if proposal.role != FINAL:
            majority = metrics.majority_score(metric, data.train.labels, labels)
            found["above_majority"] = found[OBJECTIVE] - majority
            found["above_error"] = metrics.bootstrap_error(
                metric, data.train.labels, labels, outputs
            )
        with files.replacing(TrialFolder(self.folder.trials, name).path / "outputs.npy") as path:
            np.save(path, outputs)
        print(
            f"  without {described(proposal.removed)}, seed {proposal.seed}: {metric} "
            f"{found[OBJECTIVE]:.4f}",
            flush=True,
        )
        return found

    def session(self, proposal: Removal) -> loop.Session:
        """The network of a proposal as it is before its first step."""
        data = self.all_data if proposal.role == FINAL else self.data
        config = self.config
        task = self.subject.task(
            proposal.removed,
            seed=proposal.seed,
            part=proposal.part,
            steps=datasets.epoch_steps(
                len(data.train), config.batch_size, config.steps_per_epoch or None
            ),
            all_examples=proposal.role == FINAL,
        )
        devices.seed_generators(proposal.seed)
        model = task.build(data)
        new = loop.Session(task, data, model)
        # The graph of a step holds the schedule.
        kind = self.subject.form(proposal.removed), schedules.identity(task.config, new.steps)
        if kind in self._shared:
            self._shared[kind] = self._shared.pop(kind)
            return loop.Session(task, data, self._shared[kind].made_new(model))
        session = loop.start(task, data, model)
        self._shared[kind] = _Shared(session.model)
        for oldest in list(self._shared)[:-_KEPT_NETWORKS]:
            del self._shared[oldest]
        return session

    def _measure(self) -> dict[str, float]:
        """Block influence and bundle entropy of each layer of the pretrained network."""
        examples = datasets.probe_set(
            self.data.train, min(_PROBED, len(self.data.train)), seed=self.config.seed
        )
        influences, pooled = [], []
        for batch in self.task.batches(self.data, examples):
            states, mask = self.subject.states(self.task, batch)
            influences.append([_influence(*pair, mask) for pair in states])
            pooled.append([_mean_vectors(after, mask) for _, after in states])
        sums, counts = np.sum(influences, axis=0).T
        entropies = [
            metrics.bundle_entropy(
                np.concatenate(states).astype("float32"),
                np.rint(examples.labels).astype(int),
                learning_rate=self.config.learning_rate,
                batch_size=self.config.batch_size,
                amplitude=metrics.weight_amplitude(self.subject.network),
            ).entropy
            for states in zip(*pooled, strict=True)
        ]
        found = {OBJECTIVE: 0.0}
        for layer, (influence, entropy) in enumerate(zip(sums / counts, entropies, strict=True)):
            found[f"block_influence/{layer}"] = influence
            # The most conflicting layer goes first: the lower, the earlier.
            found[f"bundle_entropy/{layer}"] = -entropy
        return found


def to_record(trial: FinishedTrial) -> RemovalRecord:
    """What the methods decide by."""
    rankings = {
        measure: tuple(
            trial.numbers[f"{measure}/{layer}"]
            for layer in range(len(trial.numbers))
            if f"{measure}/{layer}" in trial.numbers
        )
        for measure in _MEASURES
    }
    return RemovalRecord(
        name=trial.name,
        proposal=Removal.from_values(trial.values),
        status=trial.status,
        score=trial.number(OBJECTIVE),
        above_majority=trial.number("above_majority"),
        above_error=trial.number("above_error"),
        rankings={measure: values for measure, values in rankings.items() if values},
        seconds=trial.numbers.get("seconds", math.nan),
        message=trial.message,
    )


def _influence(before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """Sum of 1 − cosine over all tokens or places, and how many there are."""
    products = (before * after).sum(axis=-1)
    norms = np.linalg.norm(before, axis=-1) * np.linalg.norm(after, axis=-1)
    # Behind a ReLU a vector may be 0: equal to another such one, and unlike all else.
    cosines = (np.abs(before - after).sum(axis=-1) == 0).astype("float64")
    np.divide(products, norms, out=cosines, where=norms > 0)
    weights = np.broadcast_to(mask, products.shape)
    return float(((1 - cosines) * weights).sum()), float(weights.sum())


def _mean_vectors(states: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean over the tokens or places that count, (B, C)."""
    weights = np.broadcast_to(mask, states.shape[:2])[..., None]
    return (states * weights).sum(axis=1) / weights.sum(axis=1)


class _Shared:
    """A compiled network that several trials use, one after the other.

    Args:
        model: compiled, and not trained yet.
    """

    def __init__(self, model: Any):
        self._model = model
        optimizer = model.optimizer
        optimizer.build(model.trainable_variables)
        # Most are zero: those needn't be kept.
        values = {variable.path: np.asarray(variable) for variable in optimizer.variables}
        self._before = {path: value for path, value in values.items() if np.any(value)}

    def made_new(self, built: Any) -> Any:
        """The network with all variables of one that was just built, as if it had been compiled."""
        for target, source in zip(self._model.variables, built.variables, strict=True):
            target.assign(source)
        for variable in self._model.optimizer.variables:
            zeros = np.zeros(variable.shape, variable.dtype)
            variable.assign(self._before.get(variable.path, zeros))
        return self._model
