"""The pruning of a network as a user starts it: trials, the trainings in the end, the report."""

import functools
import os
import pathlib
import shutil
from collections.abc import Callable, Sequence
from typing import Any

from nas.layer_pruning import report, trial
from nas.layer_pruning.configuration import PruningConfig, PruningFolder
from nas.layer_pruning.methods import GivenLayers, Method
from nas.layer_pruning.plan import Plan
from nas.layer_pruning.published_files import LayerFiles, read_choice
from nas.layer_pruning.removals import Layers, RemovalRecord
from nas.layer_pruning.subjects import Subject, for_model, open_subject
from nas.layer_pruning.trial import RemovalRunner
from nas.tuner import ControllerOracle, ControllerTuner, is_worker, run_trials, wait_for_chief
from tfcaps import files, training
from tfcaps.errors import UsageError
from tfcaps.training import cluster, devices

_MOST_TRIALS = 1_000_000  # the method ends by itself


def prune_transformer(config: PruningConfig) -> dict[str, Any]:
    """Chooses the layers that a task doesn't need, removes them, and leaves a `PruningFolder`.

    Args:
        config: the network, the task, and how to choose.

    Returns:
        Of a chief, or a process that works alone: `reason`, why the choice ended; `removed`, the
        layers in the order of their removal; `results`, those of the final training. Of a
        worker: {}.

    Raises:
        UsageError: an input is wrong, or the whole model hasn't learnt enough for its layers to be
            ranked; the message says what to do.

    Source: Peer et al., Greedy-layer pruning: Speeding up transformer models for natural language
    processing, arXiv 2105.14839.
    """
    cluster.expect_one_machine("a pruning")
    config = devices.with_precision(for_model(config))
    folder = PruningFolder(config.log_dir)
    if is_worker(distributed=config.distributed):
        wait_for_chief(folder, config)
        with training.surroundings(config):
            run_trials(_tuner(config, folder)[0])
        print("The pruning is over. Its results are where the chief puts them.")
        return {}
    with folder.locked():
        folder.check(config)
        with training.surroundings(config):
            tuner, plan, runner = _tuner(config, folder)
            oracle = tuner.oracle
            if oracle.state_file.exists():
                tuner.reload()
                print(f"Resuming after {len(oracle.records())} trials of {folder.path}.")
            folder.create(config, runner.task.describe(runner.data))
            run_trials(tuner)
            return _conclude(config, folder, oracle.records(), plan, runner)


def _tuner(
    config: PruningConfig, folder: PruningFolder
) -> tuple[ControllerTuner, Plan, RemovalRunner]:
    """The parts of a pruning, put together; wrong input is told before anything is written."""
    subject = open_subject(config)
    method = _method(config, subject.num_layers)
    plan = Plan(method, config.final_sizes(method.count), config.baselines)
    runner = RemovalRunner(config, subject)
    folder.compare_data(config.dataset, runner.task.describe(runner.data))
    oracle = ControllerOracle(
        plan,
        folder=folder.trials,
        max_trials=_MOST_TRIALS,
        worker_timeout=config.worker_timeout,
        objective=trial.OBJECTIVE,
        to_record=trial.to_record,
        on_end=functools.partial(_tell, folder, plan),
    )
    return ControllerTuner(oracle, runner.run), plan, runner


def _method(config: PruningConfig, num_layers: int) -> Method:
    if config.layers_file is None:
        return config.method(num_layers)
    sets = read_choice(config.layers_file, num_layers)
    count = config.count(num_layers) if config.prune_n_layers is not None else len(sets)
    if count > len(sets):
        raise UsageError(
            f"Expected --prune_n_layers of at most {len(sets)}, as many layers as "
            f"{config.layers_file} has. Received: {count}"
        )
    return GivenLayers(num_layers, sets[:count], seeds=config.all_seeds)


