"""Files that are whole or not there, and folders of work that can be gone on with."""

import dataclasses
import errno
import io
import json
import os
import stat

import numpy as np
import pytest

from tests import runs
from tfcaps import files
from tfcaps.errors import UsageError
from tfcaps.options import WorkOptions, option


def test_csv(tmp_path):
    path = tmp_path / "rows.csv"
    files.write_csv(path, [{"a": True, "b": 'x, "y"'}, {"a": None, "b": 0.1}])
    assert path.read_bytes() == b'a,b\ntrue,"x, ""y"""\n,0.1\n'
    files.write_csv(path, [], columns=("a", "b"))
    assert path.read_bytes() == b"a,b\n"


def test_text_and_json(tmp_path):
    files.write_text(tmp_path / "text", "Übung\n")
    files.write_json(tmp_path / "values.json", {"a": [1, None]})

    assert (tmp_path / "text").read_bytes() == b"\xc3\x9cbung\n"
    assert json.loads((tmp_path / "values.json").read_text()) == {"a": [1, None]}
    assert stat.S_IMODE((tmp_path / "text").stat().st_mode) == 0o644
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text", "values.json"]


def test_arrays(tmp_path):
    path = tmp_path / "some.npz"
    np.savez(path, a=[1, 2], b=[[0.5]])
    found = files.read_arrays(path, ("a", "b"))
    assert {name: array.tolist() for name, array in found.items()} == {"a": [1, 2], "b": [[0.5]]}


def _plain_array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, [1])
    return buffer.getvalue()


def _objects(path):
    np.savez(path, a=np.array([{}], object), b=[1])


@pytest.mark.parametrize(
    "write",
    [
        lambda path: None,
        lambda path: path.mkdir(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"PK no archive"),
        lambda path: np.savez(path, a=[1]),
        lambda path: np.savez(path, a=[1], b=[1], c=[1]),
        lambda path: path.write_bytes(_plain_array()),
        _objects,
    ],
)
def test_damaged_arrays(tmp_path, write):
    path = tmp_path / "some.npz"
    write(path)
    with pytest.raises(
        UsageError, match=r"the arrays a, b. Received: .*some.npz, which is missing"
    ):
        files.read_arrays(path, ("a", "b"))


def test_arrays_of_a_changed_file(tmp_path):
    """Whichever byte is another one, the arrays are those that were written, or it is said."""
    path = tmp_path / "some.npz"
    np.savez_compressed(path, a=np.arange(5), b=[1.5])
    content = path.read_bytes()
    told = 0
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        try:
            found = files.read_arrays(path, ("a", "b"))
        except UsageError:
            told += 1
        else:
            assert (found["a"].tolist(), found["b"].tolist()) == ([0, 1, 2, 3, 4], [1.5])
    assert told > len(content) / 2


def test_the_temporary_name_has_the_same_ending_in_the_same_folder(tmp_path):
    with files.replacing(tmp_path / "model.keras") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".keras"
        assert not (tmp_path / "model.keras").exists()
        temporary.write_bytes(b"whole")
    assert (tmp_path / "model.keras").read_bytes() == b"whole"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError(), OSError(errno.EIO, "?")])
