"""What holds for all tests, and trainings that several of them look at."""

import os
import pathlib

import pytest

# Before TensorFlow is imported: its notices on the machine's processor are no test output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@pytest.fixture(scope="session")
def small_run(tmp_path_factory) -> pathlib.Path:
    """The directory of a finished training without decoder; tests change copies of it only."""
    return _train(tmp_path_factory.mktemp("small") / "run")


@pytest.fixture(scope="session")
def full_run(tmp_path_factory) -> pathlib.Path:
    """The directory of a finished training with decoder; tests change copies of it only."""
    folder = tmp_path_factory.mktemp("full") / "run"
    return _train(folder, use_reconstruction=True, save_ckpts=False)


def _train(folder: pathlib.Path, **changes) -> pathlib.Path:
    from tests import runs
    from tfcaps import training

    training.train(runs.config(folder, **changes))
    return folder
