"""Seconds of the processor that each test takes, with all processes that it starts.

    python -m pytest -p tests.costs --costs=build/costs.csv

writes a row per test, and prints the sum of each file. Unlike seconds on the clock these are nearly
the same on a busy machine.
"""

import collections
import csv
import os
import pathlib

import pytest

_TICKS = os.sysconf("SC_CLK_TCK")
_KEY = "seconds of the processor"
_STARTED = pytest.StashKey[float]()


def _seconds() -> float:
    """Of this process and all below it; what has ended counts for the one that waited for it."""
    children, seconds = collections.defaultdict(list), {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            # https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html; a name may have spaces.
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # has just ended
            continue
        number = int(path.parent.name)
        children[int(fields[1])].append(number)
        seconds[number] = sum(map(int, fields[11:15])) / _TICKS
    total, open_ones = 0.0, [os.getpid()]
    while open_ones:
        number = open_ones.pop()
        total += seconds[number]
        open_ones += children[number]
    return total


def pytest_addoption(parser):
    parser.addoption("--costs", default="build/costs.csv", help="Where a row per test goes.")


def pytest_configure(config):
    # Workers of pytest-xdist only measure.
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Table(config.getoption("costs")))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    item.stash[_STARTED] = _seconds()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """What setup, call or teardown took, since the report before."""
    report = yield
    now = _seconds()
    report.user_properties = [(_KEY, now - item.stash[_STARTED])]
    item.stash[_STARTED] = now
    return report


class _Table:
    def __init__(self, path: str):
        self._path = path
        self._tests: dict[str, float] = collections.defaultdict(float)

    def pytest_runtest_logreport(self, report):
        self._tests[report.nodeid] += dict(report.user_properties).get(_KEY, 0.0)

    def pytest_terminal_summary(self, terminalreporter):
        files = collections.Counter()
        for test, seconds in self._tests.items():
            files[test.partition("::")[0]] += seconds
        terminalreporter.section("seconds of the processor")
        for file, seconds in files.most_common():
            terminalreporter.write_line(f"{seconds:8.1f} {file}")
        terminalreporter.write_line(f"{sum(files.values()):8.1f} in all tests")
        os.makedirs(os.path.dirname(self._path) or ".", exist_ok=True)
        with open(self._path, "w", newline="") as file:
            rows = sorted(self._tests.items(), key=lambda row: -row[1])
            csv.writer(file).writerows((test, f"{seconds:.2f}") for test, seconds in rows)
