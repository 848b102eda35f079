"""Simulated labeling: how many labels a strategy needs, with a program in the person's place."""

import dataclasses
import itertools
import pathlib
import time
from typing import Any

import numpy as np

from tfcaps import datasets, files, plots
from tfcaps.datasets import sampling
from tfcaps.errors import UsageError
from tfcaps.experiments.experiment import share_out, time_left
from tfcaps.labeling import learners, networks, strategies
from tfcaps.labeling.candidates import NO_LABEL, Candidates
from tfcaps.labeling.classifiers import class_scores
from tfcaps.labeling.configuration import SimulationOptions
from tfcaps.labeling.features import pixel_features
from tfcaps.labeling.pool import LABEL, Click, Pool, pool_file
from tfcaps.labeling.rounds import read_rounds

_SHARES = (0.95, 0.98)  # of the accuracy that all labels give
_FULL = "full_pool"
_NETWORKS = "networks"
_COLUMNS = ("strategy", "seed", "labels", "accuracy", "seconds")


@dataclasses.dataclass(frozen=True, eq=False)
class _Images:
    """Images to be labelled, their true labels, and those that accuracy is measured on."""

    pool: datasets.Split
    test: datasets.Split
    class_names: tuple[str, ...]

    @property
    def everything(self) -> np.ndarray:
        """The pool's images and then the test images."""
        return np.concatenate([self.pool.images, self.test.images])

    @property
    def features(self) -> np.ndarray:
        """Components of pixels of everything."""
        return pixel_features(self.everything)


def simulate(config: SimulationOptions) -> list[dict[str, Any]]:
    """Has each strategy label a data set for several seeds, and writes tables and a figure.

    `log_dir` then has rounds.csv (a row per strategy, seed and number of labels), table.csv (the
    mean accuracy and its standard deviation at each number), labels_needed.csv (labels for 95 % and
    98 % of the accuracy that the labels of the whole pool give), figures/accuracy.png and cells/,
    with the pool of each simulation.

    Returns:
        The rows of labels_needed.csv.

    Raises:
        UsageError: `log_dir` has another experiment, or `resume` isn't set, or the data set can't
            be had or is too small.
    """
    for name in config.strategies:
        strategies.warn(name)
    with config.open_folder("cells", "figures") as folder:
        runs = range(config.seed, config.seed + config.runs)
        cells = [(_FULL, config.seed), *itertools.product(config.strategies, runs)]
        missing = [cell for cell in cells if not _is_done(config, folder, *cell)]
        started = time.monotonic()
        ended = share_out(_simulate_one, [(config, folder, *c) for c in missing], config.workers)
        for number, (_, _, strategy, seed) in enumerate(ended, start=1):
            print(
                f"Simulation {number}/{len(missing)}: {strategy}, seed {seed}"
                + time_left(time.monotonic() - started, number, len(missing)),
                flush=True,
            )
        return _write_results(config, folder, cells)


def _simulate_one(
    config: SimulationOptions, folder: pathlib.Path, strategy: str, seed: int
) -> None:
    """Labels with one strategy and seed, from where it was stopped."""
    images = _load(config)
    cell = _cell(folder, strategy, seed)
    cell.mkdir(exist_ok=True)
    features = images.features
    if strategy == _FULL:
        everything = np.arange(len(images.pool))
        learned = _learn(config, images, features, everything, images.pool.labels, cell, seed, None)
        row = {"strategy": strategy, "seed": seed, "labels": len(images.pool)}
        accuracy = _accuracy(learned, images)
        files.write_json(cell / "rounds.json", [{**row, "accuracy": accuracy, "seconds": 0.0}])
        return
    names = [str(number) for number in range(len(images.pool))]
    pool = Pool(pool_file(cell), names, images.class_names)
    rows = _rows(cell)
    learned = None
    # The model of the last round that was written is needed again, to choose what comes next.
    budgets = config.budgets[max(len(rows) - 1, 0) :]
    for budget in budgets:
        labels = _labels(pool, images)
        count = budget - int(np.sum(labels != NO_LABEL))
        seconds = 0.0
        if count > 0:
            started = time.monotonic()
            chosen = _choose(strategy, labels, learned, features[: len(labels)], count, seed)
            seconds = time.monotonic() - started
            _annotate(pool, chosen, images, config.label_noise, seed)
            labels = _labels(pool, images)
        known = _first(pool, budget)
        before = learned
        learned = _learn(config, images, features, known, labels[known], cell, seed, learned)
        if budget not in [row["labels"] for row in rows]:
            rows.append(
                {
                    "strategy": strategy,
                    "seed": seed,
                    "labels": budget,
                    "accuracy": _accuracy(learned, images),
                    "seconds": seconds,
                }
            )
            files.write_json(cell / "rounds.json", rows)
        if before is not None:
            # Whoever goes on after a stop needs the last round's network that was written.
            learners.forget_others(cell / _NETWORKS, (before.run, learned.run))
    pool.close()


@dataclasses.dataclass(frozen=True, eq=False)
class _Learned:
    """What a round's model gives: scores of pool and test images; of a network also its own
    features of the pool's images, and where it lies.
    """

    scores: np.ndarray
    test_scores: np.ndarray
    features: np.ndarray | None = None
    run: pathlib.Path | None = None


def _learn(
    config: SimulationOptions,
    images: _Images,
    features: np.ndarray,
    known: np.ndarray,
    labels: np.ndarray,
    cell: pathlib.Path,
    seed: int,
    before: _Learned | None,
) -> _Learned:
    size = len(images.pool)
    if config.network == networks.SVM:
        everything = np.arange(len(features))
        scores = class_scores(features, known, labels, everything, len(images.class_names))
        return _Learned(scores[:size], scores[size:])
    run = cell / _NETWORKS / str(len(known))
    data = datasets.ImageDataset(
        config.dataset,
        images.class_names,
        datasets.Split(images.pool.images[known], labels),
        None,
        images.test,
    )
    learners.learn(config, data, run, seed=seed, before=None if before is None else before.run)
    scores, inner = learners.answers(run, images.everything)
    return _Learned(scores[:size], scores[size:], inner[:size], run)


