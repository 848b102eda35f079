"""Trainings that several tests look at."""

import pathlib

import pytest
from tensorflow.python.framework import config as tensorflow_config

from tests import runs
from tfcaps import training


@pytest.fixture(autouse=True)
def _own_determinism():
    """`train` asks for it in the whole process; TensorFlow's public names can't take it back."""
    yield
    tensorflow_config.disable_op_determinism()


@pytest.fixture(scope="session")
def small_run(tmp_path_factory) -> pathlib.Path:
    """The directory of a finished training without decoder; tests change copies of it only."""
    folder = tmp_path_factory.mktemp("small") / "run"
    training.train(runs.config(folder))
    return folder


@pytest.fixture(scope="session")
def full_run(tmp_path_factory) -> pathlib.Path:
    """The directory of a finished training with decoder; tests change copies of it only."""
    folder = tmp_path_factory.mktemp("full") / "run"
    training.train(runs.config(folder, use_reconstruction=True, save_ckpts=False))
    return folder
