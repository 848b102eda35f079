"""What the rounds of learning gave, as it is kept in a file."""

import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from tfcaps import files
from tfcaps.errors import UsageError


def read_rounds(path: str | os.PathLike, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a file of rounds; none where there is no file.

    Args:
        path: of a JSON file.
        columns: what each row has: numbers, or a text as `strategy`.

    Raises:
        UsageError: the file has something else.
    """
    if not pathlib.Path(path).exists():
        return []
    rows = files.read_json(path)
    if isinstance(rows, list) and all(_is_row(row, columns) for row in rows):
        return rows
    raise UsageError(
        f"Expected a file of rounds with {', '.join(columns)}. Received: {path}, which is damaged; "
        "without it, they are computed again"
    )


def _is_row(row: Any, columns: Sequence[str]) -> bool:
    if not isinstance(row, dict) or not row.keys() >= set(columns):
        return False
    return all(
        isinstance(row[name], str) if name == "strategy" else _is_number(row[name])
        for name in columns
    )


def _is_number(value: Any) -> bool:
    # An integer may be larger than any number that is reckoned with.
    return type(value) in (int, float) and abs(value) <= sys.float_info.max
