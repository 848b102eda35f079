"""Leases by hand, with a clock of the test's own."""

import time

import pytest

from tfcaps.labeling.leases import Leases


@pytest.fixture
def now(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_each_lease_ends_once_and_a_renewed_one_later(now):
    leases = Leases()
    leases.keep("a", [1, 2], seconds=60)
    now[0] += 30
    leases.keep("a", [2], seconds=60)
    now[0] += 29.5
    assert (leases.ended(), leases.seconds_left(1), leases.of("a")) == ([], 0.5, [1, 2])
    now[0] += 0.5
    assert (leases.holder(1), leases.of("a")) == (None, [2])
    assert (leases.ended(), leases.ended()) == ([1], [])
    now[0] += 30
    assert (leases.ended(), leases.of("a"), leases.holder(2)) == ([2], [], None)


def test_whoever_comes_later_has_it(now):
    leases = Leases()
    leases.keep("a", [1], seconds=60)
    now[0] += 60
    leases.keep("b", [1], seconds=60)
    assert (leases.holder(1), leases.of("a"), leases.of("b")) == ("b", [], [1])
    now[0] += 59
    assert leases.ended() == []
    now[0] += 1
    assert leases.ended() == [1]


def test_the_date_of_the_machine_is_nothing_to_a_lease(monkeypatch):
    leases = Leases()
    leases.keep("a", [1], seconds=60)
    for date in (0.0, 1e10):
        monkeypatch.setattr(time, "time", lambda date=date: date)
        assert (leases.holder(1), leases.ended()) == ("a", [])