def test_an_error_leaves_the_earlier_file_alone(tmp_path, error):
    path = tmp_path / "values.json"
    files.write_text(path, "earlier")

    with pytest.raises(type(error)), files.replacing(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_names_the_file_that_the_user_knows(tmp_path):
    path = tmp_path / "values.json"
    with pytest.raises(OSError, match="No space") as caught, files.replacing(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.filename == str(path)


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / "kept").write_text("")
    (tmp_path / ".hidden").write_text("")
    with files.replacing(tmp_path / "model.keras") as temporary:
        temporary.write_text("whole")
    temporary.write_text("half")

    files.remove_unfinished(tmp_path)

    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".hidden", "kept", "model.keras"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Digging(WorkOptions):
    """Some work."""

    depth: int = option("In metres.", default=1)
    width: int = option("In metres.", default=1)
    workers: int = option("Who digs.", default=1, may_change=True)


@pytest.fixture
def folder(tmp_path):
    return files.WorkFolder(tmp_path / "a" / "hole", files.EXPERIMENT)


def dig(folder, **changes):
    """Begins, or goes on with, some work."""
    digging = Digging(log_dir=str(folder.path), **changes)
    with folder.locked():
        folder.check(digging)
        folder.begin(digging.settled(), "figures")


def sentence_of(folder, **changes):
    before = runs.snapshot(folder.path)
    with pytest.raises(UsageError) as caught:
        dig(folder, **changes)
    assert runs.snapshot(folder.path) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Holds a folder's lock until it is killed.
HOLDING = """
import sys, time
from tfcaps import files
with files.WorkFolder(sys.argv[1], files.EXPERIMENT).locked():
    print("locked", flush=True)
    time.sleep(100)
"""


class TestWorkFolder:
    def test_begins_and_goes_on(self, folder):
        dig(folder, depth=3)
        assert json.loads(folder.marker.read_text()) == {"depth": 3, "width": 1}
        assert (folder.path / "figures").is_dir()
        dig(folder, depth=3, workers=9, resume=True)
        assert {path.name for path in folder.path.iterdir()} == {"figures", "experiment.json"}

    def test_without_resume(self, folder):
        dig(folder)
        assert sentence_of(folder) == (
            "Expected --log_dir without an experiment, or --resume to go on with it. "
            f"Received: --log_dir={folder.path}, which holds an experiment"
        )

    def test_other_options(self, folder):
        dig(folder)
        assert sentence_of(folder, width=2, resume=True) == (
            f"Expected --width=1, as the experiment in {folder.path} was started with, to go on "
            "with it. Received: --width=2"
        )

    def test_option_that_was_not_known_then(self, folder):
        dig(folder)
        folder.marker.write_text('{"depth": 1}')
        dig(folder, width=7, resume=True)
        assert "Expected --depth=1" in sentence_of(folder, depth=2, resume=True)

    @pytest.mark.parametrize("work", [files.RUN, files.SERIES, files.SEARCH])
    def test_other_work(self, folder, work):
        marker = folder.path / work.marker
        marker.parent.mkdir(parents=True)
        marker.write_text("{}")
        for resume in (False, True):
            assert sentence_of(folder, resume=resume) == (
                f"Expected --log_dir without a {work.noun}. "
                f"Received: --log_dir={folder.path}, which holds a {work.noun}"
            )

    @pytest.mark.parametrize(
        ("trace", "marker", "noun"),
        [
            ("checkpoints/epoch-0001.keras", "run.json", "a run"),
            ("metrics.csv", "run.json", "a run"),
            ("search/state.json", "search/search.json", "a search"),
            ("parts/rba_1x2.npz", "experiment.json", "an experiment"),
        ],
    )
    def test_work_whose_marker_is_lost(self, folder, trace, marker, noun):
        """Nobody knows what it was made with: nothing may go on with it, or take its place."""
        (folder.path / trace).parent.mkdir(parents=True)
        (folder.path / trace).write_text("precious")
        for resume in (False, True):
            assert sentence_of(folder, resume=resume) == (
                f"Expected {marker} beside {trace}, as {noun} has it. "
                f"Received: --log_dir={folder.path} without it"
            )

    @pytest.mark.parametrize("text", ["", "[", "[]x", '{"depth": "x"}', "7"])
    def test_damaged(self, folder, text):
        dig(folder)
        folder.marker.write_text(text)
        assert sentence_of(folder, resume=True).endswith(
            f"Received: {folder.marker}, which is damaged"
        )

    def test_file(self, tmp_path):
        (tmp_path / "notes").write_text("kept")
        with pytest.raises(UsageError, match="Expected --log_dir to be a folder"):
            dig(files.WorkFolder(tmp_path / "notes", files.RUN))

    def test_what_a_killed_process_left_is_removed(self, folder):
        """Everywhere: a figure that was cut off, and a folder that was being made."""
        dig(folder)
        left_overs = [".writing-a.json", "figures/.writing-b.png", "cells/x/.writing-c/1/model.pb"]
        for name in left_overs:
            (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
            (folder.path / name).write_text("half")
        (folder.path / "cells" / "whole.csv").write_text("1")
        dig(folder, resume=True)
        assert set(runs.snapshot(folder.path)) == {"experiment.json", "cells/whole.csv"}

    def test_what_another_process_writes_below_it_stays(self, folder):
        """An evaluation of a run that is gone on with, say."""
        dig(folder)
        inner = folder.path / "evaluation"
        with files.WorkFolder(inner, files.EVALUATION).locked():
            with files.replacing(inner / "whole.csv") as temporary:
                temporary.write_text("1")
                dig(folder, resume=True)
            assert (inner / "whole.csv").read_text() == "1"

    def test_a_second_process_is_refused_until_the_first_is_gone(self, folder, tmp_path):
        dig(folder)
        process = runs.start_code(HOLDING, folder.path)
        assert process.stdout.readline() == "locked\n"
        assert sentence_of(folder, resume=True) == (
            "Expected --log_dir without another process at work. "
            f"Received: {folder.path}, in which another process works on an experiment"
        )
        process.kill()  # it has no chance to tidy up
        runs.finish(process)
        assert (folder.path / ".lock").exists()
        dig(folder, resume=True)
        assert not list(folder.path.rglob(".*"))

    def test_the_same_process_is_refused_too(self, folder):
        with (
            folder.locked(),
            pytest.raises(files.FolderInUseError),
            files.WorkFolder(folder.path, files.RUN).locked(),
        ):
            pass

    def test_nothing_stays_of_what_was_refused(self, folder, tmp_path):
        with pytest.raises(ZeroDivisionError), folder.locked():
            raise ZeroDivisionError
        assert list(tmp_path.iterdir()) == []


class TestWholeFolder:
    def test_appears_when_it_is_complete(self, tmp_path):
        with files.whole_folder(tmp_path / "1") as new:
            new.mkdir()
            (new / "model").write_text("1")
            assert not (tmp_path / "1").exists()
        assert runs.snapshot(tmp_path) == {"1/model": b"1"}

    def test_never_replaces_unless_asked(self, tmp_path):
        for number, replace in enumerate((False, True)):
            with files.whole_folder(tmp_path / "1", replace=replace) as new:
                new.mkdir()
                (new / "model").write_text(str(number))
        assert runs.snapshot(tmp_path) == {"1/model": b"1"}
        with pytest.raises(OSError, match="1"), files.whole_folder(tmp_path / "1") as new:
            new.mkdir()
        assert runs.snapshot(tmp_path) == {"1/model": b"1"}

    def test_nothing_stays_of_a_failure(self, tmp_path):
        with pytest.raises(ZeroDivisionError), files.whole_folder(tmp_path / "1") as new:
            new.mkdir()
            raise ZeroDivisionError
        assert list(tmp_path.iterdir()) == []
