"""What two calls of a program are told apart by."""

import keras
import numpy as np
import pytest

from tests.chaos.outcome import outcome
from tfcaps import files


def leave(folder, *, weight=1.0, accuracy=0.5, seconds=1.0):
    """A folder with something of each kind."""
    folder.mkdir()
    inputs = keras.Input((1,))
    layer = keras.layers.Dense(1, use_bias=False)
    model = keras.Model(inputs, layer(inputs))
    layer.kernel.assign([[weight]])
    model.save(folder / "epoch-1.keras")
    files.write_csv(folder / "metrics.csv", [{"accuracy": accuracy, "seconds": seconds}])
    files.write_json(folder / "results.json", {"a": [{"ms_per_image": seconds, "b": accuracy}]})
    return outcome(folder)


def test_time_does_not_count(tmp_path):
    first = leave(tmp_path / "first")
    assert first == leave(tmp_path / "second", seconds=2.0)
    assert set(first) == {"epoch-1.keras", "metrics.csv", "results.json"}
    assert first["metrics.csv"] == [{"accuracy": "0.5"}]
    assert first["results.json"] == {"a": [{"b": 0.5}]}


@pytest.mark.parametrize(
    ("change", "where"),
    [({"weight": np.nextafter(1.0, 2.0, dtype="float32")}, ["epoch-1.keras"]),
     ({"accuracy": 0.51}, ["metrics.csv", "results.json"])],
)  # fmt: skip
def test_each_number_counts(change, where, tmp_path):
    first, second = leave(tmp_path / "first"), leave(tmp_path / "second", **change)
    assert [name for name in first if first[name] != second[name]] == where


def test_what_is_left_half_written_is_told(tmp_path):
    first = leave(tmp_path / "first")
    (tmp_path / "first" / ".writing-x.csv").touch()
    assert outcome(tmp_path / "first") == {**first, ".writing-x.csv": "unfinished"}
