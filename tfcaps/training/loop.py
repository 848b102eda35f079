"""The one loop: whatever is trained here goes through `Session.train_epochs`, with its guards."""

import contextlib
import dataclasses
import functools
import pathlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tfcaps
from tfcaps import datasets, export, files, plots
from tfcaps.datasets.image_names import GIVEN
from tfcaps.errors import UsageError
from tfcaps.training import (
    checkpoints,
    cluster,
    devices,
    early_stopping,
    memory,
    probe,
    schedules,
    workers,
)
from tfcaps.training.bundles import BundleRecorder, entropy_figure
from tfcaps.training.callbacks import Progress, Recorder, SeedEpochs, StopAtNaN
from tfcaps.training.configuration import Repetitions, RunConfig
from tfcaps.training.metric_names import readable
from tfcaps.training.run_directory import Row, RunDirectory, export_description
from tfcaps.training.task import Data, Examples, Task
from tfcaps.training.tensorboard import RunSummaries

# Held out examples that TensorBoard's pictures are made of after each epoch.
_PROBE_SIZE = 500
# Of these, so many are looked at for numbers that aren't finite.
_TRIED = 32


@contextlib.contextmanager
def surroundings(config: RunConfig) -> Iterator[None]:
    """Dtype policy, devices and random numbers of a training inside the block.

    Raises:
        UsageError: the batches can't be divided among the devices.
    """
    devices.check_jit(config.jit)
    devices.seed_generators(config.seed)
    with devices.precision(config.precision), devices.strategy().scope():
        devices.check_batch_size(config.batch_size)
        yield


@dataclasses.dataclass(frozen=True)
class Session:
    """A network with what it learns from; to be used inside `surroundings`.

    Args:
        task: how it is trained.
        data: what it learns from.
        model: the network, compiled.
    """

    task: Task
    data: Data
    model: keras.Model

    @property
    def config(self) -> RunConfig:
        """What is asked for."""
        return self.task.config

    @property
    def used_examples(self) -> int:
        """Training examples of an epoch: those that don't go round among devices are left out."""
        size = len(self.data.train)
        return size - size % devices.count()

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        config = self.config
        return datasets.epoch_steps(
            self.used_examples, config.batch_size, config.steps_per_epoch or None
        )

    def train_epochs(
        self,
        epochs: range,
        callbacks: Sequence[keras.callbacks.Callback],
        *,
        orders: range | None = None,
        validate: bool = True,
        tried: Any = None,
        kept: pathlib.Path | None = None,
    ) -> None:
        """Trains the network, and stops when a number isn't finite any more.

        Args:
            epochs: numbers of the epochs, as callbacks count them.
            callbacks: what happens meanwhile; they see only epochs with finite numbers.
            orders: numbers of the epochs' orders of examples. Default: as of the epochs.
            validate: whether the validation split is evaluated after each epoch. Default True.
            tried: network inputs whose scores have to be finite, too. Default: none.
            kept: folder of checkpoints, for the message. Default: there are none.

        Raises:
            UsageError: the batches can't be divided among the devices, a number isn't finite, or
                what callbacks raise.
        """
        devices.check_batch_size(self.config.batch_size)
        batches = self.task.training_batches(
            self.model, self.data, epochs=orders or epochs, devices=devices.count()
        )
        held_out = None
        if validate and self.data.validation is not None:
            held_out = self.evaluation_batches(self.data.validation)
        if not self.model.optimizer.built:
            # Or else the step, which would make the optimizer's variables, is traced twice.
            self.model.optimizer.build(self.model.trainable_variables)
        workers.adapt(self.model)
        with devices.deterministic():
            self.model.fit(
                workers.share_out(batches),
                validation_data=held_out and workers.share_out(held_out),
                validation_steps=held_out and _steps(held_out),
                initial_epoch=epochs.start,
                epochs=epochs.stop,
                steps_per_epoch=self.steps,
                shuffle=False,  # they are shuffled already, in a way that can be resumed
                verbose=0,
                callbacks=[
                    SeedEpochs(self.config.seed, offset=(orders or epochs).start - epochs.start),
                    StopAtNaN(self.config.learning_rate, kept, tried),
                    *callbacks,
                ],
            )

    def evaluate(self, examples: Examples, model: keras.Model | None = None) -> dict[str, float]:
        """Losses and metrics on some examples.

        Args:
            examples: of the data.
            model: another network of the same kind, compiled. Default: the session's.
        """
        model = model or self.model
        batches = self.evaluation_batches(examples, model)
        workers.adapt(model)
        with devices.deterministic():
            found = model.evaluate(
                workers.share_out(batches),
                steps=_steps(batches),
                verbose=0,
                return_dict=True,
            )
        return readable(found)

    def evaluation_batches(
        self, examples: Examples, model: keras.Model | None = None
    ) -> tf.data.Dataset:
        """Examples as `fit` and `evaluate` take them, no device without some."""
        batch_size = devices.evaluation_batch_size(
            len(examples), self.config.batch_size, devices.count()
        )
        return self.task.evaluation_batches(
            model or self.model, self.data, examples, batch_size=batch_size
        )

    def bundle_probe(self) -> tuple[Any, np.ndarray]:
        """The training examples that bundle entropy is measured on: network inputs and labels.

        Raises:
            UsageError: there are fewer than asked for.
        """
        examples = self.task.arrays(self.data, _bundle_examples(self.config, self.data))
        return self.task.network_input(examples), examples["label"]


