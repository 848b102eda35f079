"""Auto-tune, from a configuration to a report."""

import json
import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import keras

from nas import history, policy, report
from nas.attempt import Material
from nas.configuration import SearchConfig
from nas.hypermodel import BlockHyperModel
from nas.oracle import ControllerOracle, trial_folder
from nas.policy import Decision, Record
from nas.tuner import ControllerTuner, load_network
from tfcaps import datasets, training
from tfcaps.errors import UsageError
from tfcaps.training import BlockNetworkConfig, devices, files, recipes

_CHIEF = "chief"
_VARIABLES = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")


def auto_tune(config: SearchConfig) -> dict[str, Any] | None:
    """Searches an architecture and trains it; see docs/auto_tune.md for what `log_dir` then holds.

    Decisions rest on the validation split and on the probe set, a part of the training examples.
    The test set is touched once, by the training of the network that the search came to.

    Args:
        config: what to search.

    Returns:
        The results of that training, or None in a worker, which only makes attempts.

    Raises:
        UsageError: an input is wrong, or no attempt succeeded.
    """
    role = _role(config)
    folder = pathlib.Path(config.log_dir)
    search_folder = folder / "search"
    is_new = _check_folder(config, folder, is_worker=role == "worker")
    with devices.precision(config.precision):
        material = _material(config)
        if is_new and role != "worker":
            _create_folder(config, folder)
        rows = history.History(folder, search_folder, config)
        oracle = ControllerOracle(
            config.rule_object(),
            folder=search_folder,
            max_trials=config.max_trials,
            worker_timeout=config.worker_timeout,
            on_change=rows.update,
        )
        if oracle.state_file.exists() and role != "worker":
            oracle.reload()
        prunes = config.rule != "grow_and_prune"
        tuner = ControllerTuner(
            oracle,
            BlockHyperModel(
                config.start,
                material.image_shape,
                material.num_classes,
                material.recipe,
                jit=devices.use_jit(config.jit),
            ),
            material,
            folder=search_folder,
            check_before=config.rule == "all_stages",
            stop_at_conflict=prunes,
            keep_networks=not prunes,
            init=config.init,
        )
        _search(tuner)
        if role == "worker":
            return None
        rows.update(oracle.records())
        decision = _final(oracle, config)
        return _finish(config, folder, oracle.records(), decision, material)


def _role(config: SearchConfig) -> str:
    """What this process does: "alone", "chief" or "worker"."""
    if not config.distributed:
        # Whoever has them in the shell for another search doesn't want to wait for a chief here.
        for name in _VARIABLES:
            os.environ.pop(name, None)
        return "alone"
    missing = [name for name in _VARIABLES if not os.environ.get(name)]
    if missing:
        raise UsageError(
            f"Expected {', '.join(_VARIABLES)} in the environment of --distributed. "
            f"Received: no {missing[0]}"
        )
    return _CHIEF if _CHIEF in os.environ[_VARIABLES[0]] else "worker"


