"""What a program leaves in its folder, without what differs between any two calls."""

import csv
import hashlib
import json
import pathlib
import re
from typing import Any

import numpy as np

from tfcaps import files
from tfcaps.training import checkpoints

# Columns and entries that measure time, or the machine.
_MEASURED = re.compile(r"second|milli|(^|_)ms|time|megabytes|peak|memory|date|created|hours")
_TABLES, _DESCRIPTIONS = (".csv",), ("results.json", "outcome.json", "architecture.json")


def outcome(folder: pathlib.Path) -> dict[str, Any]:
    """All numbers that a program has left, by where they stand.

    Networks are told by their weights and the state of their optimizer, exports by the values of
    their variables, tables and results by all that measures no time.

    Args:
        folder: its `--log_dir`.
    """
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        name = str(path.relative_to(folder))
        if path.name.startswith(files._PREFIX):
            found[name] = "unfinished"
        elif path.suffix == ".keras":
            found[name] = _weights(path)
        elif path.suffix in _TABLES:
            found[name] = _table(path)
        elif path.name in _DESCRIPTIONS:
            found[name] = _untimed(json.loads(path.read_text()))
        elif path.name.startswith("variables.data"):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _weights(path: pathlib.Path) -> str:
    model = checkpoints.load(path)
    if model is None:
        return "damaged"
    optimizer = getattr(model, "optimizer", None)
    state = optimizer.variables if optimizer else []
    arrays = [*model.get_weights(), *(np.asarray(variable) for variable in state)]
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def _table(path: pathlib.Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [_untimed(row) for row in csv.DictReader(file)]


def _untimed(content: Any) -> Any:
    if isinstance(content, dict):
        return {
            name: _untimed(value)
            for name, value in content.items()
            if not _MEASURED.search(str(name))
        }
    return [_untimed(value) for value in content] if isinstance(content, list) else content