def _steps(batches: tf.data.Dataset) -> int | None:
    """How many batches there are, where that is known; what is shared out doesn't say so."""
    count = int(batches.cardinality())
    return count if count >= 0 else None


def _bundle_examples(config: RunConfig, data: Data) -> Examples:
    """The training examples that bundle entropy is measured on.

    Raises:
        UsageError: there are fewer than asked for.
    """
    return datasets.probe_set(data.train, config.conflicting_samples_size, seed=config.seed)


def check_data(task: Task, data: Data) -> None:
    """Checks that the data have what is asked for, before anything is written.

    Raises:
        UsageError: they haven't.
    """
    config = task.config
    if config.conflicting_samples_size:
        _bundle_examples(config, data)
    if config.patience and data.validation is None:
        raise UsageError(
            "Expected data with a validation split with --patience. "
            f"Received: {config.flag('patience')}, and {data.name} without one"
        )
    task.check_data(data)


def start(task: Task, data: Data, model: keras.Model | None = None) -> Session:
    """Makes a session of a network before its first step.

    Args:
        task: how it is trained.
        data: what it learns from.
        model: the network. Default: what the task builds, with the weights of its seed.
    """
    if model is None:
        devices.seed_generators(task.config.seed)
        model = task.build(data)
        task.initialize(model)
    task.compile(model, jit=devices.use_jit(task.config.jit))
    return Session(task, data, model)


def train(
    config: RunConfig, data: Data | None = None, *, initial_model: keras.Model | None = None
) -> dict[str, Any]:
    """Trains a network and leaves a run directory, see `RunDirectory`.

    Decisions rest on the validation split. The test set is touched when the training is over,
    for the reported accuracy and the figures.

    Args:
        config: what to train, and where to.
        data: what to learn from. Default None: what the configuration names. Of given data, the
            run's `dataset` is "given:NAME".
        initial_model: a network of the same architecture whose weights the training starts from.
            None: from random ones. A resumed run goes on from its own.

    Returns:
        The content of results.json.

    Raises:
        UsageError: an input is wrong, another process works in the directory, or the loss became
            NaN, or there isn't enough memory; the message says what to do.
    """
    if data is not None:
        config = dataclasses.replace(config, dataset=GIVEN + data.name.removeprefix(GIVEN))
    with (
        workers.losses_told(),
        workers.opened(config) as (config, directory),
        surroundings(config),
    ):
        data = config.task().load() if data is None else data
        task = config.with_classes(len(data.class_names)).task()
        with memory.told(functools.partial(task.input_too_large, data)):
            run = _prepare(task, data, directory, initial_model)
            # From here on: Keras compiles no step with XLA while operations are deterministic.
            with devices.deterministic():
                return _finish(run, _fit(run))


