"""The files of a run."""

import json

import pytest

from tests import runs
from tfcaps.errors import UsageError
from tfcaps.training import RunDirectory

DESCRIPTION = {"class_names": ["a", "b"], "image_shape": [28, 28, 1], "preprocessing": {}}


@pytest.fixture
def directory(tmp_path):
    """A run's directory before its first epoch."""
    directory = RunDirectory(tmp_path / "new" / "run")
    directory.create(runs.config(directory.path), DESCRIPTION)
    return directory


def test_create(directory):
    content = json.loads((directory.path / "run.json").read_text())
    assert content["config"]["layers"] == [4, 4, 10]
    assert {name: content[name] for name in DESCRIPTION} == DESCRIPTION
    assert "--layers=4,4,10\n" in (directory.path / "flags.txt").read_text()
    assert (directory.path / "checkpoints").is_dir()
    assert (directory.path / "figures").is_dir()


def test_create_removes_what_a_killed_process_left(directory):
    for folder in (directory.path, directory.checkpoints):
        (folder / ".writing-abc.keras").write_text("half")
    directory.create(runs.config(directory.path), DESCRIPTION)
    assert not list(directory.path.rglob(".writing-*"))


def test_description_is_read_back(directory):
    config = runs.config(directory.path)
    assert directory.read_description() == {"config": config, **DESCRIPTION}


def test_metrics_are_read_back(directory):
    rows = [
        {"epoch": 1, "loss": 0.1 + 0.2, "seconds": 3.0},
        {"epoch": 2, "loss": 1e-9, "seconds": 4.0},
    ]
    directory.write_metrics(rows)
    assert directory.metrics.read_text() == (
        "epoch,loss,seconds\n1,0.30000000000000004,3.0\n2,1e-09,4.0\n"
    )
    assert directory.read_metrics(2) == rows
    # A run that was killed between the row and the checkpoint computes that epoch again.
    assert directory.read_metrics(1) == rows[:1]
    assert directory.read_metrics(0) == []


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "epoch,loss\n1,0.5\n",
        "epoch,loss\n1,0.5\n2,",
        "epoch,loss\n1,0.5\n2",
        "epoch,loss\n1,0.5\n3,0.4\n",
        "epoch,loss\n1,0.5\n2,0.4,7\n",
        "loss\n0.5\n0.4\n",
    ],
)
def test_metrics_that_are_missing_or_damaged(directory, text):
    if text is not None:
        directory.metrics.write_text(text)
    with pytest.raises(UsageError) as caught:
        directory.read_metrics(2)
    assert str(caught.value) == (
        "Expected a row of numbers for each of the 2 epochs that were trained. "
        f"Received: {directory.metrics}, which is missing or damaged"
    )


def test_epochs_in_results(directory):
    assert directory.epochs_in_results() == 0
    directory.results.write_text('{"epochs": 7}')
    assert directory.epochs_in_results() == 7
    for damaged in ('{"epochs"', "[]", "{}", '{"epochs": null}'):
        directory.results.write_text(damaged)
        assert directory.epochs_in_results() == 0


class TestCheck:
    def test_new_folder(self, tmp_path):
        for resume in (False, True):
            RunDirectory(tmp_path / "new").check(runs.config("x", resume=resume))
        assert not (tmp_path / "new").exists()

    def test_empty_folder(self, tmp_path):
        RunDirectory(tmp_path).check(runs.config(tmp_path))

    def test_run_without_resume(self, directory):
        before = runs.snapshot(directory.path)
        with pytest.raises(UsageError) as caught:
            directory.check(runs.config(directory.path))
        assert str(caught.value) == (
            "Expected --log_dir without a run, or --resume to go on with it. "
            f"Received: --log_dir={directory.path}, which holds a run"
        )
        assert runs.snapshot(directory.path) == before

    def test_same_run(self, directory):
        config = runs.config(directory.path, resume=True, epochs=9, test=False, save_ckpts=False)
        directory.check(config)

    @pytest.mark.parametrize(
        ("name", "value", "sentence"),
        [
            (
                "routing",
                "sda",
                "Expected --routing=rba, as the run in {path} was started with, "
                "to resume it. Received: --routing=sda",
            ),
            (
                "layers",
                (4, 5, 10),
                "Expected --layers=4,4,10, as the run in {path} was started "
                "with, to resume it. Received: --layers=4,5,10",
            ),
            (
                "use_bias",
                False,
                "Expected --use_bias=true, as the run in {path} was started with, "
                "to resume it. Received: --use_bias=false",
            ),
        ],
    )
    def test_run_of_another_configuration(self, directory, name, value, sentence):
        before = runs.snapshot(directory.path)
        with pytest.raises(UsageError) as caught:
            directory.check(runs.config(directory.path, resume=True, **{name: value}))
        assert str(caught.value) == sentence.format(path=directory.path)
        assert runs.snapshot(directory.path) == before

    @pytest.mark.parametrize(
        "text",
        [
            "",
            '{"config": {"log',
            "null",
            "[]",
            "{}",
            '{"config": {"unknown": 1}}',
            "\x00",
            '{"config": {"log_dir": "x", "routing": "dynamic"}}',
            '{"config": {"log_dir": "x"}}',
        ],
    )
    def test_damaged_description(self, directory, text):
        directory.marker.write_text(text)
        with pytest.raises(UsageError) as caught:
            directory.check(runs.config(directory.path, resume=True))
        assert str(caught.value) == (
            f"Expected a run description. Received: {directory.marker}, which is damaged"
        )
        assert directory.marker.read_text() == text

    def test_description_that_is_no_text(self, directory):
        directory.marker.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(UsageError, match="which is damaged"):
            directory.check(runs.config(directory.path, resume=True))

    def test_file(self, tmp_path):
        path = tmp_path / "notes.txt"
        path.write_text("kept")
        with pytest.raises(UsageError) as caught:
            RunDirectory(path).check(runs.config(path))
        assert str(caught.value) == (
            f"Expected --log_dir to be a folder. Received the file: {path}"
        )
        assert path.read_text() == "kept"


def test_folder_without_a_run(tmp_path):
    with pytest.raises(UsageError, match=r"which has no run.json"):
        RunDirectory(tmp_path / "nothing").read_description()
