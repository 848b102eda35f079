"""Tiny data sets in tensorflow_datasets' own format, written by its own builders."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import tensorflow_datasets as tfds


@pytest.fixture
def prepare(tmp_path: Path) -> Callable[..., Path]:
    """Writes the given splits as the real builder of a data set would; returns its data_dir."""

    def write(
        name: str, *, label_names: list[str] | None = None, **splits: Iterable[dict[str, Any]]
    ) -> Path:
        builder = tfds.builder(name, data_dir=tmp_path)
        if label_names:
            # Some builders learn them from what they download.
            builder.info.features["label"].names = label_names
        builder._split_generators = lambda _: {
            split: list(enumerate(examples)) for split, examples in splits.items()
        }
        builder.download_and_prepare()
        return tmp_path

    return write


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server can be reached: all traffic goes to a proxy that isn't there."""
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    for scheme in ("http", "https"):
        # Port 1 is reserved, and nothing listens there.
        monkeypatch.setenv(f"{scheme}_proxy", "http://127.0.0.1:1")
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", "http://127.0.0.1:1")
