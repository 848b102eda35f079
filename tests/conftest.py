"""What holds for all tests, and trainings that several of them look at."""

import gc
import os
import pathlib
import pickle
import shutil
from collections.abc import Callable
from typing import Any

import filelock
import pytest

from tests import scoring

# Before TensorFlow is imported: its notices on the machine's processor are no test output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# What XLA compiles here runs a few times: the machine code need not be good. Its plain code for
# fused operations takes a third of the time to compile, and computes the same.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
)

scoring.in_large_batches()

_LONGEST = (
    *("jax_backend_test.py", "loop_test.py", "bin_test.py", "search_test.py", "sign_test.py"),
    *("images_test.py", "pruning_test.py", "docs_test.py"),
)
# Importing them changes the process.
collect_ignore = ["daily.py", "imported.py"]


def pytest_xdist_auto_num_workers() -> int:
    """One more than cores: some tests wait for what they have started, or for a shared training."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items):
    """The files with the longest tests begin: none of them is left alone at the end."""
    items.sort(key=lambda item: item.path.name not in _LONGEST)


def pytest_collection_finish():
    """Spares the search for garbage, one after each trial of a search, all that was imported."""
    gc.freeze()


@pytest.fixture(autouse=True)
def seeded():
    """Gives each test the same initial weights, whatever ran before it in its process."""
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture
def quick(monkeypatch):
    """Leaves out the pictures, which take most of a tiny training's time."""
    from tfcaps.training import CapsuleNetworkTask, ImageTask, loop

    monkeypatch.setattr(loop, "_write_figures", lambda *_: None)
    for task in (CapsuleNetworkTask, ImageTask):
        monkeypatch.setattr(task, "figures", lambda *_, **__: ({}, {}))


@pytest.fixture
def forked(monkeypatch):
    """Has `tfcaps.process` fork what it otherwise starts from nothing: tests/process_test.py."""
    import multiprocessing

    from tests import forks

    context = forks.context()
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: context)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory) -> pathlib.Path:
    """The directory of a finished training without decoder; tests change copies of it only."""
    from tests import runs

    return _train(runs.config(_shared(tmp_path_factory) / "small" / "run"))


@pytest.fixture(scope="session")
def full_run(tmp_path_factory) -> pathlib.Path:
    """The directory of a finished training with decoder; tests change copies of it only."""
    from tests import runs

    return _train(runs.config(_shared(tmp_path_factory) / "full" / "run", **runs.FULL))


@pytest.fixture(scope="session")
def plain_run(tmp_path_factory) -> pathlib.Path:
    """The directory of a finished training of `runs.plain`; tests change copies of it only."""
    from tests import runs

    return _train(runs.plain(_shared(tmp_path_factory) / "plain" / "run"))


@pytest.fixture(scope="session")
def loader_program(request) -> pathlib.Path:
    """tests/export_loader.cc, built."""
    from tests.serving import loader

    if loader.COMPILER is None:
        pytest.skip("the C++ loader is checked only where g++ is installed")
    return loader.build(request.config.cache.mkdir("export_loader"))


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[[str, Callable[[pathlib.Path], Any]], Any]:
    """Calls `once(name, make)` make a folder in the first worker that asks; the others wait for it.

    The result is the folder, and what `make` returned.
    """

    def call(name, make):
        place = _shared(tmp_path_factory) / name
        place.mkdir(exist_ok=True)
        folder, returned = place / "made", place / "returned"
        with filelock.FileLock(place / "lock"):
            if not returned.exists():
                # Another worker's, which failed.
                shutil.rmtree(folder, ignore_errors=True)
                result = make(folder)
                returned.write_bytes(pickle.dumps(result))
        return folder, pickle.loads(returned.read_bytes())

    return call


def _shared(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder that all workers of this session have in common."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


def _train(config) -> pathlib.Path:
    """Trains in the first worker that asks; the others wait for it."""
    from tfcaps import training

    folder = pathlib.Path(config.log_dir)
    folder.parent.mkdir(exist_ok=True)
    with filelock.FileLock(folder.parent / "lock"):
        if not (folder / "results.json").exists():  # is written last of all
            # Another worker's, which failed.
            shutil.rmtree(folder, ignore_errors=True)
            training.train(config)
    return folder
