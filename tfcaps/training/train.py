"""The one way to train a network: data, network, `fit`, and what is left afterwards."""

import dataclasses
import pathlib
import platform
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tfcaps
from tfcaps import datasets, export, files, plots
from tfcaps.datasets import ImageDataset, Preprocessing, Split
from tfcaps.errors import UsageError
from tfcaps.training import checkpoints, devices, recipes
from tfcaps.training.bundles import BundleRecorder, entropy_figure
from tfcaps.training.callbacks import Progress, Recorder, StopAtNaN
from tfcaps.training.configuration import RunConfig
from tfcaps.training.metric_names import readable
from tfcaps.training.recipe import Recipe
from tfcaps.training.run_directory import RunDirectory
from tfcaps.training.tensorboard import RunSummaries

# Test images that TensorBoard's pictures are made of after each epoch.
_PROBE_SIZE = 500


def train(config: RunConfig, initial_model: keras.Model | None = None) -> dict[str, Any]:
    """Trains a network and leaves a run directory, see `RunDirectory`.

    Decisions rest on the validation split. The test set is touched when the training is over,
    for the reported accuracy and the figures.

    Args:
        config: what to train, and where to.
        initial_model: a network of the same architecture whose weights the training starts from.
            None: from random ones. A resumed run goes on from its own.

    Returns:
        The content of results.json.

    Raises:
        UsageError: an input is wrong, or the loss became NaN; the message says what to do.
    """
    directory = RunDirectory(config.log_dir)
    directory.check(config)
    devices.seed_generators(config.seed)
    with devices.precision(config.precision), devices.strategy().scope():
        devices.check_batch_size(config.batch_size)
        session = _prepare(config, directory, initial_model)
        with devices.deterministic():
            rows = _fit(session)
            return _finish(session, rows)


def train_several(config: RunConfig, runs: int) -> dict[str, Any]:
    """Trains the same network `runs` times, with the seeds that follow that of the configuration.

    The runs come to lie in `run-1`, `run-2`, … below `config.log_dir`, and `results.json` there has
    the mean and the standard deviation of their test accuracies. One run lies in `log_dir` itself.

    Args:
        config: what to train.
        runs: how often, at least once.

    Returns:
        The content of that results.json, or, of one run, what `train` returns.

    Raises:
        UsageError: as `train` does, or there is no run to do.
    """
    if runs < 1:
        raise UsageError(f"Expected --runs >= 1. Received: {runs}")
    if runs == 1:
        return train(config)
    folder = pathlib.Path(config.log_dir)
    results = [
        train(
            dataclasses.replace(
                config, log_dir=str(folder / f"run-{run + 1}"), seed=config.seed + run
            )
        )
        for run in range(runs)
    ]
    accuracies = [result["test_accuracy"] for result in results]
    summary = {
        "test_accuracy": float(np.mean(accuracies)) if config.test else None,
        "standard_deviation": float(np.std(accuracies)) if config.test else None,
        "test_accuracies": accuracies,
    }
    files.write_json(folder / "results.json", summary)
    return summary


@dataclasses.dataclass(frozen=True)
class _Session:
    """What the steps of a training share; none of them changes it."""

    config: RunConfig
    recipe: Recipe
    directory: RunDirectory
    data: ImageDataset
    preprocessing: Preprocessing
    model: keras.Model
    bundle_probe: Split | None  # training examples on which bundle entropy is measured
    rows: list[dict[str, float]]  # of metrics.csv, for the epochs that were done before

    @property
    def device_count(self) -> int:
        return tf.distribute.get_strategy().num_replicas_in_sync

    @property
    def epochs_done(self) -> int:
        return len(self.rows)

    def batches(self, split: Split) -> tf.data.Dataset:
        """A split as the network sees it, for one device."""
        return datasets.evaluation_batches(
            split, self.preprocessing, batch_size=self.config.batch_size
        )

    def evaluation_batches(self, split: Split, model: keras.Model) -> tf.data.Dataset:
        """A split as `fit` and `evaluate` take it, for all devices."""
        batch_size = devices.evaluation_batch_size(
            len(split), self.config.batch_size, self.device_count
        )
        batches = datasets.evaluation_batches(split, self.preprocessing, batch_size=batch_size)
        return self.recipe.as_inputs_and_targets(
            batches, model, len(self.data.class_names), training=False
        )


