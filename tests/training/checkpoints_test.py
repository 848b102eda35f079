"""Checkpoints that come and go, and what a damaged one does."""

import os

import keras
import numpy as np
import pytest

from tfcaps.errors import UsageError
from tfcaps.training import checkpoints


def network(value: float) -> keras.Model:
    """y = value · x."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.Adam(0.5), loss="mse")
    model.optimizer.build(model.trainable_variables)
    model.set_weights([np.array([[value]])])
    return model


def value_of(model: keras.Model) -> float:
    return model.get_weights()[0].item()


def save(folder, epoch, value=None, *, is_best=False, keep_all=False):
    value = float(epoch) if value is None else value
    checkpoints.save(folder, network(value), epoch, is_best=is_best, keep_all=keep_all)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_two_and_the_best_are_kept(tmp_path):
    for epoch in range(1, 5):
        save(tmp_path, epoch, is_best=epoch < 3)
    assert names(tmp_path) == ["best.keras", "epoch-0003.keras", "epoch-0004.keras"]
    assert value_of(checkpoints.best(tmp_path)) == 2.0
    model, epoch = checkpoints.restore(tmp_path)
    assert (value_of(model), epoch) == (4.0, 4)


def test_all_are_kept(tmp_path):
    for epoch in range(1, 5):
        save(tmp_path, epoch, keep_all=True)
    assert names(tmp_path) == [f"epoch-{epoch:04d}.keras" for epoch in range(1, 5)]


def test_without_links(tmp_path, monkeypatch):
    def no_links(*_):
        raise PermissionError

    monkeypatch.setattr(os, "link", no_links)
    save(tmp_path, 1, is_best=True)
    assert names(tmp_path) == ["best.keras", "epoch-0001.keras"]
    assert value_of(checkpoints.best(tmp_path)) == 1.0


def test_order_is_that_of_the_numbers(tmp_path):
    save(tmp_path, 9999)
    save(tmp_path, 10000)
    assert checkpoints.newest(tmp_path).name == "epoch-10000.keras"
    assert checkpoints.restore(tmp_path)[1] == 10000


def test_nothing_there(tmp_path):
    assert checkpoints.restore(tmp_path) == (None, 0)
    assert checkpoints.restore(tmp_path / "missing") == (None, 0)
    assert checkpoints.newest(tmp_path) is None
    assert checkpoints.best(tmp_path) is None


def test_the_optimizer_goes_on(tmp_path):
    x = np.ones((4, 1), "float32")
    uninterrupted = network(1.0)
    uninterrupted.train_on_batch(x, 5 * x)
    checkpoints.save(tmp_path, uninterrupted, 1, is_best=False, keep_all=False)
    uninterrupted.train_on_batch(x, -5 * x)

    resumed, _ = checkpoints.restore(tmp_path)
    resumed.train_on_batch(x, -5 * x)

    # A new Adam would make its first step, of exactly the learning rate, towards −5.
    assert value_of(resumed) == value_of(uninterrupted) > 1.0
    assert resumed.optimizer.iterations.numpy() == 2


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def empty(path):
    path.write_bytes(b"")


def flip_a_bit_of_the_weights(path):
    content = bytearray(path.read_bytes())
    # The HDF5 signature is the begin of the weights, the largest part.
    content[content.index(b"\x89HDF") + 600] ^= 1
    path.write_bytes(content)


each_damage = pytest.mark.parametrize("damage", [truncate, empty, flip_a_bit_of_the_weights])


@each_damage
def test_the_one_before_a_damaged_one(tmp_path, capsys, damage):
    for epoch in (1, 2, 3):
        save(tmp_path, epoch, keep_all=True)
    damage(tmp_path / "epoch-0003.keras")
    model, epoch = checkpoints.restore(tmp_path)
    assert (value_of(model), epoch) == (2.0, 2)
    assert capsys.readouterr().err == (
        f"{tmp_path}/epoch-0003.keras is damaged; going back to the checkpoint before it.\n"
    )
    assert len(names(tmp_path)) == 3


@each_damage
def test_all_damaged(tmp_path, damage):
    for epoch in (1, 2):
        save(tmp_path, epoch, keep_all=True)
        damage(tmp_path / f"epoch-{epoch:04d}.keras")
    with pytest.raises(UsageError) as caught:
        checkpoints.restore(tmp_path)
    assert str(caught.value) == (
        "Expected at least one undamaged checkpoint to resume from. "
        f"Received: epoch-0001.keras, epoch-0002.keras in {tmp_path}, all damaged"
    )
    assert len(names(tmp_path)) == 2


@pytest.mark.parametrize("is_best", [False, True])
def test_a_full_disk_leaves_the_earlier_ones_alone(tmp_path, monkeypatch, is_best):
    for epoch in (1, 2):
        save(tmp_path, epoch, is_best=True)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def write_a_part(_, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", write_a_part)
    with pytest.raises(OSError, match=r"epoch-0003.keras"):
        save(tmp_path, 3, is_best=is_best)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
