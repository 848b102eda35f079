"""The search as a user starts it: trials, the final training, and what is left afterwards."""

import functools
import math
import shutil
import time
from typing import Any

from nas import records, report, trial
from nas.configuration import SearchConfig
from nas.folders import SearchFolder, TrialFolder
from nas.objectives import OBJECTIVES
from nas.records import Proposal, Record
from nas.rules import Rule
from nas.trial import TrialRunner
from nas.tuner import (
    ControllerOracle,
    ControllerTuner,
    is_worker,
    run_trials,
    wait_for_chief,
)
from tfcaps import files, process, training
from tfcaps.datasets import ImageDataset
from tfcaps.errors import UsageError
from tfcaps.training import cluster, devices


def auto_tune(config: SearchConfig) -> dict[str, Any]:
    """Searches for a better network, trains it, and leaves a `SearchFolder`.

    Args:
        config: where to begin, and how to search.

    Returns:
        Of a chief, or a process that searches alone: `reason`, why the search ended;
        `architecture`, what it came to; `results`, those of the final training. Of a worker: {}.

    Raises:
        UsageError: an input is wrong, or the search came to nothing; the message says what to do.

    Sources: Peer et al., arXiv 2011.02956 and 2103.04331, for the pruning.
    """
    cluster.expect_one_machine("a search")
    config = devices.with_precision(config)
    folder = SearchFolder(config.log_dir)
    if is_worker(distributed=config.distributed):
        wait_for_chief(folder, config)
        _work(config, folder)
        print("The search is over. Its results are where the chief puts them.")
        return {}
    with folder.locked():
        folder.check(config)
        summary: Any = _work(config, folder, leads=True)  # none but for workers
        return _train(config, folder, summary)


def _work(
    config: SearchConfig, folder: SearchFolder, *, leads: bool = False
) -> report.Summary | None:
    """Runs trials until the search is over; who leads it then looks back at it."""
    if config.isolate_trials:
        devices.share_gpus()
    with training.surroundings(config):  # wrong input is told before anything is written
        runner = TrialRunner(config, config.task().load())
    description = runner.task.describe(runner.data)
    folder.compare_data(runner.data.name, description)
    tuner = make_tuner(config, folder, runner.data)
    if not leads:
        run_trials(tuner)
        return None
    if tuner.oracle.state_file.exists():
        tuner.reload()
        print(f"Resuming after {len(tuner.oracle.records())} trials of {folder.path}.")
    folder.create(config, description)
    rule = _rule(config)
    print(rule.plan, flush=True)
    seconds = rule.seconds_left(tuner.oracle.records())
    if seconds is not None:
        end = time.localtime(time.time() + seconds)
        print(f"It ends at about {time.strftime('%a %H:%M', end)}.", flush=True)
    run_trials(tuner)
    with training.surroundings(config):
        return _conclude(config, folder, tuner.oracle, runner)


def make_tuner(config: SearchConfig, folder: SearchFolder, data: ImageDataset) -> ControllerTuner:
    """The parts of a search, put together: rule, oracle, tuner."""

    def on_end(oracle: ControllerOracle) -> None:
        report.write_history(folder.history, oracle.records(), config.objective)
        _drop_networks(oracle)

    oracle = ControllerOracle(
        _rule(config),
        folder=folder.search,
        max_trials=config.max_trials * config.lineages,
        worker_timeout=config.worker_timeout,
        on_end=on_end,
    )
    if config.isolate_trials:
        run = functools.partial(process.run_alone, trial.run_alone, config)
    else:
        run = functools.partial(trial.run_here, config, data)
    return ControllerTuner(oracle, run)


def _rule(config: SearchConfig) -> Rule:
    """The rule, with what is asked of it."""
    return config.rule_class.from_config(config)


def _drop_networks(oracle: ControllerOracle) -> None:
    """Deletes the networks that no trial starts from any more, most of what would be kept."""
    known = oracle.records()
    decision = oracle.decision()
    if decision.final is None:
        return
    kept = {record.proposal.parent for record in known if record.status == records.RUNNING}
    kept |= {decision.final, *decision.kept, *(each.parent for each in decision.proposals)}
    for record in known:
        # A trial that is running has written its network, perhaps.
        if record.status != records.RUNNING and record.name not in kept:
            TrialFolder(oracle.folder, record.name).network.unlink(missing_ok=True)


