"""Networks of this package as what learns in a round, by the loop that all trainings go through."""

import dataclasses
import pathlib
import shutil
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from tfcaps import datasets
from tfcaps.labeling.configuration import LearnerOptions
from tfcaps.labeling.features import without_last_layer
from tfcaps.labeling.networks import network_config

_BATCH = 32  # examples of a step
_PART = 256  # images that are looked at together


class _Answers(NamedTuple):
    """What a network makes of N images.

    Args:
        scores: probabilities, `(N, K)`.
        features: what its last layer gets, `(N, D)`.
    """

    scores: np.ndarray
    features: np.ndarray


def learn(
    config: LearnerOptions,
    data: datasets.ImageDataset,
    folder: pathlib.Path,
    *,
    seed: int = 0,
    before: pathlib.Path | None = None,
) -> None:
    """Trains a network on labelled images, from where that was stopped, unless it is trained.

    Args:
        config: which network, and for how long: few images are gone through more often.
        data: the labelled images are its training set; another folder is for others.
        folder: run directory.
        seed: of weights and order.
        before: run directory of an earlier round, from whose weights this one begins if
            `config.warm_start` says so. Default None: from random ones.
    """
    from tfcaps import training

    if _is_done(folder):
        return
    run_config = network_config(
        config.network,
        len(data.class_names),
        is_short=True,
        log_dir=str(folder),
        epochs=config.epochs,
        steps_per_epoch=config.steps_per_epoch,
        validation_fraction=0.0,
        batch_size=_BATCH,
        seed=seed,
        test=False,
        resume=True,
    )
    # An epoch ends after all examples: few of them make one of few steps.
    count = max(len(data.train), config.steps_per_epoch * _BATCH)
    repeated = data.train.take(np.resize(np.arange(len(data.train)), count))
    data = dataclasses.replace(data, train=repeated)
    is_warm = before is not None and config.warm_start
    initial = training.load_run(str(before)).model if is_warm else None
    training.train(run_config, data, initial_model=initial)


def answers(folder: pathlib.Path, images: np.ndarray) -> _Answers:
    """What a trained network makes of images, raw ones as it was trained on, `(N, H, W, C)`."""
    import keras

    from tfcaps import training

    run = training.load_run(folder)
    classifier = run.model.classifier
    inner = without_last_layer(classifier)
    both = keras.Model(classifier.inputs, [classifier.outputs[0], inner.outputs[0]])
    scores, features = [], []
    for start in range(0, len(images), _PART):
        inputs, _ = run.preprocessing.evaluate(np.asarray(images[start : start + _PART]))
        found, last = both.predict_on_batch(inputs)
        scores.append(_probabilities(np.asarray(found, np.float64)))
        features.append(np.asarray(last, np.float32).reshape(len(inputs), -1))
    return _Answers(np.concatenate(scores), np.concatenate(features))


def newest(root: pathlib.Path) -> pathlib.Path | None:
    """The run directory that was finished last of those in a folder; None: there is none."""
    done = [path for path in root.glob("*") if _is_done(path)]
    return max(done, key=lambda path: (path / "results.json").stat().st_mtime_ns, default=None)


def forget_others(root: pathlib.Path, kept: Iterable[pathlib.Path | None]) -> None:
    """Deletes the run directories of a folder that aren't needed any more."""
    for path in set(root.glob("*")) - set(kept):
        shutil.rmtree(path)


def _is_done(folder: pathlib.Path) -> bool:
    return (folder / "results.json").exists()


def _probabilities(scores: np.ndarray) -> np.ndarray:
    """Parts of their sum: capsules' lengths have others than 1."""
    return scores / scores.sum(axis=1, keepdims=True)
