"""`make check` leaves out what starts processes, trains or takes long, whichever way it does."""

import collections
import re

from tests import runs

TESTS = """
import multiprocessing, os, subprocess, sys
from concurrent import futures

import pytest

from tfcaps.training import loop


def nothing():
    pass


@pytest.fixture(scope="session")
def started():
    return subprocess.run([sys.executable, "-c", ""])


def test_by_a_fixture(started):
    pass


def test_by_a_fixture_again(started):
    pass


def test_spawned():
    multiprocessing.get_context("spawn").Process(target=nothing).start()


def test_forked():
    if not os.fork():
        os._exit(0)


def test_pool():
    with futures.ProcessPoolExecutor(1) as pool:
        pool.submit(nothing).result()


def test_caught():
    try:
        os.system("true")
    except Exception:
        pass


def test_training():
    loop.Session.train_epochs(None, range(1), [])


def test_long():
    while True:
        pass


def test_long_and_converted():
    try:
        test_long()
    except BaseException as error:
        raise ValueError("from inside a graph") from error


def test_none_of_them():
    assert nothing() is None


def test_wrong():
    assert nothing()
"""


def test_daily(tmp_path):
    (tmp_path / "made_up_test.py").write_text(TESTS)
    (tmp_path / "conftest.py").write_text("from tests import daily\ndaily._SECONDS = 0.5\n")
    code, output, errors = runs.finish(
        runs.start_code(
            "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))",
            *("-p", "tests.daily", "-q", "-rfs", "--rootdir", tmp_path, "-c", "/dev/null"),
            *("-p", "no:cacheprovider", "-n", "1", tmp_path / "made_up_test.py"),
        )
    )
    assert code == 1, errors
    assert "1 failed, 1 passed, 9 skipped" in output
    assert re.findall(r"^FAILED .*::(\w+)", output, re.MULTILINE) == ["test_wrong"]
    skipped = re.findall(r"^SKIPPED \[(\d)\] .*: (.*): not in make check$", output, re.MULTILINE)
    counts = collections.Counter()
    for count, reason in skipped:
        counts[reason] += int(count)
    assert counts == {"starts a process": 6, "trains a network": 1, "takes long": 2}