def _conclude(
    config: SearchConfig, folder: SearchFolder, oracle: ControllerOracle, runner: TrialRunner
) -> report.Summary:
    """Looks back at a search that is over: table, figures, start and end at equal budget."""
    known, decision = oracle.records(), oracle.decision()
    reason = decision.reason or f"there were --max_trials={config.max_trials} trials"
    report.write_history(folder.history, known, config.objective)
    if decision.final is None:
        raise UsageError(f"Expected a search that comes to a network. Received: none, as {reason}")
    print(f"The search is over: {reason}.", flush=True)
    report.write_figures(folder.figures, folder.search, known, decision.final, config.objective)
    past = records.lineage(known, decision.final)
    final = past[-1]
    # What has been inherited has been paid for before.
    paid = past if final.proposal.parent else [final]
    epochs = sum(record.proposal.epochs or config.check_epochs for record in paid)
    is_timed = config.rule_class.is_timed  # then there is no time for a comparison
    return report.Summary(
        records=tuple(known),
        final=final,
        reason=reason,
        epochs=epochs,
        start_score=None if is_timed else _score_at_budget(runner, known[0], epochs),
        final_score=_score_at_budget(runner, final, epochs),
        image_shape=runner.task.preprocessing.output_shape(runner.data.image_shape),
        num_classes=len(runner.data.class_names),
    )


def _score_at_budget(runner: TrialRunner, record: Record, epochs: int) -> float | None:
    """The validation objective after so many epochs, which no conflict ends; None: it diverged."""
    outcome = TrialFolder(runner.folder, record.name).read_outcome()
    is_whole = outcome is not None and len(outcome.losses) == epochs
    if is_whole or record.proposal.parent:
        return record.score
    comparison = TrialFolder(runner.folder, f"{record.name}_at_equal_budget")
    outcome = comparison.read_outcome()
    if outcome is None or len(outcome.losses) != epochs:
        architecture = record.proposal.architecture
        counts = ",".join(map(str, architecture.counts))
        print(f"For comparison, {epochs} epochs: blocks {counts}", flush=True)
        session = runner.session(Proposal(0, records.START, architecture))
        try:
            objective = OBJECTIVES[runner.config.objective]
            outcome = trial.train_and_check(session, epochs=epochs, objective=objective)
        except UsageError as error:
            print(f"  failed: {error}", flush=True)
            return None
        comparison.write_outcome(outcome)
    return outcome.accuracy if math.isnan(outcome.score) else outcome.score


def _train(config: SearchConfig, folder: SearchFolder, summary: report.Summary) -> dict[str, Any]:
    """Trains what came out, and writes the report."""
    architecture = summary.final.proposal.architecture
    folder.make_best(summary.final.name, architecture.to_json())
    start_results = None
    epochs = _rule(config).final_epochs(summary.records, config.epochs)
    if config.train_start:
        print(f"Training the start network: {folder.start}", flush=True)
        # As long as the other one has learnt, with what it has inherited.
        whole = epochs + summary.epochs if config.rule_class.is_timed else epochs
        start_results = training.train(config.training(folder.start, config.start, whole))
    print(f"Training the network that was found, {epochs} epochs: {folder.best}", flush=True)
    initial_model = None
    if config.rule_class.inherits:
        with devices.precision(config.precision):
            initial_model = TrialFolder(folder.search, summary.final.name).read_network()
    results = training.train(
        config.training(folder.best, architecture, epochs), initial_model=initial_model
    )
    _copy_serving(folder)
    report.write_report(folder, config, summary, results, start_results)
    return {"reason": summary.reason, "architecture": architecture, "results": results}


def _copy_serving(folder: SearchFolder) -> None:
    """Puts a copy of the newest export at serving/1, whole or not at all."""
    exports = (folder.best / "serving").glob("[0-9]*")
    folder.serving.mkdir(exist_ok=True)
    with files.whole_folder(folder.serving / "1", replace=True) as copy:
        shutil.copytree(max(exports, key=lambda path: int(path.name)), copy)
