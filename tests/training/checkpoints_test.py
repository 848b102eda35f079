"""Checkpoints that come and go, and what a damaged one does."""

import errno
import json
import os
import zipfile

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


def replaced_parts(path, parts):
    """Replaces parts of an archive, which stays a valid one; None takes a part out."""
    with zipfile.ZipFile(path) as archive:
        known = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**known, **parts}.items():
            if content is not None:
                archive.writestr(name, content)


def changed_layer(path, changes):
    """Makes another layer of the network's one."""
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    config["config"]["layers"][1] |= changes
    replaced_parts(path, {"config.json": json.dumps(config).encode()})


def patched(path, offset, value):
    """Changes a byte of the archive's directory."""
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + offset] = value
    path.write_bytes(content)


LAMBDA = {"class_name": "__lambda__", "config": {"code": "4w==", "defaults": None, "closure": None}}
FOREIGN = {
    "unknown_class": {"class_name": "Nobody"},
    "unknown_module": {"module": "nobody", "registered_name": "x>Y", "class_name": "Y"},
    "lambda": {"class_name": "Lambda", "config": {"name": "f", "function": LAMBDA}},
    "command": {"module": "os", "class_name": "system", "config": "touch executed"},
    "other_weights": {"config": {"units": 3, "name": "dense"}},
    "no_config": {"parts": {"config.json": None}},
    "config_of_bytes": {"parts": {"config.json": b"\xff"}},
    "config_of_a_list": {"parts": {"config.json": b"[]"}},
    "no_weights": {"parts": {"model.weights.h5": None}},
    "weights_of_text": {"parts": {"model.weights.h5": b"weights"}},
}


@pytest.mark.parametrize("name", [*FOREIGN, "encrypted", "compressed_otherwise"])
def test_archives_that_are_whole_but_foreign(tmp_path, capsys, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for epoch in (1, 2):
        save(tmp_path, epoch)
    path = tmp_path / "epoch-0002.keras"
    if name == "encrypted":
        patched(path, 8, 1)
    elif name == "compressed_otherwise":
        patched(path, 10, 99)
    elif "parts" in FOREIGN[name]:
        replaced_parts(path, FOREIGN[name]["parts"])
    else:
        changed_layer(path, FOREIGN[name])
    model, epoch = checkpoints.restore(tmp_path)
    assert (value_of(model), epoch) == (1.0, 1)
    assert f"{path} is damaged" in capsys.readouterr().err
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["epoch-best.keras", "epoch-².keras", "epoch-0009 copy.keras"])
def test_files_of_other_names(tmp_path, name):
    save(tmp_path, 1)
    (tmp_path / name).write_bytes((tmp_path / "epoch-0001.keras").read_bytes())
    (tmp_path / "epoch-0007.keras").mkdir()
    assert checkpoints.restore(tmp_path)[1] == 1
    assert checkpoints.newest(tmp_path).name == "epoch-0001.keras"


def test_what_cannot_be_read_is_not_damaged(tmp_path, monkeypatch):
    for epoch in (1, 2):
        save(tmp_path, epoch)

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "?")

    monkeypatch.setattr(zipfile, "ZipFile", refuse)
    with pytest.raises(UsageError) as caught:
        checkpoints.restore(tmp_path)
    assert str(caught.value) == f"Cannot read {tmp_path}/epoch-0002.keras: Permission denied"


def test_too_little_memory_is_no_damage(tmp_path, monkeypatch):
    save(tmp_path, 1)

    def fill(*_, **__):
        raise MemoryError

    monkeypatch.setattr(keras.models, "load_model", fill)
    with pytest.raises(MemoryError):
        checkpoints.restore(tmp_path)


def test_the_newest_is_that_of_the_last_epoch_whatever_the_clock_says(tmp_path):
    for epoch in (9, 10, 10_000):
        path = tmp_path / f"epoch-{epoch:04d}.keras"
        path.touch()
        os.utime(path, (20_000 - epoch, 20_000 - epoch))  # set back after each
    assert checkpoints.newest(tmp_path).name == "epoch-10000.keras"
    assert [path.stem for path in checkpoints.needed(tmp_path)] == ["epoch-0010", "epoch-10000"]
