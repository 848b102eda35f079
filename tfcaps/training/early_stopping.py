"""When a training ends before its last epoch, and which of its epochs is the best one."""

from collections.abc import Sequence
from typing import Any

import keras

from tfcaps.training.run_directory import Row


def best(rows: Sequence[Row]) -> Row:
    """The epoch with the highest validation accuracy; the first one of several.

    Where there are no classes, that with the lowest validation loss.

    Args:
        rows: of metrics.csv, at least one, with `val_accuracy` or `val_loss`.

    Example:

    >>> best([{"epoch": epoch, "val_accuracy": a} for epoch, a in ((1, 0.5), (2, 0.7), (3, 0.7))])
    {'epoch': 2, 'val_accuracy': 0.7}
    """
    return max(rows, key=lambda row: (_quality(row), -row["epoch"]))


def _quality(row: Row) -> float:
    return row["val_accuracy"] if "val_accuracy" in row else -row["val_loss"]


def is_over(rows: Sequence[Row], patience: int) -> bool:
    """Whether the validation accuracy has not become better for `patience` epochs.

    Args:
        rows: of all epochs that there were, so that it is the same after a stop.
        patience: 0: this never ends a training.

    Example:

    >>> rows = [{"epoch": e, "val_accuracy": a} for e, a in ((1, 0.5), (2, 0.7), (3, 0.7))]
    >>> is_over(rows, patience=1), is_over(rows, patience=2), is_over(rows, patience=0)
    (True, False, False)
    """
    return bool(patience and rows) and rows[-1]["epoch"] - best(rows)["epoch"] >= patience


def tell(rows: Sequence[Row], patience: int) -> str:
    """The sentence about a training that is over."""
    return (
        f"Stopped after epoch {rows[-1]['epoch']:.0f}: the validation accuracy has not been better "
        f"than in epoch {best(rows)['epoch']:.0f} for --patience={patience} epochs."
    )


class EarlyStopping(keras.callbacks.Callback):
    """Ends `fit` before its last epoch where `is_over`.

    Args:
        recorder: has the rows of all epochs as `rows`, and is called before this one.
        patience: see `is_over`.
    """

    def __init__(self, recorder: Any, patience: int):
        super().__init__()
        self.recorder = recorder
        self.patience = patience

    def on_epoch_end(self, epoch, logs=None):
        is_last = epoch + 1 == self.params["epochs"]
        if not is_last and is_over(self.recorder.rows, self.patience):
            print(tell(self.recorder.rows, self.patience), flush=True)
            self.model.stop_training = True
