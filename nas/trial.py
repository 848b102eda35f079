"""One trial of a search: a network is built, may inherit weights, is trained and measured."""

import dataclasses
import gc
import math
import time
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from nas import candidates, report
from nas.configuration import SearchConfig
from nas.folders import SearchFolder, TrialFolder
from nas.objectives import OBJECTIVES, Objective
from nas.records import PRUNE, START, TRAIN_ON, Comparison, Outcome, Proposal
from tfcaps import measure
from tfcaps.datasets import ImageDataset
from tfcaps.errors import UsageError
from tfcaps.metrics import BundleEntropy
from tfcaps.models import BlockNetwork, count_flops, weight_transfer
from tfcaps.training import batch_statistics, devices, loop, probe, schedules

# How keras-tuner's trials call their numbers.
OBJECTIVE = "val_accuracy"
SCORE, SCORE_ERROR = "val_score", "val_score_error"  # of the search's objective
ENTROPY = "entropy/"
COMPARISON = "comparison/"
_TIMED_BATCHES = 5


class LostNetworkError(UsageError):
    """The network that a trial starts from can't be read."""


def train_and_check(
    session: loop.Session,
    *,
    epochs: int,
    objective: Objective = OBJECTIVES["accuracy"],
    first_epoch: int = 0,
    recalibrated: bool = False,
    warm_up: float = 0.0,
    check_before: bool = False,
    stop_at_conflict: bool = False,
) -> Outcome:
    """Trains a network and measures the bundle entropy of all blocks after each epoch.

    Args:
        session: the network, with what it learns from.
        epochs: so many, with a check after each.
        objective: what is measured at the end, beside accuracy. Default: accuracy.
        first_epoch: number of the first epoch, which decides about the order of the examples.
            Default 0.
        recalibrated: whether batch statistics are estimated anew before the end's evaluation: at a
            high learning rate moving ones lag behind the weights. Default False.
        warm_up: epochs in which the learning rate rises to its value, below `epochs`. Default 0.
        check_before: whether there is a check before the first step, too. Default False.
        stop_at_conflict: whether a conflict at the last block is the end of it. Default False.

    Raises:
        UsageError: a loss, a weight or an activation is not finite; the message names it.
    """
    started = time.monotonic()
    checks = _Checks(session, epochs, stop_at_conflict=stop_at_conflict)
    clock = _Clock()
    rising = _rising(session, warm_up, epochs) if warm_up else []
    with devices.deterministic():
        if not (check_before and checks.conflicts(0)):
            orders = range(first_epoch, first_epoch + epochs)
            session.train_epochs(
                range(epochs), [*rising, clock, checks], orders=orders, validate=False
            )
        held_out: Any = session.data.validation  # a search always has some
        evaluated = time.monotonic()
        if recalibrated:
            batch_statistics.recalibrate(session)
        labels, outputs = probe.scores(
            session.model.classifier, (batch[:2] for batch in session.evaluation_batches(held_out))
        )
        score = objective.score(labels, outputs.argmax(axis=-1))
    return Outcome(
        checks=tuple(checks.numbers),
        entropies={tap: tuple(b.entropy for b in found) for tap, found in checks.found.items()},
        bundles={tap: tuple(b.number for b in found) for tap, found in checks.found.items()},
        losses=tuple(checks.losses),
        accuracy=float(np.mean(outputs.argmax(axis=-1) == labels)),
        score=score.value,
        score_error=score.error,
        seconds=time.monotonic() - started,
        epoch_seconds=clock.epoch_seconds,
        # With its compilation, the evaluation takes about as long as it and a checkpoint do.
        pause_seconds=checks.seconds + time.monotonic() - evaluated,
    )


def _rising(session: loop.Session, warm_up: float, epochs: int) -> list[keras.callbacks.Callback]:
    """What raises the learning rate at first, and leaves it there."""
    rates = dataclasses.replace(
        session.config,
        schedule="constant",
        learning_rate_decay=1.0,
        warmup_epochs=warm_up,
        epochs=epochs,
    )
    return schedules.callbacks(rates, session.steps)


