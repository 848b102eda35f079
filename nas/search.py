"""The search as a user starts it: trials, the final training, and what is left afterwards."""

import dataclasses
import functools
import os
import pathlib
import shutil
import tempfile
import time
from typing import Any

import keras_tuner

from nas import history, policy, report
from nas.architecture import Architecture
from nas.attempt import Outcome, make_attempt
from nas.configuration import SearchConfig
from nas.material import Material, load_material
from nas.oracle import ControllerOracle
from nas.policy import Record
from nas.search_directory import SearchDirectory
from nas.trial import TrialRunner, run_trial
from nas.trial_folder import TrialFolder
from nas.tuner import ControllerTuner
from tfcaps import files, process, training
from tfcaps.errors import UsageError
from tfcaps.training import devices

# keras-tuner's chief/worker mode; a name with "chief" in it makes the chief.
_NAME = "KERASTUNER_TUNER_ID"
_ADDRESS = ("KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")
_POLLING_SECONDS = 0.5
_COPYING = ".copying-"


def auto_tune(config: SearchConfig) -> dict[str, Any]:
    """Searches for a better network, trains it, and leaves a `SearchDirectory`.

    Args:
        config: where to begin, and how to search.

    Returns:
        Of a chief, or a process that searches alone: `reason`, why the search ended;
        `architecture`, what it came to; `results`, those of the final training. Of a worker: {}.

    Raises:
        UsageError: an input is wrong, or the search came to nothing; the message says what to do.

    Sources: Peer et al., arXiv 2011.02956 and 2103.04331, for the pruning.
    """
    is_worker = _is_worker(config)
    directory = SearchDirectory(config.log_dir)
    if is_worker:
        _wait_for_chief(directory, config)
    else:
        directory.check(config)
    if config.isolate_trials:
        devices.share_gpus()
    with devices.precision(config.precision), devices.strategy().scope():
        material = load_material(config)
        tuner = make_tuner(config, directory, material)
        if is_worker:
            _run(tuner)
            print("The search is over. Its results are where the chief puts them.")
            return {}
        if tuner.oracle.state_file.exists():
            tuner.reload()
            print(f"Resuming after {len(tuner.oracle.records())} trials of {directory.path}.")
        directory.create(config)
        _run(tuner)
        summary = _conclude(config, directory, tuner.oracle, material)
    return _train(config, directory, summary)


def _is_worker(config: SearchConfig) -> bool:
    """Checks keras-tuner's environment variables."""
    missing = [name for name in (_NAME, *_ADDRESS) if not os.environ.get(name)]
    if config.distributed and missing:
        raise UsageError(
            f"Expected the environment variables {_NAME} (chief, worker-1, …), "
            f"{' and '.join(_ADDRESS)} for --distributed. Received: no {', no '.join(missing)}"
        )
    if not config.distributed and _ADDRESS[0] not in missing:
        raise UsageError(
            f"Expected --distributed, as the environment variable {_ADDRESS[0]} is set. "
            "Received: --distributed=false"
        )
    return config.distributed and "chief" not in os.environ[_NAME]


def _wait_for_chief(directory: SearchDirectory, config: SearchConfig) -> None:
    """Until it has begun the search; then the configurations are compared."""
    if not directory.description.exists():
        print(f"Waiting for the chief to write {directory.description}.", flush=True)
    while not directory.description.exists():
        time.sleep(_POLLING_SECONDS)
    directory.compare(config)


def make_tuner(
    config: SearchConfig, directory: SearchDirectory, material: Material
) -> ControllerTuner:
    """The parts of a search, put together: hypermodel, oracle, tuner."""

    def on_end(oracle: ControllerOracle) -> None:
        history.write_history(directory.history, oracle.records())
        _drop_networks(oracle)

    oracle = ControllerOracle(
        _rule(config),
        folder=directory.search,
        max_trials=config.max_trials,
        worker_timeout=config.worker_timeout,
        on_end=on_end,
    )
    runner = TrialRunner(config, material)
    if config.isolate_trials:
        run = functools.partial(process.run_alone, run_trial, config)
    else:
        run = runner.run
    return ControllerTuner(oracle, runner.hypermodel, run)


def _rule(config: SearchConfig) -> policy.PruneConflicts | policy.GrowAndPrune:
    if config.rule == policy.GROW_AND_PRUNE:
        return policy.GrowAndPrune(
            config.start,
            tolerance=config.tolerance,
            gain_threshold=config.gain_threshold,
            grace=config.grace,
        )
    return policy.PruneConflicts(
        config.start,
        every_stage=config.rule == policy.ALL_STAGES,
        allow_empty_stages=config.allow_empty_stages,
    )


