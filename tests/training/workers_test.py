"""Two processes on loopback ports, which are to a training what two machines are."""

import csv
import pathlib

import numpy as np
import pytest

from tests import clusters, networks, runs
from tfcaps import training
from tfcaps.training import checkpoints

BLOCKS = {
    **{"blocks": (1,), "widths": (2,), "stem": "cifar", "image_size": 8, "test": False},
    **{"train_examples": 160, "validation_fraction": 0.5, "augmentation": "none"},
    **{"recipe": "fast", "precision": "float32"},  # whose optimizer is the smallest to be traced
    **{"conflicting_samples_size": 40, "batch_size": 40, "epochs": 1},
}

FOUR_DEVICES = """
import tensorflow as tf
from tfcaps.training import devices

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 4)
four = tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(4)])
devices.strategy = lambda: four
"""

BOTH_KINDS = f"""
training.train(runs.config(folder / "capsules", epochs=1))
training.train(training.BlockNetworkConfig(log_dir=str(folder / "blocks"), **{BLOCKS}))
"""

# Worker 1 ends in the second epoch, when the other one has done the first for sure.
KILLED = """
def end(self, batch, logs=None):
    if (self._epoch, batch, here.index) == (2, 0, 1):
        os.kill(os.getpid(), signal.SIGKILL)

callbacks.StopAtNaN.on_train_batch_end = end
sys.argv[1:] = []
program.run(lambda: training.train(runs.plain(folder)))
"""

# A machine of which nothing is heard any more, in the second epoch.
CUT_OFF = f"""
import subprocess

def cut(self, batch, logs=None):
    if (self._epoch, batch, here.index) == (2, 0, 1):
        subprocess.run({networks.CUT}, check=True)

callbacks.StopAtNaN.on_train_batch_end = cut
sys.argv[1:] = []
program.run(lambda: training.train(runs.plain(folder)))
"""

GOES_ON = """
training.train(runs.plain(folder, resume=True))
"""

RESUMED = """
training.train(runs.plain(folder, resume=True))
for changes in ({}, {"jit": "on"}, {"seed": here.index}, {"batch_size": 33}):
    try:
        training.train(runs.plain(folder if not changes else folder / "other", **changes))
    except UsageError as error:
        print(error)
print("temporary files:", *pathlib.Path(sys.argv[2]).iterdir())
"""


@pytest.fixture(scope="module")
def blocks_run(tmp_path_factory):
    """A training of one process, with batch normalization and bundle entropy."""
    config = training.BlockNetworkConfig(
        log_dir=str(tmp_path_factory.mktemp("blocks") / "run"), **BLOCKS
    )
    training.train(config)
    return pathlib.Path(config.log_dir)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where processes have their temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def finish(processes) -> list[tuple[int, str, str]]:
    """Waits for all of them."""
    return [runs.finish(process) for process in processes]


def rows(run: pathlib.Path) -> list[dict[str, float]]:
    """What was measured, but for how long it took."""
    with (run / "metrics.csv").open(newline="") as file:
        return [
            {name: float(value) for name, value in row.items() if name != "seconds"}
            for row in csv.DictReader(file)
        ]


def weights(run: pathlib.Path, epoch: int) -> list[np.ndarray]:
    return checkpoints.load(run / "checkpoints" / f"epoch-{epoch:04d}.keras").get_weights()


def expect_same(one: pathlib.Path, several: pathlib.Path) -> None:
    """Compares what several came to with the same epochs of one."""
    found = rows(several)
    for expected, row in zip(rows(one), found, strict=False):
        assert row == pytest.approx(expected, rel=1e-4, abs=1e-5)
    both = (weights(run, len(found)) for run in (one, several))
    for expected, values in zip(*both, strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "code"), [(2, BOTH_KINDS), (1, FOUR_DEVICES + BOTH_KINDS)], ids=["workers", "devices"]
)
def test_several_come_to_the_numbers_of_one(size, code, tmp_path, small_run, blocks_run):
    for returned, _, errors in finish(clusters.start(code, tmp_path, size=size)):
        assert returned == 0, errors
    expect_same(small_run, tmp_path / "run" / "capsules")
    expect_same(blocks_run, tmp_path / "run" / "blocks")
    assert not (tmp_path / "nothing").exists()


def test_a_worker_is_killed_and_all_go_on(tmp_path, plain_run, temporary):
    (code, output, errors), _ = finish(clusters.start(KILLED, tmp_path))
    assert code == 1, errors
    assert (
        "Expected all 2 workers to be there until the training ends. Received: the loss" in errors
    )
    assert "Traceback" not in errors
    assert checkpoints.newest(tmp_path / "run" / "checkpoints").name == "epoch-0001.keras"
    for left in temporary.iterdir():  # of the one that was killed
        left.rename(tmp_path / left.name)

    chief, worker = finish(clusters.start(RESUMED, tmp_path, temporary))
    assert chief[0] == worker[0] == 0, chief[2] + worker[2]
    assert "Resuming after epoch 1" in chief[1]
    expect_same(plain_run, tmp_path / "run")
    refusals = [
        "Expected --log_dir without a run, or --resume to go on with it",
        "Expected --jit to be auto or off where several machines share a training",
        "Expected the --seed of the first worker in all of them. Received: another one in worker 1",
        "Expected --batch_size to be a multiple of 2, the number of devices. Received: 33",
    ]
    for _, output, _ in (chief, worker):
        for refusal in refusals:
            assert refusal in output
    assert worker[1].endswith("temporary files:\n")
    assert len(worker[1].splitlines()) == len(refusals) + 1  # it says nothing of the training
    assert not (tmp_path / "nothing").exists()


def test_a_machine_is_cut_off_and_all_go_on(tmp_path, plain_run):
    """Each in a network of its own: nobody is told that the link is down."""
    if not networks.are_possible():
        pytest.skip("only root can make networks, by ip netns")
    with networks.two() as several:
        ended = finish(clusters.start(CUT_OFF, tmp_path, networks=several))
        assert [code for code, *_ in ended] == [1, 1], ended
        for _, output, errors in ended:
            assert "Expected all 2 workers to be there until the training ends" in errors
            assert "Traceback" not in errors + output
        assert checkpoints.newest(tmp_path / "run" / "checkpoints").name == "epoch-0001.keras"
        several.mend()
        for code, _, errors in finish(clusters.start(GOES_ON, tmp_path, networks=several)):
            assert code == 0, errors
    expect_same(plain_run, tmp_path / "run")