def train_several(config: RunConfig, runs: int, data: Data | None = None) -> dict[str, Any]:
    """Trains the same network `runs` times, with the seeds that follow that of the configuration.

    The runs come to lie in `run-1`, `run-2`, … below `config.log_dir`, and `results.json` there has
    the mean and the standard deviation of their test accuracies. One run lies in `log_dir` itself.

    Args:
        config: what to train.
        runs: how often, at least once.
        data: see `train`.

    Returns:
        The content of that results.json, or, of one run, what `train` returns.

    Raises:
        UsageError: as `train` does, or there is no run to do.
    """
    if Repetitions(runs=runs).runs == 1:
        return train(config, data)
    folder = files.WorkFolder(config.log_dir, files.SERIES)
    with workers.losses_told(), contextlib.ExitStack() as stack:
        workers.from_chief(lambda: stack.enter_context(_series(folder)))
        results = [
            train(
                dataclasses.replace(
                    config, log_dir=str(folder.path / f"run-{run + 1}"), seed=config.seed + run
                ),
                data,
            )
            for run in range(runs)
        ]
        accuracies = [result["test_accuracy"] for result in results]
        summary = {
            "test_accuracy": float(np.mean(accuracies)) if config.test else None,
            "standard_deviation": float(np.std(accuracies)) if config.test else None,
            "test_accuracies": accuracies,
        }
        workers.from_chief(lambda: files.write_json(folder.path / "results.json", summary))
    return summary


@contextlib.contextmanager
def _series(folder: files.WorkFolder) -> Iterator[None]:
    """A folder of several runs, in which nobody else works."""
    with folder.locked():
        folder.check_others()  # what belongs to a run that is there, the run itself checks
        yield


@dataclasses.dataclass(frozen=True)
class _Run(Session):
    """A session with a run directory; none of its steps changes it.

    Args:
        directory: of the run.
        rows: of metrics.csv, for the epochs that were done before.
    """

    directory: RunDirectory
    rows: list[Row]

    @property
    def epochs_done(self) -> int:
        return len(self.rows)


def _prepare(
    task: Task, data: Data, directory: RunDirectory, initial_model: keras.Model | None
) -> _Run:
    """Builds the network or restores it, and makes the directory that of a run."""
    config = task.config
    check_data(task, data)
    description = task.describe(data)
    directory.compare_data(data.name, description)
    model = task.build(data)
    restored, epochs_done = checkpoints.restore(directory.checkpoints)
    if epochs_done > config.epochs:
        raise UsageError(
            f"Expected --epochs >= {epochs_done}, as many as {directory.path} has. "
            f"Received: {config.epochs}"
        )
    rows = directory.read_metrics(epochs_done)
    if restored is not None:
        model = restored
        print(f"Resuming after epoch {epochs_done} of {directory.path}.")
    elif initial_model is not None:
        model.set_weights(initial_model.get_weights())
    else:
        task.initialize(model)
    workers.expect_alike(model, description)
    jit = devices.use_jit(config.jit)
    task.compile(model, jit=jit, optimizer=restored and restored.optimizer)
    if epochs_done < config.epochs:
        share = config.batch_size // cluster.of_environment().size
        memory.check(model, share, functools.partial(task.input_too_large, data))
    directory.create(config, description)
    return _Run(task, data, model, directory, rows)


def _fit(run: _Run) -> list[Row]:
    """Runs the epochs that are left, and returns the rows of metrics.csv."""
    config, data = run.config, run.data
    if run.epochs_done == config.epochs:
        return run.rows
    if early_stopping.is_over(run.rows, config.patience):
        print(f"The training is over. {early_stopping.tell(run.rows, config.patience)}")
        return run.rows
    recorder = Recorder(run.directory, run.rows, keep_all=config.save_ckpts)
    seen = run.task.arrays(data, _head(data.validation or data.train, _PROBE_SIZE))
    first_ones = {name: values[:_TRIED] for name, values in seen.items()}
    run.train_epochs(
        range(run.epochs_done, config.epochs),
        [
            Progress(min(run.used_examples, run.steps * config.batch_size), config.batch_size),
            *schedules.callbacks(config, run.steps),
            *run.task.callbacks(seen),
            *_bundle_recorders(run),
            RunSummaries(
                run.directory.tensorboard,
                lambda model: run.task.figures(model, seen, data.class_names, is_finished=False),
                first_epoch=1,
            ),
            recorder,
            early_stopping.EarlyStopping(recorder, config.patience),
        ],
        tried=run.task.network_input(first_ones),
        kept=run.directory.checkpoints,
    )
    return recorder.rows


def _bundle_recorders(run: _Run) -> list[BundleRecorder]:
    """The measurement of conflicting bundles, if it is asked for."""
    if not run.config.conflicting_samples_size:
        return []
    recorder = BundleRecorder(
        *run.bundle_probe(),
        batch_size=run.config.batch_size,
        num_classes=len(run.data.class_names),
        last_layer_only=not run.config.all_conflict_layers,
        rows=run.rows,
    )
    return [recorder]