def _drop_networks(oracle: ControllerOracle) -> None:
    """Deletes the networks that no trial starts from any more: they are the most of what is kept.

    A round's networks are needed until the next parent is chosen among them.
    """
    records = oracle.records()
    decision = oracle.decision()
    if decision.final is None:
        return
    kept = {record.proposal.parent for record in records if record.status == policy.RUNNING}
    kept |= {decision.final, *(proposal.parent for proposal in decision.proposals)}
    first_round = {r.name: r.proposal.round for r in records}[decision.final]
    for record in records:
        if record.proposal.round <= first_round and record.name not in kept:
            TrialFolder(oracle.folder, record.name).network.unlink(missing_ok=True)


def _run(tuner: ControllerTuner) -> None:
    """Searches until the rule, or the number of trials, ends it."""
    import grpc  # part of TensorFlow's and keras-tuner's dependencies

    address = ":".join(os.environ.get(name, "") for name in _ADDRESS)
    try:
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


def _conclude(
    config: SearchConfig, directory: SearchDirectory, oracle: ControllerOracle, material: Material
) -> report.Summary:
    """Looks back at a search that is over: table, figures, start and end at equal budget."""
    records, decision = oracle.records(), oracle.decision()
    reason = decision.reason or f"there were --max_trials={config.max_trials} trials"
    history.write_history(directory.history, records)
    if decision.final is None:
        raise UsageError(f"Expected a search that comes to a network. Received: none, as {reason}")
    print(f"The search is over: {reason}.", flush=True)
    history.write_figures(directory.figures, directory.search, records, decision.final)
    past = policy.lineage(records, decision.final)
    final = past[-1]
    # What has been inherited has been paid for before.
    rounds = len(past) if final.proposal.parent else 1
    material = dataclasses.replace(material, epochs=rounds * material.epochs)
    return report.Summary(
        records=tuple(records),
        final=final,
        reason=reason,
        epochs=material.epochs,
        start_accuracy=_accuracy_at_budget(oracle.folder, records[0], material),
        final_accuracy=_accuracy_at_budget(oracle.folder, final, material),
        image_shape=material.image_shape,
        num_classes=material.num_classes,
    )


def _accuracy_at_budget(folder: pathlib.Path, record: Record, material: Material) -> float | None:
    """Validation accuracy after a whole attempt, which conflicts don't end; None: it diverged."""
    outcome = TrialFolder(folder, record.name).read_outcome()
    is_whole = outcome is not None and len(outcome["losses"]) == material.epochs
    if is_whole or record.proposal.parent:
        return record.accuracy
    comparison = TrialFolder(folder, f"{record.name}_at_equal_budget")
    outcome = comparison.read_outcome()
    if outcome is None or len(outcome["losses"]) != material.epochs:
        counts = ",".join(map(str, record.proposal.architecture.counts))
        print(f"For comparison, {material.epochs} epochs: blocks {counts}", flush=True)
        try:
            outcome = vars(_attempt_from_scratch(record.proposal.architecture, material))
        except UsageError as error:
            print(f"  failed: {error}", flush=True)
            return None
        comparison.write_outcome(Outcome(**outcome))
    return outcome["accuracy"]


def _attempt_from_scratch(architecture: Architecture, material: Material) -> Outcome:
    devices.seed_generators(material.seed)
    model = architecture.build(material.image_shape, material.num_classes)
    material.recipe.compile(model, jit=devices.use_jit(material.recipe.config.jit))
    with devices.deterministic():
        return make_attempt(model, material)


def _train(
    config: SearchConfig, directory: SearchDirectory, summary: report.Summary
) -> dict[str, Any]:
    """Trains what came out, and writes the report."""
    architecture = summary.final.proposal.architecture
    files.write_text(directory.best / "architecture.json", architecture.to_json() + "\n")
    start_results = None
    if config.train_start:
        print(f"Training the start network: {directory.start}", flush=True)
        start_results = training.train(config.training(directory.start, config.start))
    print(f"Training the network that was found: {directory.best}", flush=True)
    initial_model = None
    if config.rule == policy.GROW_AND_PRUNE:
        with devices.precision(config.precision):
            initial_model = TrialFolder(directory.search, summary.final.name).read_network()
    results = training.train(config.training(directory.best, architecture), initial_model)
    _copy_serving(directory)
    report.write_report(directory, config, summary, results, start_results)
    return {"reason": summary.reason, "architecture": architecture, "results": results}


def _copy_serving(directory: SearchDirectory) -> None:
    """Puts a copy of the newest export at serving/1, whole or not at all."""
    for left_over in directory.path.glob(f"{_COPYING}*"):
        shutil.rmtree(left_over)
    exports = (directory.best / "serving").glob("[0-9]*")
    target = directory.serving / "1"
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_COPYING, dir=directory.path) as folder:
        copy = pathlib.Path(folder) / "new"
        shutil.copytree(max(exports, key=lambda path: int(path.name)), copy)
        if target.exists():
            target.rename(pathlib.Path(folder) / "old")
        copy.rename(target)