class _Clock(keras.callbacks.Callback):
    """Measures how long an epoch takes, the compilation in its first step left out."""

    def __init__(self):
        super().__init__()
        self._epochs: list[float] = []
        self._first_step = 0.0
        self._steps = 0

    @property
    def epoch_seconds(self) -> float:
        """Mean of the epochs behind the first one; if there are none, of that one's other steps."""
        if not self._epochs:
            return math.nan
        first, *later = self._epochs
        if later:
            return math.fsum(later) / len(later)
        if self._steps == 1:
            return first
        return (first - self._first_step) * self._steps / (self._steps - 1)

    def on_epoch_begin(self, epoch, logs=None):
        self._started = time.monotonic()
        self._steps = 0

    def on_train_batch_end(self, batch, logs=None):
        self._steps += 1
        if not self._epochs and self._steps == 1:
            self._first_step = time.monotonic() - self._started

    def on_epoch_end(self, epoch, logs=None):
        self._epochs.append(time.monotonic() - self._started)


class _Checks(keras.callbacks.Callback):
    """Measures bundle entropy after each epoch, and ends the training at a conflict."""

    def __init__(self, session: loop.Session, epochs: int, *, stop_at_conflict: bool):
        super().__init__()
        self.numbers, self.losses, self.seconds = [], [], 0.0
        self.found = {}
        self._network = session.model
        self._stop_at_conflict = stop_at_conflict
        self._epochs = epochs
        self._probe = session.bundle_probe()
        self._measure = BundleEntropy(
            session.model,
            batch_size=session.config.batch_size,
            num_classes=len(session.data.class_names),
        )

    def conflicts(self, number: int) -> bool:
        """Makes a check, and says whether the last block conflicts and that is the end."""
        started = time.monotonic()
        found = self._measure(*self._probe)
        self.seconds = time.monotonic() - started
        self.numbers.append(number)
        for tap, bundles in found.items():
            self.found.setdefault(tap, []).append(bundles)
        last_block = self._network.block_names[-1]
        entropy = max(b.entropy for tap, b in found.items() if tap.split("/")[0] == last_block)
        conflicting = sum(bundles.entropy > 0 for bundles in found.values())
        print(
            f"  epoch {number}/{self._epochs}: H of the last block {entropy:.4f}, "
            f"{conflicting} of {len(found)} outputs conflict"
            + (f", loss {self.losses[-1]:.4f}" if self.losses else ""),
            flush=True,
        )
        return entropy > 0 and self._stop_at_conflict

    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(float(logs["loss"]))
        if self.conflicts(epoch + 1):
            self.model.stop_training = True


