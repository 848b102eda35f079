"""Nothing that was acknowledged is lost, whatever ends the process."""

import contextlib
import resource
import signal
import sqlite3

import pytest

from tests import runs
from tfcaps.errors import UsageError
from tfcaps.labeling import Click, Pool

NAMES = [f"{number}.png" for number in range(6)]
CLASSES = ["cat", "dog"]
# Labels images until it is killed; each line is an acknowledgement.
LABELLER = """
import sys
from tfcaps.labeling import Click, Pool
pool = Pool(sys.argv[1], [f"{n}.png" for n in range(100000)], ["cat", "dog"])
for n in range(100000):
    pool.record([Click(f"c{n}", "label", "tab", n, "dog")])
    print(n, flush=True)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pool.sqlite"


def label(identity, image, name="cat", by="tab"):
    return Click(identity, "label", by, image, name)


def test_a_click_sent_again_changes_nothing(path):
    pool = Pool(path, NAMES, CLASSES)
    assert pool.record([label("a", 2), label("a", 2), label("b", 3, "dog")]) == [2, 2, 3]
    assert pool.record([label("a", 2, "dog")]) == [2]
    assert pool.labels() == {2: "cat", 3: "dog"}
    assert [row["click"] for row in pool.log()] == ["a", "b"]
    # An undo sent again takes nothing else back.
    assert pool.record([Click("u", "undo", "tab")]) == [3]
    assert pool.record([Click("u", "undo", "tab")]) == [3]
    assert pool.labels() == {2: "cat"}


@pytest.mark.parametrize("wrong", [{"label": {}}, {"label": "cat"}, {"image": [1]}, {"image": 7}])
def test_undo_is_about_what_it_takes_back(path, wrong):
    with contextlib.closing(Pool(path, NAMES, CLASSES)) as pool:
        assert pool.record([Click("a", "undo", "tab", **wrong)]) == [None]
        assert pool.record([label("b", 1), Click("c", "undo", "tab", **wrong)]) == [1, 1]
        assert [row["image"] for row in pool.log()] == [None, NAMES[1], NAMES[1]]
        assert pool.labels() == {}


def test_undo_without_limit_and_each_its_own(path):
    pool = Pool(path, NAMES, CLASSES)
    pool.record([label("a", 0), label("b", 1, by="other"), Click("s", "skip", "tab", 2)])
    undone = [pool.record([Click(f"u{n}", "undo", "tab")])[0] for n in range(3)]
    assert undone == [2, 0, None]
    assert pool.labels() == {1: "cat"}
    assert pool.counts() == {"label": 1, "skip": 0, "cant_tell": 0, "open": 5}
    assert len(pool.log()) == 6


def test_undo_of_a_correction_brings_the_label_back(path):
    pool = Pool(path, NAMES, CLASSES)
    pool.record([label("a", 0), label("b", 0, "dog")])
    assert pool.labels() == {0: "dog"}
    pool.record([Click("u", "undo", "tab")])
    assert pool.labels() == {0: "cat"}


def test_everything_is_there_again(path):
    pool = Pool(path, NAMES, CLASSES)
    pool.record(
        [
            label("a", 0),
            Click("c", "cant_tell", "tab", 1),
            Click("r", "label", "tab", 4, "dog", is_random=True),
            label("x", 5),
            Click("u", "undo", "tab"),
        ]
    )
    pool.lease("tab", 1, [3])
    again = Pool(path, NAMES, CLASSES)
    assert again.labels() == {0: "cat", 4: "dog"}
    assert again.labels(drawn=True) == {4: "dog"}
    assert again.counts() == {"label": 2, "skip": 0, "cant_tell": 1, "open": 3}
    assert again.lease("other", 9, range(6)) == [2, 5]
    assert again.record([Click("u2", "undo", "tab")]) == [4]


def test_leases(path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    pool = Pool(path, NAMES, CLASSES)
    assert pool.lease("a", 2, range(6)) == [0, 1]
    assert pool.lease("b", 3, range(6)) == [2, 3, 4]
    # Who asks again gets what they have.
    assert pool.lease("a", 2, range(6)) == [0, 1]
    now[0] += 50
    assert pool.renew("b", [2, 3, 4]) == []
    now[0] += 20  # the lease of a is over, that of b was renewed
    assert pool.lease("c", 9, range(6)) == [0, 1, 5]
    assert pool.renew("a", [0, 1]) == [0, 1]


@pytest.mark.parametrize("date", [0.0, 2e9])
def test_a_clock_that_is_set_ends_no_lease_and_keeps_none_for_ever(path, monkeypatch, date):
    seconds = [1e9]
    monkeypatch.setattr("time.time", lambda: seconds[0])
    monkeypatch.setattr("time.monotonic", lambda: seconds[0])
    pool = Pool(path, NAMES, CLASSES)
    assert pool.lease("a", 2, range(6)) == [0, 1]
    monkeypatch.setattr("time.time", lambda: date)
    assert pool.lease("b", 1, range(6)) == [2]
    # Whoever starts it again after that waits for a minute at most.
    again = Pool(path, NAMES, CLASSES)
    seconds[0] += 60
    assert again.lease("c", 6, range(6)) == [0, 1, 2, 3, 4, 5]


def test_leases_outlive_the_process_without_being_written_each_time(path, monkeypatch):
    seconds = [1000.0]
    for clock in ("time.time", "time.monotonic"):
        monkeypatch.setattr(clock, lambda: seconds[0])
    pool = Pool(path, NAMES, CLASSES)
    pool.lease("a", 2, range(6))
    for _ in range(50):
        seconds[0] += 1
        assert pool.renew("a", [0, 1]) == []
    rows = pool._database.execute("SELECT COUNT(*) FROM leases").fetchone()[0]
    assert rows == 6  # each at 0, 20 and 40 seconds
    seconds[0] += 15  # a minute after the first one
    assert Pool(path, NAMES, CLASSES).lease("b", 6, range(6)) == [2, 3, 4, 5]


def test_what_comes_back(path, monkeypatch):
    seconds = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: seconds[0])
    pool = Pool(path, NAMES, CLASSES)
    pool.lease("a", 3, range(6))
    pool.record([label("x", 0, by="a"), label("y", 5, by="b"), Click("u", "undo", "b")])
    assert (pool.returned(), pool.returned()) == ([5], [])
    assert pool.held("a") == [1, 2]
    seconds[0] += 60
    assert sorted(pool.returned()) == [0, 1, 2]
    assert pool.held("a") == []


def test_undo_in_the_same_transaction(path):
    """Newest first, over what was written before and what comes with it."""
    pool = Pool(path, NAMES, CLASSES)
    pool.record([label("a", 0), label("b", 1)])
    undo = [Click(f"u{n}", "undo", "tab") for n in range(4)]
    assert pool.record([label("c", 2), undo[0], undo[1], label("d", 3), *undo[2:]]) == [
        *(2, 2, 1, 3, 3, 0),
    ]
    assert pool.labels() == {}
    assert Pool(path, NAMES, CLASSES).labels() == {}


def test_images_that_are_gone_keep_their_labels(path):
    Pool(path, NAMES, CLASSES).record([label("a", 0), label("b", 1)])
    pool = Pool(path, ["1.png", "7.png", "5.png"], CLASSES)
    assert pool.labels() == {0: "cat", 1: "cat"}
    assert pool.open() == [5, 6]
    assert pool.names[6] == "7.png"


def test_files_that_were_replaced(path):
    """Their labels stand, and are told until somebody decides of the new file."""
    seen = {"0.png": "old", "1.png": "old", "2.png": "old"}  # of the others nothing is known
    pool = Pool(path, NAMES, CLASSES, seen)
    pool.record([label("a", 0), label("b", 1), label("d", 5), Click("c", "skip", "tab", 2)])
    assert pool.replaced() == []
    now = {"0.png": "new", "1.png": None, "2.png": "new", "5.png": "new"}
    pool = Pool(path, NAMES, CLASSES, now)
    assert pool.replaced() == [0, 2]
    assert pool.labels() == {0: "cat", 1: "cat", 5: "cat"}
    pool.record([label("e", 0)])
    assert pool.replaced() == [2]
    pool.record([Click("u", "undo", "tab")])
    assert pool.replaced() == [0, 2]
    pool.see(2, "old")
    pool.see(1, "other")
    assert pool.replaced() == [0, 1]
    assert Pool(path, NAMES, CLASSES, seen).replaced() == []
    assert [row["fingerprint"] for row in pool.log()] == ["old", "old", None, "old", "new", None]


def test_a_pool_without_fingerprints_goes_on(path):
    pool = Pool(path, NAMES, CLASSES)
    pool.record([label("a", 0)])
    pool._database.execute("ALTER TABLE decisions DROP COLUMN fingerprint")
    pool.close()
    pool = Pool(path, NAMES, CLASSES, {"0.png": "new"})
    assert (pool.labels(), pool.replaced()) == ({0: "cat"}, [])
    pool.record([label("b", 0, "dog")])
    assert Pool(path, NAMES, CLASSES, {"0.png": "newer"}).replaced() == [0]


def test_kill(path):
    process = runs.start_code(LABELLER, str(path))
    acknowledged = [int(process.stdout.readline()) for _ in range(40)]
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate()
    acknowledged += [int(line) for line in rest.split("\n")[:-1]]
    labels = Pool(path, [], CLASSES).labels()
    assert labels.keys() >= set(acknowledged)
    assert len(labels) - len(acknowledged) <= 1


def test_full_disk_keeps_all_or_nothing(path):
    pool = Pool(path, NAMES, CLASSES)
    pool.record([label("a", 0)])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
        with pytest.raises(OSError):
            pool.record([label("b", 1), label("c", 2)])
        with pytest.raises(OSError):
            pool.lease("tab", 3, range(6))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert pool.labels() == {0: "cat"}
    assert pool.record([label("b", 1), label("c", 2)]) == [1, 2]
    assert Pool(path, NAMES, CLASSES).labels().keys() == {0, 1, 2}


def test_durable_settings(path):
    pool = Pool(path, NAMES, CLASSES)
    assert pool._database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert sqlite3.connect(path).execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize(
    "click, sentence",
    [
        (label("x", 9), "Expected an image of this pool. Received: 9"),
        (label("x", 1, "cow"), "Expected a label among cat, dog. Received: cow"),
        (Click("x", "skip", "tab", 1, "cat"), "Expected skip without a label. Received: cat"),
        (Click("x", "like", "tab", 1), "Expected a decision among label, skip, cant_tell, undo. "
                                       "Received: like"),
    ],
)  # fmt: skip
def test_wrong_click(path, click, sentence):
    pool = Pool(path, NAMES, CLASSES)
    with pytest.raises(UsageError) as caught:
        pool.record([label("good", 0), click])
    assert str(caught.value) == sentence
    assert pool.log() == []


def test_no_pool(path, tmp_path):
    path.write_text("a letter, and nothing that SQLite could read " * 50)
    with pytest.raises(UsageError, match=r"Expected a pool of labels.*Received: .*pool.sqlite"):
        Pool(path, NAMES, CLASSES)
    with pytest.raises(UsageError, match="Expected a pool of labels that can be written"):
        Pool(tmp_path / "nowhere" / "pool.sqlite", NAMES, CLASSES)
