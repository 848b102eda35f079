"""What a test takes of the processor is counted with its fixtures and its processes."""

import csv

import pytest

from tests import runs

TESTS = """
import subprocess, sys, time

import pytest

BUSY = "import time\\nwhile time.process_time() < 0.5: pass"


@pytest.fixture
def busy():
    exec(BUSY.replace("0.5", str(time.process_time() + 0.5)))


def test_by_a_fixture(busy):
    pass


def test_in_a_process():
    subprocess.run([sys.executable, "-c", BUSY])


def test_still_running():
    process = subprocess.Popen([sys.executable, "-c", BUSY + "\\nprint(1, flush=True); input()"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()


def test_nothing():
    pass
"""


@pytest.mark.parametrize("workers", [0, 1])
def test_seconds(tmp_path, workers):
    (tmp_path / "made_up_test.py").write_text(TESTS)
    code, output, errors = runs.finish(
        runs.start_code(
            "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))",
            *("-p", "tests.costs", f"--costs={tmp_path / 'costs.csv'}", "-q", "-n", str(workers)),
            *("--rootdir", tmp_path, "-c", "/dev/null", "-p", "no:cacheprovider", tmp_path),
        )
    )
    assert code == 0, errors + output
    with (tmp_path / "costs.csv").open() as file:
        seconds = {name.partition("::")[2]: float(cost) for name, cost in csv.reader(file)}
    assert list(seconds)[-1] == "test_nothing"
    assert seconds.pop("test_nothing") < 0.3
    assert len(seconds) == 3
    assert min(seconds.values()) > 0.4
    assert "made_up_test.py\n" in output
