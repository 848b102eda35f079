"""Names of the numbers that `fit` reports."""

from collections.abc import Mapping

# Keras puts the output's name in front where a model has several outputs.
_NAMES = {
    "lengths_accuracy": "accuracy",
    "lengths_loss": "margin_loss",
    "reconstruction_loss": "reconstruction_loss",
}


def readable(logs: Mapping[str, float] | None) -> dict[str, float]:
    """Renames Keras' logs, so that networks with and without decoder report the same columns.

    Example:

    >>> readable({"lengths_accuracy": 0.5, "val_lengths_loss": 2.0, "loss": 1.0})
    {'accuracy': 0.5, 'val_margin_loss': 2.0, 'loss': 1.0}
    """
    renamed = {}
    for name, value in (logs or {}).items():
        prefix = "val_" if name.startswith("val_") else ""
        own = name.removeprefix(prefix)
        renamed[prefix + _NAMES.get(own, own)] = float(value)
    return renamed