def _finish(run: _Run, rows: list[Row]) -> dict[str, Any]:
    """Evaluates, draws, exports, and writes results.json last."""
    config, data, directory = run.config, run.data, run.directory
    results = _results(run, rows)
    # results.json comes last: only if it tells of these weights have they been exported before.
    epochs = results["epochs"]
    is_new = directory.epochs_in_results() != epochs
    if not is_new and not config.test:
        return directory.read_results()  # of an earlier call that touched the test set, perhaps
    _write_figures(run, {name: [row[name] for row in rows] for name in rows[0]})
    exports = list(directory.serving.glob("[0-9]*"))
    # A process that was killed after the export has had no time for results.json.
    is_exported = any(export.read_description(path).get("epoch") == epochs for path in exports)
    if not exports or (is_new and not is_exported):
        mark = run.task.describe(data).get("fingerprint")
        run.task.export(
            *(run.model, data, directory.serving),
            description=export_description(config, epochs, mark),
        )
    files.write_json(directory.results, results)
    return results


def _write_figures(run: _Run, history: Mapping[str, Sequence[float]]) -> None:
    """Draws the figures of all kinds of trainings, and those of the task."""
    data = run.data
    shown = data.test if run.config.test else _head(data.train, _PROBE_SIZE)
    own, _ = run.task.figures(
        run.model, run.task.arrays(data, shown), data.class_names, is_finished=True
    )
    figures = {
        "learning_curves": plots.learning_curves(history),
        "bundle_entropy": entropy_figure(history),
        **own,
    }
    for name, figure in figures.items():
        if figure is not None:
            plots.save(figure, run.directory.figures / f"{name}.png")


def _results(run: _Run, rows: list[Row]) -> dict[str, Any]:
    data = run.data
    chosen = None
    if data.validation is not None:
        best_row = early_stopping.best(rows)
        model = checkpoints.best(run.directory.checkpoints)
        chosen = {
            "epoch": int(best_row["epoch"]),
            **_scores(run, "validation", model),
            **_scores(run, "test", model),
        }
        if "val_accuracy" in best_row:  # as it was measured in that epoch
            chosen["validation_accuracy"] = best_row["val_accuracy"]
    return {
        **_scores(run, "test", run.model),
        **_scores(run, "validation", run.model),
        "validation_chosen": chosen,
        "epochs": int(rows[-1]["epoch"]),
        "stopped_early": len(rows) < run.config.epochs,
        "parameters": run.model.count_params(),
        "parameters_without_decoder": run.model.count_params() - _decoder_parameters(run.model),
        **run.task.results(run.model, _inputs(run)),
        "seconds": round(sum(row["seconds"] for row in rows), 1),
        "train_examples": len(data.train),
        "validation_examples": len(data.validation or ()),
        "test_examples": len(data.test),
        "seed": run.config.seed,
        "versions": {
            "tfcaps": tfcaps.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }


def _decoder_parameters(model: keras.Model) -> int:
    """Weights that only draw: 0 of a network that doesn't."""
    decoder = getattr(model, "decoder", None)
    return decoder.count_params() if decoder else 0


def _scores(run: _Run, part: str, model: keras.Model | None) -> dict[str, float | None]:
    """What a network makes of the validation split or the test set, from one pass.

    All are None without a network or examples, and where the test set isn't touched.
    """
    examples = run.data.test if part == "test" else run.data.validation
    if model is None or examples is None or (part == "test" and not run.config.test):
        found = dict.fromkeys(run.task.score_names(run.data))
    else:
        labels, scores = probe.scores(
            model.classifier,
            (
                (run.task.network_input(batch), batch["label"])
                for batch in run.task.batches(run.data, examples)
            ),
        )
        found = run.task.scores(run.data, labels, scores)
    return {f"{part}_{name}": value for name, value in found.items()}


def _inputs(run: _Run) -> Iterator[tf.Tensor]:
    """Batches of network inputs of the test set, or, where it isn't touched, of held out ones."""
    split = run.data.test if run.config.test else run.data.validation
    for batch in run.task.batches(run.data, split) if split is not None else ():
        yield run.task.network_input(batch)


def _head(split: Examples, count: int) -> Examples:
    """At most so many examples, spread evenly over a split."""
    return split.take(np.linspace(0, len(split) - 1, min(count, len(split))).astype(int))
