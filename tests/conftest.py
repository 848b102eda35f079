"""What holds for all tests, and trainings that several of them look at."""

import os
import pathlib

import pytest

# Before TensorFlow is imported: its notices on the machine's processor are no test output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@pytest.fixture(autouse=True)
def seeded():
    """Gives each test the same initial weights, whatever ran before it in its process."""
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture
def quick(monkeypatch):
    """Leaves out the pictures, which take most of a tiny training's time."""
    from tfcaps.training import CapsuleNetworkTask, loop

    monkeypatch.setattr(loop, "_write_figures", lambda *_: None)
    monkeypatch.setattr(CapsuleNetworkTask, "figures", lambda *_, **__: ({}, {}))


@pytest.fixture(scope="session")
def small_run(tmp_path_factory) -> pathlib.Path:
    """The directory of a finished training without decoder; tests change copies of it only."""
    return _train(tmp_path_factory.mktemp("small") / "run")


@pytest.fixture(scope="session")
def full_run(tmp_path_factory) -> pathlib.Path:
    """The directory of a finished training with decoder; tests change copies of it only."""
    folder = tmp_path_factory.mktemp("full") / "run"
    from tests import runs

    return _train(folder, **runs.FULL)


def _train(folder: pathlib.Path, **changes) -> pathlib.Path:
    from tests import runs
    from tfcaps import training

    training.train(runs.config(folder, **changes))
    return folder
