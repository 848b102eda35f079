"""What happens in the process beside the page: images are prepared, models learn, a queue comes."""

import hashlib
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np

from tfcaps import files
from tfcaps.labeling import strategies
from tfcaps.labeling.candidates import NO_LABEL, Candidates
from tfcaps.labeling.classifiers import class_scores, suspicious
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


def prepare(folder: str, root: str, names: dict[int, str], features_path: str | None) -> Prepared:
    """Scales all images, finds near-duplicates, and writes the features that ranking reads.

    What an earlier call found of the same files is taken as it is, unless some couldn't be read.

    Args:
        folder: of the labeling.
        root: of the images.
        names: of the images, by number.
        features_path: see `Extractor`; None: principal components of pixels.
    """
    numbers, unreadable = sorted(names), []
    key = _key(root, names, features_path)
    earlier = files.read_json(_prepared_file(folder))
    if isinstance(earlier, dict) and earlier.get("key") == key and _features_file(folder).exists():
        return Prepared([], earlier["duplicates"])
    images = np.zeros((len(numbers), COMPARED, COMPARED, 3), np.uint8)
    for place, number in enumerate(numbers):
        target = thumbnail(pathlib.Path(root, names[number]), thumbnail_file(folder, number))
        if target is None:
            unreadable.append(number)
        else:
            images[place] = read_stretched(target, COMPARED, COMPARED)
    lost = set(unreadable)

    if features_path is None:
        features = pixel_features(images)
    else:
        extractor = Extractor(features_path)
        missing = np.zeros((*extractor.size, 3), np.uint8)
        features = extractor.features(
            missing if n in lost else read_stretched(thumbnail_file(folder, n), *extractor.size)
            for n in numbers
        )
    _prepared_file(folder).unlink(missing_ok=True)  # it goes with the features
    with files.replacing(_features_file(folder)) as temporary:
        np.savez(temporary, numbers=np.array(numbers), features=features)
    hashes = np.array([difference_hash(image) for image in images], np.uint64)
    groups = [[numbers[place] for place in group] for group in near_duplicates(hashes, images)]
    groups = [[n for n in group if n not in lost] for group in groups]
    groups = [group for group in groups if len(group) > 1]
    if not unreadable:
        files.write_json(_prepared_file(folder), {"key": key, "duplicates": groups})
    return Prepared(unreadable, groups)


def rank(
    folder: str, labels: dict[int, int], drawn: list[int], left: list[int], choice: dict[str, Any]
) -> Ranking:
    """Learns from the labels, and puts the images that are left in order.

    Args:
        folder: of the labeling.
        labels: class by image.
        drawn: labelled images that were drawn at random.
        left: images that may be asked for.
        choice: `strategy`, number of `classes`, `seed`.
    """
    stored = files.read_arrays(_features_file(folder), ("numbers", "features"))
    numbers, features = stored["numbers"], stored["features"]
    place = {int(number): index for index, number in enumerate(numbers)}
    known = np.full(len(numbers), NO_LABEL)
    for image, label in labels.items():
        if image in place:
            known[place[image]] = label
    available = np.zeros(len(numbers), bool)
    available[[place[image] for image in left if image in place]] = True
    everything = np.arange(len(numbers))
    labelled = np.flatnonzero(known != NO_LABEL)
    classes = choice["classes"]
    scores = None
    if len(np.unique(known[labelled])) > 1:
        scores = class_scores(features, labelled, known[labelled], everything, classes)
    name = choice["strategy"]
    if scores is None and strategies.needs_scores(name):
        name = strategies.DEFAULT
    chosen = strategies.get(name)(
        Candidates(known, available, scores, features), _QUEUE, choice["seed"]
    )
    checked = np.array([place[image] for image in drawn if image in place], np.int64)
    correct, count = _checked(features, known, labelled, checked, classes)
    doubted = suspicious(features[labelled], known[labelled], classes)[:LISTED]
    return Ranking(
        order=numbers[chosen].tolist(),
        guesses=[] if scores is None else scores.argmax(axis=1).tolist(),
        correct=correct,
        checked=count,
        suspicious=numbers[labelled[doubted]].tolist(),
    )


def _checked(
    features: np.ndarray, known: np.ndarray, labelled: np.ndarray, drawn: np.ndarray, classes: int
) -> tuple[int, int]:
    """How many random images a model names right that learned from all other labels."""
    learned = np.setdiff1d(labelled, drawn)
    if not len(drawn) or len(np.unique(known[learned])) < 2:
        return 0, 0
    scores = class_scores(features, learned, known[learned], drawn, classes)
    return int(np.sum(scores.argmax(axis=1) == known[drawn])), len(drawn)


def _features_file(folder: str | os.PathLike) -> pathlib.Path:
    return pathlib.Path(folder) / "features.npz"


def _prepared_file(folder: str | os.PathLike) -> pathlib.Path:
    return pathlib.Path(folder) / "prepared.json"


def _key(root: str, names: dict[int, str], features_path: str | None) -> str:
    """What features depend on: images, and what extracts them."""
    versions = fingerprints(root, names.values())
    images = [(number, name, versions[name]) for number, name in sorted(names.items())]
    asked = json.dumps([images, features_path, features_path and fingerprint(features_path)])
    return hashlib.sha256(asked.encode("utf-8", "surrogateescape")).hexdigest()
