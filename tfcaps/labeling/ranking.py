"""What happens in the process beside the page: images are prepared, models learn, a queue comes."""

import contextlib
import hashlib
import io
import json
import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np

from tfcaps import datasets, files
from tfcaps.labeling import learners, networks, strategies
from tfcaps.labeling.candidates import NO_LABEL, Candidates
from tfcaps.labeling.classifiers import class_scores, suspicious
from tfcaps.labeling.configuration import LabelingOptions
from tfcaps.labeling.features import Extractor, pixel_features
from tfcaps.labeling.image_files import (
    COMPARED,
    difference_hash,
    fingerprint,
    fingerprints,
    near_duplicates,
    read_stretched,
    thumbnail,
)
from tfcaps.labeling.stopping import accuracy_bounds

_QUEUE = 500  # images that are put in order; the others follow as they are
LISTED = 60  # of suspicious labels, and of what else is to be looked at again
_NICENESS = 10
_DIGITS = 16  # of what a round's network is known by
_THUMBNAILS = "thumbnails"


Result = TypeVar("Result")


class Prepared(NamedTuple):
    """What is known of all images once they were looked at.

    Args:
        unreadable: the images that can't be read.
        duplicates: groups of near-duplicates.
    """

    unreadable: list[int]
    duplicates: list[list[int]]


class Ranking(NamedTuple):
    """What a round gives.

    Args:
        order: images, the most informative one first.
        guesses: the class of each image, by number; -1: there is no model yet.
        correct, checked: of labels on images drawn at random: how many there are, and how many of
            them a model said that learned from the other labels.
        suspicious: labelled images whose label such a model contradicts.
    """

    order: list[int]
    guesses: list[int]
    correct: int
    checked: int
    suspicious: list[int]

    @property
    def bounds(self) -> tuple[float, float]:
        """Of the accuracy, see `accuracy_bounds`."""
        return accuracy_bounds(self.correct, self.checked)


def thumbnail_file(folder: str | os.PathLike, image: int) -> pathlib.Path:
    """Where the scaled image of a number lies in a labeling's folder."""
    return pathlib.Path(folder) / _THUMBNAILS / f"{image}.jpg"


def give_way(function: Callable[..., Result], *arguments: object) -> Result:
    """Calls a function, in a process of its own, after all that a person waits for."""
    os.nice(_NICENESS)
    return function(*arguments)


def prepare(
    folder: str,
    root: str,
    names: dict[int, str],
    features_path: str | None,
    keeps_images: bool = False,
) -> Prepared:
    """Scales all images, finds near-duplicates, and writes what ranking reads of them.

    What an earlier call found of the same files is taken as it is, unless some couldn't be read.

    Args:
        folder: of the labeling.
        root: of the images.
        names: of the images, by number.
        features_path: see `Extractor`; None: principal components of pixels.
        keeps_images: whether a network is to learn from small images, which are written, too.
    """
    numbers, unreadable = sorted(names), []
    key = _key(root, names, features_path)
    earlier = files.read_json(_prepared_file(folder))
    wanted = [_features_file(folder), *([_images_file(folder)] if keeps_images else [])]
    is_written = all(path.exists() for path in wanted)
    if is_written and isinstance(earlier, dict) and earlier.get("key") == key:
        return Prepared([], earlier["duplicates"])
    images = np.zeros((len(numbers), COMPARED, COMPARED, 3), np.uint8)
    for place, number in enumerate(numbers):
        target = thumbnail(pathlib.Path(root, names[number]), thumbnail_file(folder, number))
        if target is None:
            unreadable.append(number)
        else:
            images[place] = read_stretched(target, COMPARED, COMPARED)
    lost = set(unreadable)

    pixels = pixel_features(images)
    if features_path is None:
        features = pixels
    else:
        extractor = Extractor(features_path)
        missing = np.zeros((*extractor.size, 3), np.uint8)
        features = extractor.features(
            missing if n in lost else read_stretched(thumbnail_file(folder, n), *extractor.size)
            for n in numbers
        )
    _prepared_file(folder).unlink(missing_ok=True)  # it goes with the features
    with files.replacing(_features_file(folder)) as temporary:
        np.savez(temporary, numbers=np.array(numbers), features=features, pixels=pixels)
    _images_file(folder).unlink(missing_ok=True)  # of other files, perhaps
    if keeps_images:
        with files.replacing(_images_file(folder)) as temporary, open(temporary, "wb") as file:
            np.save(file, images)
    learners.forget_others(_rounds_folder(folder), ())
    hashes = np.array([difference_hash(image) for image in images], np.uint64)
    groups = [[numbers[place] for place in group] for group in near_duplicates(hashes, images)]
    groups = [[n for n in group if n not in lost] for group in groups]
    groups = [group for group in groups if len(group) > 1]
    if not unreadable:
        files.write_json(_prepared_file(folder), {"key": key, "duplicates": groups})
    return Prepared(unreadable, groups)