def _tell(folder: PruningFolder, plan: Plan, oracle: ControllerOracle) -> None:
    """After each trial: the table of all of them, and how long it may take."""
    known = oracle.records()
    report.write_history(folder.history, known)
    left = report.seconds_left(plan, known)
    if left is not None:
        print(f"  {len(known)} trials are done; about {report.duration(left)} left", flush=True)


def _conclude(
    config: PruningConfig,
    folder: PruningFolder,
    records: Sequence[RemovalRecord],
    plan: Plan,
    runner: RemovalRunner,
) -> dict[str, Any]:
    """What is left of a pruning whose trials are over."""
    report.write_history(folder.history, records)
    reason = plan.decide(records).reason or ""
    if not plan.has_chosen(records):
        files.write_text(folder.report, f"# Pruning of {config.model}\n\nNothing: {reason}.\n")
        raise UsageError(f"Expected a model whose layers can be chosen. Received: {reason}")
    chosen = plan.method.chosen(records)
    print(f"The choice is over: {reason}.", flush=True)
    LayerFiles(folder.layer_files, str(config.model), config.dataset, config.chosen_by).write(
        plan.method, records
    )
    layers = tuple(sorted(chosen[plan.sizes[-1] - 1])) if plan.sizes[-1] else ()
    subject = runner.subject
    description = _description(config, plan, records, layers, subject)
    _write_network(folder.pruned, description, functools.partial(subject.save, layers))
    print(f"Training the smallest network on all examples: {folder.best}", flush=True)
    folder.take_best("-".join(map(str, layers)) or "whole")
    tuning = subject.final(layers, folder.best, folder.pruned)
    results = training.train(tuning)
    _keep_fine_tuned(folder, tuning, description, subject)
    report.write_report(folder, config, plan, records, runner)
    return {"reason": reason, "removed": _in_order(chosen, plan.sizes[-1]), "results": results}


def _in_order(chosen: Sequence[Layers], size: int) -> Layers:
    """The layers as they were removed; of sets, which have no order, ascending."""
    return tuple(chosen[size - 1]) if size else ()


def _description(
    config: PruningConfig,
    plan: Plan,
    records: Sequence[RemovalRecord],
    removed: Layers,
    subject: Subject,
) -> dict[str, Any]:
    """What layers.json says: a preset has no place for it."""
    kept = [layer for layer in range(plan.method.num_layers) if layer not in removed]
    names = {"layer_names": list(subject.layer_names)} if subject.layer_names else {}
    return {
        "model": config.model,
        "task": config.dataset,
        "method": config.chosen_by,
        **names,
        "kept_layers": kept,
        "removed_layers": list(_in_order(plan.method.chosen(records), plan.sizes[-1])),
        "seeds": list(plan.method.seeds),
        "scores": [
            {"removed": list(step.winner.removed), "scores": list(step.winner.scores)}
            for step in plan.method.steps(records)
        ],
    }


def _write_network(
    target: pathlib.Path,
    description: dict[str, Any],
    save: Callable[[pathlib.Path, pathlib.Path], None],
) -> None:
    """Writes a network with layers.json beside it, whole or not at all.

    Args:
        target: the folder.
        description: what layers.json says.
        save: writes the network into a folder that comes to lie at another place.
    """
    with files.whole_folder(target, replace=True) as path:
        path.mkdir()
        save(path, target)
        files.write_json(path / "layers.json", description)


def _keep_fine_tuned(
    folder: PruningFolder, tuning: Any, description: dict[str, Any], subject: Subject
) -> None:
    """The final training's network without its head, and a copy of its newest export, serving/1."""
    from tfcaps.training import checkpoints

    trained, _ = checkpoints.restore(folder.best / "checkpoints")  # saved a moment ago
    save = functools.partial(subject.save_trained, trained, tuning)
    _write_network(folder.fine_tuned, description, save)
    exports = (folder.best / "serving").glob("[0-9]*")
    folder.serving.mkdir(exist_ok=True)
    with files.whole_folder(folder.serving / "1", replace=True) as copy:
        shutil.copytree(max(exports, key=lambda path: int(os.path.basename(path))), copy)
