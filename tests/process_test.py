"""Calls in processes of their own: results, errors, and sudden ends on both sides."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests import process_calls, runs
from tfcaps import process
from tfcaps.errors import UsageError

# Prints the number of the new process, then of what ended its call.
CALL = """
from tests import process_calls
from tfcaps import process

process.run_alone(process_calls.tell_and_sleep)
"""


def is_alive(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    # Nobody may be there to read the exit code of a process that has ended.
    with open(f"/proc/{number}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


def test_result():
    (total, number) = process.run_alone(process_calls.add, 2, 3)
    assert total == 5
    assert number != os.getpid()
    assert not is_alive(number)


@pytest.mark.parametrize(
    "error",
    [UsageError("Expected a finite loss. Received: nan"), OSError(28, "No space left", "file")],
)
def test_error(error):
    with pytest.raises(type(error)) as caught:
        process.run_alone(process_calls.fail, error)
    assert str(caught.value) == str(error)
    assert "in fail" in str(caught.value.__cause__)


def test_sudden_end():
    with pytest.raises(RuntimeError) as caught:
        process.run_alone(process_calls.end_suddenly)
    assert str(caught.value) == (
        "Expected a result. Received: the end of its process, as when memory runs out"
    )


def test_processes_share_the_calls():
    calls = [(number, 1) for number in range(4)]
    found = dict(process.run_all(process_calls.add, calls, processes=2))
    assert {call: total for call, (total, _) in found.items()} == {
        (0, 1): 1,
        (1, 1): 2,
        (2, 1): 3,
        (3, 1): 4,
    }
    assert len({number for _, number in found.values()}) <= 2


def test_the_first_error_ends_all_calls():
    started = time.monotonic()
    with pytest.raises(ValueError, match="nothing to wait for"):
        list(process.run_all(process_calls.sleep_or_fail, [(300,), (0,), (300,)], processes=2))
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_end_of_the_caller(number):
    """Only the caller gets the signal; the new process ends all the same."""
    caller = runs.start_code(CALL)
    new = int(caller.stdout.readline())
    assert is_alive(new)
    caller.send_signal(number)
    runs.finish(caller)
    deadline = time.monotonic() + 30
    while is_alive(new):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_interrupted_process_goes_on():
    """As with Ctrl-C in a terminal, which the caller answers."""
    caller = runs.start_code(CALL)
    new = int(caller.stdout.readline())
    os.kill(new, signal.SIGINT)
    time.sleep(0.3)
    assert is_alive(new)
    caller.kill()
    runs.finish(caller)


# No main guard: a child that ran it again would print once more, and start children of its own.
SCRIPT = """
print("begin")
from tests import process_calls
from tfcaps import process
print(process.run_alone(process_calls.add, 2, 3)[0])
"""
DEFINING = """
from tfcaps import process, registry

print("begin")
shapes = registry.Registry("a shape", "tfcaps.registry")
{decorator}
class Square:
    pass

def area(side):
    return side * side

if __name__ == "__main__":
    print(process.run_alone({function}, 3))
"""


def run_script(tmp_path, text):
    path = tmp_path / "script.py"
    path.write_text(text)
    result = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, env=runs.environment()
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_a_script_needs_no_guard(tmp_path):
    assert run_script(tmp_path, SCRIPT) == ["begin", "5"]


@pytest.mark.parametrize(
    "decorator, function, begins",
    [("", "area", 2), ("@shapes.register('square')", "abs", 2), ("", "abs", 1)],
)
def test_what_a_script_defines_is_known(tmp_path, decorator, function, begins):
    text = DEFINING.format(decorator=decorator, function=function)
    output = run_script(tmp_path, text)
    assert output == ["begin"] * begins + ["3" if function == "abs" else "9"]