def _choose(
    strategy: str,
    labels: np.ndarray,
    learned: _Learned | None,
    features: np.ndarray,
    count: int,
    seed: int,
) -> np.ndarray:
    """The images to be labelled next; before there is a model, by chance if scores are needed."""
    if learned is None and strategies.needs_scores(strategy):
        strategy = "random"
    scores = None if learned is None else learned.scores
    if learned is not None and learned.features is not None:
        features = learned.features
    candidates = Candidates(labels, scores=scores, features=features)
    # A seed for each round: a random order goes on, and doesn't begin again.
    drawn = int(np.random.SeedSequence([seed, int((labels >= 0).sum())]).generate_state(1)[0])
    return strategies.get(strategy)(candidates, count, drawn % 2**31)


def _annotate(
    pool: Pool, chosen: np.ndarray, images: _Images, label_noise: float, seed: int
) -> None:
    """Labels images as a person would who errs now and then."""
    clicks = []
    for image in chosen:
        label, generator = images.pool.labels[image], np.random.default_rng([seed, int(image)])
        if generator.random() < label_noise:
            label = (label + generator.integers(1, len(images.class_names))) % len(
                images.class_names
            )
        name = images.class_names[label]
        clicks.append(Click(f"image-{image}", LABEL, "simulated", int(image), name))
    pool.record(clicks)


def _labels(pool: Pool, images: _Images) -> np.ndarray:
    labels = np.full(len(images.pool), NO_LABEL)
    for image, name in pool.labels().items():
        labels[image] = images.class_names.index(name)
    return labels


def _first(pool: Pool, count: int) -> np.ndarray:
    """The first images that were labelled, in this order."""
    return np.array([int(str(row["image"])) for row in pool.log()[:count]])


def _accuracy(learned: _Learned, images: _Images) -> float:
    return float(np.mean(learned.test_scores.argmax(axis=1) == images.test.labels))


def _load(config: SimulationOptions) -> _Images:
    """The first so many images of the seeded training set, and of the test set."""
    data = datasets.load(config.dataset, data_dir=config.data_dir, seed=config.seed)
    size = min(config.pool_size, len(data.train))
    if size < config.budgets[-1]:
        raise UsageError(
            f"Expected --budgets of at most {size}, as many images as {config.dataset} has for the "
            f"pool. Received: {config.budgets[-1]}"
        )
    pool = sampling.subset(data.train, size, seed=config.seed)
    test = data.test.take(np.arange(min(config.test_size, len(data.test))))
    return _Images(pool, test, data.class_names)


def _cell(folder: pathlib.Path, strategy: str, seed: int) -> pathlib.Path:
    return folder / "cells" / f"{strategy}-{seed}"


def _rows(cell: pathlib.Path) -> list[dict[str, Any]]:
    return read_rounds(cell / "rounds.json", _COLUMNS)


def _is_done(config: SimulationOptions, folder: pathlib.Path, strategy: str, seed: int) -> bool:
    rows = _rows(_cell(folder, strategy, seed))
    return len(rows) == (1 if strategy == _FULL else len(config.budgets))


def labels_needed(budgets: np.ndarray, accuracies: np.ndarray, target: float) -> float | None:
    """Labels at which a curve first reaches an accuracy, on a line between two points.

    Returns:
        The number, or None where it isn't reached.

    >>> labels_needed(np.array([100, 200]), np.array([0.5, 0.75]), 0.625)
    150.0
    """
    above = np.flatnonzero(accuracies >= target)
    if not len(above):
        return None
    place = int(above[0])
    if place == 0:
        return float(budgets[0])
    share = (target - accuracies[place - 1]) / (accuracies[place] - accuracies[place - 1])
    return float(budgets[place - 1] + share * (budgets[place] - budgets[place - 1]))


def _write_results(
    config: SimulationOptions, folder: pathlib.Path, cells: list[tuple[str, int]]
) -> list[dict[str, Any]]:
    rows = [row for cell in cells for row in _rows(_cell(folder, *cell))]
    files.write_csv(folder / "rounds.csv", rows)
    full = rows[0]["accuracy"]
    curves = {
        strategy: np.array([row["accuracy"] for row in rows if row["strategy"] == strategy])
        .reshape(-1, len(config.budgets))
        for strategy in config.strategies
    }  # fmt: skip
    table = [
        {
            "strategy": name,
            "labels": budget,
            "accuracy": float(values.mean()),
            "standard_deviation": float(values.std()),
        }
        for name, curve in curves.items()
        for budget, values in zip(config.budgets, curve.T, strict=True)
    ]
    files.write_csv(folder / "table.csv", table)
    budgets = np.array(config.budgets)
    needed: list[dict[str, Any]] = []
    for name, curve in curves.items():
        of_round = [row["seconds"] for row in rows if row["strategy"] == name]
        needed.append(
            {
                "strategy": name,
                **{
                    f"labels_{share:.0%}".rstrip("%"): labels_needed(
                        budgets, curve.mean(axis=0), share * full
                    )
                    for share in _SHARES
                },
                "seconds_a_round": max(of_round),
            }
        )
    files.write_csv(folder / "labels_needed.csv", needed)
    figure = plots.label_efficiency(budgets, curves, full)
    plots.save(figure, folder / "figures" / "accuracy.png")
    return needed
