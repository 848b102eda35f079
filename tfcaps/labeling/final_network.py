"""The network that the labels are for, trained by the loop that all trainings go through."""

import os
import pathlib
from typing import Any

from tfcaps.errors import UsageError
from tfcaps.labeling.configuration import LabelingOptions
from tfcaps.labeling.exchange import there_of, write_labels
from tfcaps.labeling.networks import network_config
from tfcaps.labeling.pool import Snapshot

_FOLDER = "networks"
_LABELS, _RUN = "labels", "run"
# Some of the labels are test images, a fifth or those drawn, and a tenth of the others is held out.
_LEAST = 5
_BATCH = 32
# Few labels are gone through more often: an epoch of them has few steps.
_STEPS = 1000
_FEWEST_EPOCHS, _MOST_EPOCHS = 20, 100


def _expect_labels(config: LabelingOptions, known: Snapshot) -> None:
    """Checks that there is something to learn from.

    Raises:
        UsageError: fewer than two classes have labels, or one of those has fewer than five.
    """
    labels = list(known.labels.values())
    counts = {name: labels.count(name) for name in config.classes if name in labels}
    found = ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
    if len(counts) < 2 or min(counts.values()) < _LEAST:
        raise UsageError(
            f"Expected labels of at least two classes, and at least {_LEAST} of each, to train a "
            f"network. Received: {found}"
        )


def begin(config: LabelingOptions, known: Snapshot) -> pathlib.Path:
    """The folder of a training: the last one, if that was stopped, or a new one.

    It comes to lie in `LOG_DIR/networks/` under a number and the network's name, and gets labels/,
    as `--export` writes them, and run/.

    Raises:
        UsageError: as `_expect_labels`.
    """
    root = pathlib.Path(config.log_dir, _FOLDER)
    stopped = [path for path in _trainings(root, config.final_network) if not _is_done(path)]
    if stopped:
        return stopped[-1]
    _expect_labels(config, known)
    root.mkdir(exist_ok=True)
    number = 1 + max((_number(path) for path in root.iterdir()), default=0)
    folder = root / f"{number}-{config.final_network}"
    folder.mkdir()
    return folder


def write_data(config: LabelingOptions, known: Snapshot, folder: str | os.PathLike) -> None:
    """Writes what a training learns from, unless it has that of the time when it was begun.

    The images that were drawn at random are its test images, where there are some of each class:
    the others were asked for, and tell little of how right it is.

    Raises:
        UsageError: as `exchange.write_labels`.
    """
    target = pathlib.Path(folder, _LABELS)
    if not target.is_dir():
        there = there_of(known, config.images)
        drawn = {image for image in there if image in known.drawn}
        covers = {there[image] for image in drawn} == {there[i] for i in there.keys() - drawn}
        write_labels(known, config.images, target, drawn if covers else ())


def train(folder: str | os.PathLike, network: str) -> dict[str, Any]:
    """Trains from where it was stopped; figures and `serving/1` come to lie in `run/`.

    Args:
        folder: see `begin`, with its data.
        network: `convnet`, `resnet` or `capsnet`.

    Returns:
        The content of results.json.
    """
    from tfcaps import training

    classes = [path for path in _learned_folder(folder).iterdir() if path.is_dir()]
    config = network_config(
        network,
        len(classes),
        log_dir=str(run_folder(folder)),
        dataset=f"images:{_images_folder(folder)}",
        batch_size=_BATCH,
        epochs=_epochs(sum(len(list(path.iterdir())) for path in classes)),
        resume=True,
    )
    return training.train(config)


def run_folder(folder: str | os.PathLike) -> pathlib.Path:
    """The run directory of a training."""
    return pathlib.Path(folder, _RUN)


def learned(config: LabelingOptions, run: str | None) -> set[int]:
    """The images that a run of this labeling may have learned from; of any other none are known."""
    folder = pathlib.Path(run or "").resolve().parent
    if folder.parent != pathlib.Path(config.log_dir, _FOLDER).resolve():
        return set()
    return {_number(path) for path in _learned_folder(folder).glob("*/*")}


def _images_folder(folder: str | os.PathLike) -> pathlib.Path:
    return pathlib.Path(folder, _LABELS, "images")


def _learned_folder(folder: str | os.PathLike) -> pathlib.Path:
    """The class folders of what a training learns from."""
    images = _images_folder(folder)
    is_parted = (images / "train").is_dir() and (images / "test").is_dir()
    return images / "train" if is_parted else images


def _is_done(folder: str | os.PathLike) -> bool:
    """Whether a training is over."""
    return (run_folder(folder) / "results.json").exists()


def newest_run(config: LabelingOptions) -> str | None:
    """The run directory of the last training that is over; None: there is none."""
    root = pathlib.Path(config.log_dir, _FOLDER)
    done = [path for path in _trainings(root, "*") if _is_done(path)]
    return str(run_folder(done[-1])) if done else None


def progress(folder: str | os.PathLike) -> dict[str, int]:
    """Epochs that are done, and epochs in all: 0 as long as the run hasn't begun."""
    try:
        rows = (run_folder(folder) / "metrics.csv").read_text(encoding="utf-8").splitlines()
        flags = (run_folder(folder) / "flags.txt").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {"epochs_done": 0, "epochs": 0}
    return {
        "epochs_done": max(0, len(rows) - 1),
        "epochs": next(int(f.split("=")[1]) for f in flags if f.startswith("--epochs=")),
    }


def _epochs(images: int) -> int:
    """Enough for so many labelled images."""
    return min(max(_STEPS * _BATCH // max(images, 1), _FEWEST_EPOCHS), _MOST_EPOCHS)


def _trainings(root: pathlib.Path, network: str) -> list[pathlib.Path]:
    """Those of a network whose data are written, by number."""
    found = root.glob(f"[0-9]*-{network}")
    return sorted((path for path in found if (path / _LABELS).is_dir()), key=_number)


def _number(path: pathlib.Path) -> int:
    number = path.name.split("-")[0]
    return int(number) if number.isascii() and number.isdigit() else 0
