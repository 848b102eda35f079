"""A few cases of each kind; `make fuzz` has many."""

import pytest

from tests.fuzz import harness, kinds

# Where one takes longer than a few milliseconds.
CASES = {"checkpoints": 8, "images": 20}
# keras-tuner uses threading.currentThread.
pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:keras_tuner")


@pytest.mark.parametrize("name", kinds.names())
def test_each_case_is_read_or_told(name, tmp_path, monkeypatch):
    monkeypatch.setenv(harness.TRAP, str(tmp_path / "executed"))
    cases = CASES.get(name, 40)
    tally = harness.run(kinds.make(name, tmp_path), cases=cases, seed=0)
    assert tally.faults == {}
    assert tally.done == cases
    assert tally.read + sum(tally.sentences.values()) == cases


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (lambda _: 1 / 0, "ZeroDivisionError"),
        (lambda _: exec("import os; os.system('true')"), "executed: os.system"),
    ],
)
def test_faults_are_found(read, expected):
    with pytest.raises(harness.FaultError, match=expected):
        harness.attempt(harness.Kind("a kind", lambda draw: draw, read), None)
