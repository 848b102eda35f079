"""Files that are whole or not there."""

import errno
import json
import os
import stat

import pytest

from tfcaps import files


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