class TrialRunner:
    """Makes and runs the trials of a search; to be used inside `loop.surroundings`.

    Args:
        config: of the search.
        data: what networks learn from.
    """

    def __init__(self, config: SearchConfig, data: ImageDataset):
        self.config = config
        self.data = data
        self.task = config.task()
        folder = SearchFolder(config.log_dir)
        self.folder, self.tensorboard = folder.search, folder.tensorboard
        loop.check_data(self.task, data)

    def run(self, name: str, values: Mapping[str, str | int]) -> dict[str, float]:
        """Runs a trial, and leaves its files in its folder.

        Args:
            name: identity of the trial.
            values: what it tries, see `Proposal.to_values`.

        Returns:
            Its objective and other numbers, by name.

        Raises:
            LostNetworkError: the network that it starts from is missing or damaged.
            UsageError: a loss, a weight or an activation is not finite.
        """
        proposal = Proposal.from_values(values)
        counts = ",".join(map(str, proposal.architecture.counts))
        if proposal.architecture.hidden:
            counts += f" with hidden widths {','.join(map(str, proposal.architecture.hidden))}"
        of = f", lineage {proposal.lineage}" if self.config.lineages > 1 else ""
        print(f"Round {proposal.round}{of}, {proposal.role}: blocks {counts}", flush=True)
        rule, epochs = self.config.rule_class, proposal.epochs or self.config.check_epochs
        first_epoch = proposal.first_epoch or 0
        session, objective = self.session(proposal), OBJECTIVES[self.config.objective]
        outcome = train_and_check(
            session,
            epochs=epochs,
            objective=objective,
            first_epoch=first_epoch,
            recalibrated=rule.compares,
            warm_up=rule.warm_up if proposal.role == START else 0.0,
            check_before=rule.checks_before,
            stop_at_conflict=not rule.inherits,
        )
        folder = TrialFolder(self.folder, name)
        if rule.inherits:
            folder.write_network(session.model)
        folder.write_outcome(outcome)
        results = self._results(session.model, outcome)
        comparisons: tuple[Comparison, ...] = ()
        if rule.compares and proposal.role != START:
            comparisons = tuple(candidates.compare(session, proposal.architecture, objective))
        curve = f"lineage_{proposal.lineage}" if rule.compares else f"trial_{name}"
        report.write_events(self.tensorboard / curve, name, proposal, outcome, results, comparisons)
        for comparison in comparisons:
            print(f"  {comparison}", flush=True)
            results |= comparison.to_numbers(COMPARISON)
        last = {f"{ENTROPY}{tap}": values[-1] for tap, values in outcome.entropies.items()}
        return {**results, **last}

    def session(self, proposal: Proposal) -> loop.Session:
        """The network of a proposal as it is before its first step.

        The same architecture gets the same weights in a lineage, whenever and wherever it is built.
        Another lineage has another seed; its data are the same, with the same examples held out.
        """
        seed = self.config.seed + proposal.lineage
        task = dataclasses.replace(self.config, seed=seed).task()
        devices.seed_generators(seed)
        shape = self.task.preprocessing.output_shape(self.data.image_shape)
        model = proposal.architecture.build(shape, len(self.data.class_names))
        session = loop.start(task, self.data, model)
        if proposal.parent:
            try:
                parent = TrialFolder(self.folder, proposal.parent).read_network()
            except UsageError as error:
                raise LostNetworkError(str(error)) from error
            weight_transfer.inherit(model, parent, init=self.config.init, seed=seed)
            if proposal.role != TRAIN_ON:
                batch_statistics.recalibrate(session)
                if not proposal.role.startswith(PRUNE):
                    # Of what came there were none, and nothing that was there notices it yet.
                    weight_transfer.keep_statistics(model, parent)
        return session

    def _results(self, model: BlockNetwork, outcome: Outcome) -> dict[str, float]:
        """What the oracle is told."""
        results = {
            OBJECTIVE: outcome.accuracy,
            SCORE: outcome.score,
            SCORE_ERROR: outcome.score_error,
            "parameters": model.count_params(),
            "flops": count_flops(model),
            "milliseconds": measure.milliseconds_per_image(
                model, model.input_shape[1:], rounds=_TIMED_BATCHES
            ),
            "epoch_seconds": outcome.epoch_seconds,
            "pause_seconds": outcome.pause_seconds,
        }
        title = OBJECTIVES[self.config.objective].title
        print(
            f"  validation {title} {outcome.score:.2%}, {results['parameters']:,} parameters, "
            f"{results['flops'] / 1e6:,.1f} MFLOPs, {results['milliseconds']:.2f} ms per image, "
            f"{outcome.seconds:.0f} s",
            flush=True,
        )
        # Of a trial that ended before its first epoch, some aren't known.
        return {name: value for name, value in results.items() if not math.isnan(value)}


def run_here(
    config: SearchConfig, data: ImageDataset, name: str, values: Mapping[str, str | int]
) -> dict[str, float]:
    """As `TrialRunner.run`, in a process that goes on: what Keras keeps of the trial is freed."""
    try:
        with loop.surroundings(config):
            return TrialRunner(config, data).run(name, values)
    finally:
        # Outside of the surroundings: devices' scopes are entries of the graph that is dropped.
        keras.backend.clear_session()
        gc.collect()


def run_alone(config: SearchConfig, name: str, values: Mapping[str, str | int]) -> dict[str, float]:
    """As `TrialRunner.run`, in a process that does nothing else."""
    devices.share_gpus()
    with loop.surroundings(config):
        return TrialRunner(config, config.task().load()).run(name, values)