def _prepare(
    config: RunConfig, directory: RunDirectory, initial_model: keras.Model | None
) -> _Session:
    """Loads the data, and builds the network or restores it."""
    data = datasets.load(
        config.dataset,
        data_dir=config.data_dir,
        image_size=config.image_size,
        train_examples=config.train_examples or None,
        validation_fraction=config.validation_fraction,
        seed=config.seed,
    )
    bundle_probe = None
    if config.conflicting_samples_size:
        bundle_probe = datasets.probe_set(
            data.train, config.conflicting_samples_size, seed=config.seed
        )
    recipe = recipes.recipe(config)
    preprocessing = recipe.preprocessing()
    model = recipe.build(preprocessing.output_shape(data.image_shape), len(data.class_names))
    if initial_model is not None:
        model.set_weights(initial_model.get_weights())
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
    recipe.compile(
        model,
        jit=devices.use_jit(config.jit),
        optimizer=restored and restored.optimizer,
    )
    directory.create(
        config,
        {
            "class_names": list(data.class_names),
            "image_shape": list(data.image_shape),
            "preprocessing": preprocessing.to_dict(),
        },
    )
    return _Session(config, recipe, directory, data, preprocessing, model, bundle_probe, rows)


def _fit(session: _Session) -> list[dict[str, float]]:
    """Runs the epochs that are left, and returns the rows of metrics.csv."""
    config, data, model = session.config, session.data, session.model
    num_classes = len(data.class_names)
    if session.epochs_done == config.epochs:
        return session.rows
    recorder = Recorder(session.directory, session.rows, keep_all=config.save_ckpts)
    batches = datasets.training_batches(
        data.train,
        session.preprocessing,
        batch_size=config.batch_size,
        seed=config.seed,
        epochs=range(session.epochs_done, config.epochs),
        steps_per_epoch=config.steps_per_epoch or None,
        devices=session.device_count,
    )
    validation = data.validation and session.evaluation_batches(data.validation, model)
    used = len(data.train) - len(data.train) % session.device_count
    steps = datasets.epoch_steps(used, config.batch_size, config.steps_per_epoch or None)
    probe = _arrays(session, _head(data.validation or data.train, _PROBE_SIZE))
    model.fit(
        session.recipe.as_inputs_and_targets(batches, model, num_classes, training=True),
        validation_data=validation,
        initial_epoch=session.epochs_done,
        epochs=config.epochs,
        steps_per_epoch=steps,
        shuffle=False,  # the batches are shuffled already, in a way that can be resumed
        verbose=0,
        callbacks=[
            Progress(min(used, steps * config.batch_size), config.batch_size),
            StopAtNaN(config.learning_rate, session.directory.checkpoints, probe["image"][:32]),
            *_schedules(config),
            *session.recipe.callbacks(probe["image"]),
            *_bundle_recorders(session),
            RunSummaries(
                session.directory.tensorboard,
                lambda model: session.recipe.look(model, probe, data.class_names),
                first_epoch=1,
            ),
            recorder,
        ],
    )
    return recorder.rows


def _schedules(config: RunConfig) -> list[keras.callbacks.Callback]:
    """The learning rate as a function of the epoch alone, so that a resumed run has the same."""
    if config.learning_rate_decay == 1:
        return []
    return [
        keras.callbacks.LearningRateScheduler(
            lambda epoch: config.learning_rate * config.learning_rate_decay**epoch
        )
    ]