def rank(
    config: LabelingOptions, labels: dict[int, int], drawn: list[int], left: list[int]
) -> Ranking:
    """Learns from the labels, and puts the images that are left in order.

    Args:
        config: of the labeling.
        labels: class by image.
        drawn: labelled images that were drawn at random.
        left: images that may be asked for.
    """
    stored = files.read_arrays(_features_file(config.log_dir), ("numbers", "features", "pixels"))
    numbers, features = stored["numbers"], stored["features"]
    place = {int(number): index for index, number in enumerate(numbers)}
    known = np.full(len(numbers), NO_LABEL)
    for image, label in labels.items():
        if image in place:
            known[place[image]] = label
    available = np.zeros(len(numbers), bool)
    available[[place[image] for image in left if image in place]] = True
    labelled = np.flatnonzero(known != NO_LABEL)
    checked = np.array([place[image] for image in drawn if image in place], np.int64)
    learned = _learn(config, features, known, checked)
    name = config.strategy
    if learned is None and strategies.needs_scores(name):
        name = strategies.DEFAULT
    scores, inner = (None, features) if learned is None else (learned.scores, learned.features)
    chosen = strategies.get(name)(Candidates(known, available, scores, inner), _QUEUE, len(labels))
    # A network that was trained here has learned the wrong labels, too.
    told = features if config.features else stored["pixels"]
    doubted = suspicious(told[labelled], known[labelled], len(config.classes))[:LISTED]
    return Ranking(
        order=numbers[chosen].tolist(),
        guesses=[] if scores is None else scores.argmax(axis=1).tolist(),
        correct=0 if learned is None else learned.correct,
        checked=0 if learned is None else learned.checked,
        suspicious=numbers[labelled[doubted]].tolist(),
    )


class _Learned(NamedTuple):
    """What a round's model gives: scores and features of all images, and how right it is."""

    scores: np.ndarray
    features: np.ndarray
    correct: int = 0
    checked: int = 0


def _learn(
    config: LabelingOptions, features: np.ndarray, known: np.ndarray, drawn: np.ndarray
) -> _Learned | None:
    """What is learned from the labels; None where they are of one class only.

    How right it is says a model that didn't learn from the images drawn at random.
    """
    labelled = np.flatnonzero(known != NO_LABEL)
    others = np.setdiff1d(labelled, drawn)
    if config.network != networks.SVM:
        return _network(config, known, others, drawn) if _several(known[others]) else None
    if not _several(known[labelled]):
        return None
    classes, everything = len(config.classes), np.arange(len(features))
    scores = class_scores(features, labelled, known[labelled], everything, classes)
    if not len(drawn) or not _several(known[others]):
        return _Learned(scores, features)
    unseen = class_scores(features, others, known[others], drawn, classes)
    return _Learned(scores, features, _count_correct(unseen, known[drawn]), len(drawn))


def _network(
    config: LabelingOptions, known: np.ndarray, learned: np.ndarray, drawn: np.ndarray
) -> _Learned:
    """A network that learns from some images, and is checked by those that were drawn.

    A second one that learns from all would take as long once more.
    """
    images = np.load(_images_file(config.log_dir), mmap_mode="r")
    train, test = (datasets.Split(images[rows], known[rows]) for rows in (learned, drawn))
    data = datasets.ImageDataset("labeling", config.classes, train, None, test)
    asked = (config.epochs, config.steps_per_epoch, config.warm_start)
    told = json.dumps([asked, learned.tolist(), known[learned].tolist()])
    root = _rounds_folder(config.log_dir) / config.network
    run = root / hashlib.sha256(told.encode()).hexdigest()[:_DIGITS]
    before = learners.newest(root)
    with contextlib.redirect_stdout(io.StringIO()):  # whoever labels has a page, and no epochs
        learners.learn(config, data, run, before=before)
    learners.forget_others(root, (before, run))
    scores, features = learners.answers(run, images)
    correct = _count_correct(scores[drawn], known[drawn])
    return _Learned(scores, features, correct, len(drawn))


def _several(labels: np.ndarray) -> bool:
    return len(np.unique(labels)) > 1


def _count_correct(scores: np.ndarray, labels: np.ndarray) -> int:
    return int(np.sum(scores.argmax(axis=1) == labels))


def _features_file(folder: str | os.PathLike) -> pathlib.Path:
    return pathlib.Path(folder) / "features.npz"


def _images_file(folder: str | os.PathLike) -> pathlib.Path:
    """Of pixels, in the order of the features' numbers; those that can't be read are black."""
    return pathlib.Path(folder) / "images.npy"


def _rounds_folder(folder: str | os.PathLike) -> pathlib.Path:
    """Of the rounds' networks, by their kind; they learned from the files that were prepared."""
    return pathlib.Path(folder) / "rounds"


def _prepared_file(folder: str | os.PathLike) -> pathlib.Path:
    return pathlib.Path(folder) / "prepared.json"


def _key(root: str, names: dict[int, str], features_path: str | None) -> str:
    """What features depend on: images, and what extracts them."""
    versions = fingerprints(root, names.values())
    images = [(number, name, versions[name]) for number, name in sorted(names.items())]
    asked = json.dumps([images, features_path, features_path and fingerprint(features_path)])
    return hashlib.sha256(asked.encode("utf-8", "surrogateescape")).hexdigest()
