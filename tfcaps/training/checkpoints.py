"""Checkpoints: one file an epoch, with weights and optimizer state, whole or not there."""

import os
import pathlib
import re
import shutil
import sys
import zipfile
from typing import Any

import keras
import tensorflow as tf

from tfcaps import files
from tfcaps.errors import UsageError

_KEPT = 2  # the last one, and the one before in case that the last one is damaged
_BEST = "best.keras"
_NAME = re.compile(r"epoch-[0-9]+\.keras")


def save(folder: pathlib.Path, model: keras.Model, epoch: int, *, is_best: bool, keep_all: bool):
    """Saves the model after `epoch` epochs, and drops checkpoints that aren't needed any more.

    The epoch's own file comes last: it marks the epoch as done.
    """
    with files.replacing(folder / f"epoch-{epoch:04d}.keras") as temporary:
        model.save(temporary)
        if is_best:
            with files.replacing(folder / _BEST) as best_temporary:
                _link_or_copy(temporary, best_temporary)
    if not keep_all:
        for path in _epochs(folder)[:-_KEPT]:
            path.unlink()


def restore(folder: pathlib.Path) -> tuple[keras.Model | None, int]:
    """Loads the newest undamaged checkpoint.

    Returns:
        The model, compiled and with its optimizer's state, and the number of epochs it was
        trained; (None, 0) where there is no checkpoint.

    Raises:
        UsageError: there are checkpoints, but all of them are damaged.
    """
    paths = _epochs(folder)
    for path in reversed(paths):
        model = load(path)
        if model is not None:
            return model, _epoch_of(path)
        print(f"{path} is damaged; going back to the checkpoint before it.", file=sys.stderr)
    if paths:
        raise UsageError(
            "Expected at least one undamaged checkpoint to resume from. "
            f"Received: {', '.join(path.name for path in paths)} in {folder}, all damaged"
        )
    return None, 0


def best(folder: pathlib.Path) -> keras.Model | None:
    """Loads the checkpoint with the best validation accuracy, not compiled; None without one."""
    path = folder / _BEST
    if not path.exists():
        return None
    model = load(path, compile=False)
    if model is None:
        print(f"{path} is damaged; its test accuracy stays unknown.", file=sys.stderr)
    return model


def newest(folder: pathlib.Path) -> pathlib.Path | None:
    """The path of the newest checkpoint."""
    return max(_epochs(folder), default=None, key=_epoch_of)


def needed(folder: pathlib.Path) -> list[pathlib.Path]:
    """What a training goes on with, and chooses from: the newest checkpoints and the best one."""
    return [*_epochs(folder)[-_KEPT:], *folder.glob(_BEST)]


def _epoch_of(path: pathlib.Path) -> int:
    """How many epochs a checkpoint's model was trained."""
    return int(path.stem.removeprefix("epoch-"))


def _link_or_copy(source: pathlib.Path, target: pathlib.Path) -> None:
    target.unlink()
    try:
        os.link(source, target)
    except OSError:  # not every file system has links
        shutil.copyfile(source, target)


def _epochs(folder: pathlib.Path) -> list[pathlib.Path]:
    found = [path for path in folder.glob("epoch-*.keras") if _NAME.fullmatch(path.name)]
    return sorted(filter(pathlib.Path.is_file, found), key=_epoch_of)


def load(path: pathlib.Path, **arguments: Any) -> keras.Model | None:
    """Loads a saved network; nothing in the file is executed.

    Args:
        path: of the file.
        **arguments: as `keras.models.load_model` takes them.

    Returns:
        The network; None where the file is damaged, or not what this package can have saved.

    Raises:
        UsageError: the file can't be read, see `files.reading`.
        MemoryError, tf.errors.ResourceExhaustedError: there is too little memory for it.
    """
    try:
        with files.reading(path):
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:
                    return None
            return keras.models.load_model(path, safe_mode=True, **arguments)
    except (MemoryError, tf.errors.ResourceExhaustedError):
        raise
    except UsageError as error:
        if isinstance(error.__cause__, OSError):  # it can't be read
            raise
        return None
    except Exception:  # whatever zlib, HDF5, JSON and Keras make of foreign content
        return None