def _bundle_recorders(session: _Session) -> list[BundleRecorder]:
    """The measurement of conflicting bundles, if it is asked for."""
    config, data = session.config, session.data
    if session.bundle_probe is None:
        return []
    probe = _arrays(session, session.bundle_probe)
    recorder = BundleRecorder(
        probe["image"],
        probe["label"],
        batch_size=config.batch_size,
        num_classes=len(data.class_names),
        last_layer_only=not config.all_conflict_layers,
        rows=session.rows,
    )
    return [recorder]


def _finish(session: _Session, rows: list[dict[str, float]]) -> dict[str, Any]:
    """Evaluates, draws, exports, and writes results.json last."""
    config, data, model, directory = (
        session.config,
        session.data,
        session.model,
        session.directory,
    )
    results = _results(session, rows)
    # results.json comes last: only if it tells of these weights have they been exported before.
    is_new = directory.epochs_in_results() != results["epochs"]
    if not is_new and not config.test:
        return directory.read_results()  # of an earlier call that touched the test set, perhaps
    shown = _arrays(session, data.test if config.test else _head(data.train, _PROBE_SIZE))
    history = {name: [row[name] for row in rows] for name in rows[0]}
    entropies = entropy_figure(history)
    if entropies is not None:
        plots.save(entropies, directory.figures / "bundle_entropy.png")
    session.recipe.write_figures(
        directory.figures,
        model=model,
        history=history,
        images=shown["image"],
        originals=shown["original"],
        labels=shown["label"],
        class_names=data.class_names,
    )
    if is_new or not any(directory.serving.glob("[0-9]*")):
        export.export_model(
            model.classifier,
            directory.serving,
            preprocess=lambda images: session.preprocessing.evaluate(images)[0],
            image_shape=data.image_shape,
            class_names=data.class_names,
        )
    files.write_json(directory.results, results)
    return results


def _results(session: _Session, rows: list[dict[str, float]]) -> dict[str, Any]:
    config, data = session.config, session.data
    chosen = None
    if data.validation is not None:
        best_row = max(rows, key=lambda row: (row["val_accuracy"], -row["epoch"]))
        chosen = {
            "epoch": int(best_row["epoch"]),
            "validation_accuracy": best_row["val_accuracy"],
            "test_accuracy": _test_accuracy(session, checkpoints.best),
        }
    return {
        "test_accuracy": _test_accuracy(session, lambda _: session.model),
        "validation_chosen": chosen,
        "epochs": int(rows[-1]["epoch"]),
        "parameters": session.model.count_params(),
        **session.recipe.results(session.model, _inputs(session)),
        "seconds": round(sum(row["seconds"] for row in rows), 1),
        "train_examples": len(data.train),
        "validation_examples": len(data.validation or ()),
        "test_examples": len(data.test),
        "seed": config.seed,
        "versions": {
            "tfcaps": tfcaps.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }


def _test_accuracy(session: _Session, load) -> float | None:
    """Accuracy on the whole test set of the model that `load` gives, or None if not asked for."""
    model = load(session.directory.checkpoints) if session.config.test else None
    if model is None:
        return None
    if model is not session.model:
        session.recipe.compile(model, jit=False)
    batches = session.evaluation_batches(session.data.test, model)
    return readable(model.evaluate(batches, verbose=0, return_dict=True))["accuracy"]


def _inputs(session: _Session) -> Iterator[tf.Tensor]:
    """Batches of network inputs of the test set, or, where it isn't touched, of held out ones."""
    split = session.data.test if session.config.test else session.data.validation
    for batch in session.batches(split) if split is not None else ():
        yield batch["image"]


def _head(split: Split, count: int) -> Split:
    """At most so many examples, spread evenly over a split."""
    return split.take(np.linspace(0, len(split) - 1, min(count, len(split))).astype(int))


def _arrays(session: _Session, split: Split) -> dict[str, np.ndarray]:
    """A split as the network sees it."""
    parts = list(session.batches(split).as_numpy_iterator())
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