def _check_folder(config: SearchConfig, folder: pathlib.Path, *, is_worker: bool) -> bool:
    """Refuses a folder whose search would be overwritten or is another one; whether it's new."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"Expected --log_dir to be a folder. Received the file: {folder}")
    description = _description(folder)
    if not description.exists():
        return True
    if not config.resume and not is_worker:
        raise UsageError(
            "Expected --log_dir without a search, or --resume to go on with it. "
            f"Received: --log_dir={folder}, which holds a search"
        )
    try:
        earlier = SearchConfig.from_dict(json.loads(description.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise UsageError(
            f"Expected the description of a search. Received: {description}, which is damaged"
        ) from None
    name = config.first_difference(earlier)
    if name is not None:
        raise UsageError(
            f"Expected {earlier.flag(name)}, as the search in {folder} was started with. "
            f"Received: {config.flag(name)}"
        )
    return False


def _create_folder(config: SearchConfig, folder: pathlib.Path) -> None:
    """Makes the folders, and writes flags and description last, so that they mark a search."""
    for path in (folder / "figures", folder / "search"):
        path.mkdir(parents=True, exist_ok=True)
    files.write_text(folder / "flags.txt", config.flag_lines())
    files.write_json(_description(folder), config.to_dict())


def _description(folder: pathlib.Path) -> pathlib.Path:
    return folder / "search" / "search.json"


def _material(config: SearchConfig) -> Material:
    """Loads what all attempts learn from and are measured with."""
    data = datasets.load(
        config.dataset,
        data_dir=config.data_dir,
        image_size=config.image_size,
        train_examples=config.train_examples or None,
        validation_fraction=config.validation_fraction,
        seed=config.seed,
    )
    recipe = recipes.recipe(config.training_of(config.start, config.log_dir))
    return Material(
        data=data,
        preprocessing=recipe.preprocessing(),
        probe=datasets.probe_set(data.train, config.conflicting_samples_size, seed=config.seed),
        recipe=recipe,
        steps_per_epoch=config.steps_per_epoch,
        checks=config.check_epochs,
        seed=config.seed,
    )


def _search(tuner: ControllerTuner) -> None:
    """Runs the search; too many failures in a row end it with the last one's message."""
    try:
        tuner.search()
    except RuntimeError as error:
        if "consecutive failures" not in str(error):
            raise
        reason = str(error).strip().splitlines()[-1].rpartition("UsageError: ")[2]
        raise UsageError(f"Expected attempts that succeed. Received: {reason}") from error


def _final(oracle: ControllerOracle, config: SearchConfig) -> Decision:
    """What the search came to; where the bound of attempts ended it, the best of them."""
    decision = oracle.decision()
    records = [record for record in oracle.records() if record.status == policy.COMPLETED]
    if decision.reason is None:
        # A pruned network is the better the later; of grown ones validation decides.
        key = (lambda r: r.accuracy) if config.rule == "grow_and_prune" else (lambda r: r.name)
        decision = Decision(
            reason=f"--max_trials={config.max_trials} attempts were made",
            final=max(records, key=key).name if records else None,
        )
    if decision.final is None:
        raise UsageError(f"Expected an attempt that succeeds. Received: {decision.reason}")
    print(f"The search is over: {decision.reason}.", flush=True)
    return decision


def _finish(
    config: SearchConfig,
    folder: pathlib.Path,
    records: Sequence[Record],
    decision: Decision,
    material: Material,
) -> dict[str, Any]:
    """Trains the resulting network, and writes what the user is to have."""
    found = next(record for record in records if record.name == decision.final)
    architecture = found.proposal.architecture
    initial = None
    if config.rule == "grow_and_prune":
        initial = load_network(trial_folder(folder / "search", found.name))
    best = folder / "best"
    best.mkdir(exist_ok=True)
    files.write_text(best / "architecture.json", architecture.to_json() + "\n")
    results = _train(config.training_of(architecture, str(best)), initial)
    start_results = None
    if config.train_start:
        start_results = _train(config.training_of(config.start, str(folder / "start")), None)
    _copy_folder(best / "serving" / "1", folder / "serving" / "1")
    text = report.write(
        config,
        records,
        decision,
        material=material,
        results=results,
        start_results=start_results,
        outcomes=history.outcomes(folder / "search", records),
    )
    files.write_text(folder / "report.md", text)
    return results


def _train(config: BlockNetworkConfig, initial: keras.Model | None) -> dict[str, Any]:
    blocks = ",".join(map(str, config.blocks))
    print(f"Training {config.model} {blocks} to the end, in {config.log_dir}", flush=True)
    return training.train(config, initial)


def _copy_folder(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copies a folder beside its place and renames it, unless it's there."""
    if target.exists():
        return
    beside = target.with_name(f".writing-{target.name}")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(source, beside)
    beside.rename(target)
