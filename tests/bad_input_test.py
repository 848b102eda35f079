"""Wrong input ends with one sentence, and nothing that was written before is lost."""

import dataclasses
import importlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests import forks, runs
from tfcaps import export, training
from tfcaps.errors import UsageError


def sentence_of(log_dir, **changes) -> str:
    """What a training with wrong input says; whatever lies in its directory stays as it is."""
    before = runs.snapshot(log_dir)
    existed = log_dir.exists()
    with pytest.raises(UsageError) as caught:
        training.train(runs.config(log_dir, **changes))
    assert runs.snapshot(log_dir) == before
    assert log_dir.exists() == existed
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def earlier_run(small_run, tmp_path):
    """A copy of a finished run."""
    return shutil.copytree(small_run, tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (
            {"routing": "dynamic"},
            ["--routing", "attention, em, mean, rba, sda", "Received: dynamic"],
        ),
        ({"model": "VGG"}, ["--model", "CapsNet, ConvCapsNet", "Received: VGG"]),
        ({"precision": "half"}, ["--precision", "float32, mixed_bfloat16, mixed_float16", "half"]),
        ({"jit": "true"}, ["--jit", "auto, on, off", "Received: true"]),
        ({"mask": "all"}, ["--mask", "none, label", "Received: all"]),
        (
            {"augmentation": "all"},
            ["--augmentation", "paper, fast, efficient, none", "Received: all"],
        ),
        ({"layers": (4, 10)}, ["--dimensions", "--layers=4,10", "--dimensions=4,4,4"]),
        ({"layers": (4, 0, 10)}, ["--layers", "positive", "Received: 4,0,10"]),
        ({"dimensions": (4, -8, 4)}, ["--dimensions", "positive", "Received: 4,-8,4"]),
        ({"layers": ["4", "many", "10"]}, ["--layers", "integers", "Received: 4,many,10"]),
        ({"batch_size": 0}, ["--batch_size >= 1", "Received: 0"]),
        ({"epochs": 0}, ["--epochs >= 1", "Received: 0"]),
        ({"learning_rate": -0.001}, ["--learning_rate > 0", "Received: -0.001"]),
        ({"validation_fraction": 1.0}, ["--validation_fraction in [0, 1)", "Received: 1.0"]),
        ({"seed": -1}, ["--seed >= 0", "Received: -1"]),
        ({"dataset": "mnist6k"}, ["mnist5k", "cifar10", "images:", "mnist6k"]),
        ({"layers": (4, 4, 9)}, ["--layers", "10, the number of classes of mnist5k", "9"]),
        ({"train_examples": 4001}, ["train_examples", "1 and 4000", "Received: 4001"]),
        ({"train_examples": 2}, ["validation_fraction", "0.2 of 2"]),
        ({"image_size": 0}, ["image_size >= 1", "Received: 0"]),
        ({"image_size": 10**6}, ["image_size of at most 67108864 pixels", "Received: 1000000"]),
        ({"image_size": 23}, ["24x24", "Received: 23x23"]),
        ({"image_size": 16, "augmentation": "none"}, ["17×17 pixels", "Received: 16×16"]),
        (
            {"image_size": 6, "augmentation": "none", "model": "ConvCapsNet"},
            ["7×7 pixels", "Received: 6×6"],
        ),
    ],
    ids=lambda x: ",".join(f"{k}={v}" for k, v in x.items()) if isinstance(x, dict) else "",
)
def test_values(tmp_path, changes, parts):
    # Five examples of which a fifth, one, is for validation, would be enough for a training.
    sentence = sentence_of(tmp_path / "new", **{"train_examples": 5, **changes})
    assert [part for part in parts if part not in sentence] == []


class TestData:
    def test_set_that_cannot_be_had(self, tmp_path, monkeypatch):
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")  # nothing listens there
        (tmp_path / "data").mkdir()
        sentence = sentence_of(tmp_path / "new", dataset="mnist", data_dir=str(tmp_path / "data"))
        assert "mnist" in sentence
        assert str(tmp_path / "data") in sentence
        assert "--data_dir" in sentence

    def test_data_dir_that_is_not_there(self, tmp_path):
        missing = tmp_path / "missing"
        sentence = sentence_of(tmp_path / "new", dataset="mnist", data_dir=str(missing))
        assert "--data_dir" in sentence
        assert f"Received: {missing}" in sentence

    def test_folder_that_is_not_there(self, tmp_path):
        name = f"images:{tmp_path / 'missing'}"
        sentence = sentence_of(tmp_path / "new", dataset=name)
        assert f"Received: {name}, and there is no such folder" in sentence

    def test_image_that_cannot_be_read(self, tmp_path):
        pixels = np.zeros((20, 20, 3), np.uint8)
        for name in ("ant", "bee"):
            folder = tmp_path / "pictures" / name
            folder.mkdir(parents=True)
            for index in range(3):
                data = tf.io.encode_png(pixels).numpy()
                (folder / f"{index}.png").write_bytes(data)
        damaged = tmp_path / "pictures" / "bee" / "1.png"
        damaged.write_bytes(damaged.read_bytes()[:40])
        before = runs.snapshot(tmp_path / "pictures")
        sentence = sentence_of(
            tmp_path / "new", dataset=f"images:{tmp_path / 'pictures'}", layers=(4, 4, 2)
        )
        assert sentence.startswith("Expected an image that can be read")
        assert sentence.endswith(f"Received: {damaged}")
        assert runs.snapshot(tmp_path / "pictures") == before


def _rename(root):
    (root / "bee").rename(root / "wasp")


def _remove(root):
    shutil.rmtree(root / "cat")


def _swap(root):
    (root / "ant").rename(root / "x")
    (root / "bee").rename(root / "ant")
    (root / "x").rename(root / "bee")


def _rename_file(root):
    (root / "ant" / "0.png").rename(root / "ant" / "9.png")


def _draw_over(root):
    shutil.copyfile(root / "ant" / "0.png", root / "ant" / "1.png")


class TestChangedData:
    """Labels mean something else: nothing goes on, and nothing is evaluated."""

    @pytest.fixture
    def begun(self, tmp_path):
        """A run on own pictures that was begun, and their folder."""
        pictures = tmp_path / "pictures"
        for label, name in enumerate(("ant", "bee", "cat")):
            (pictures / name).mkdir(parents=True)
            for index in range(5):
                pixels = np.full((4, 4, 3), 50 * label + index, np.uint8)
                data = tf.io.encode_png(pixels).numpy()
                (pictures / name / f"{index}.png").write_bytes(data)
        config = runs.plain(
            tmp_path / "run",
            dataset=f"images:{pictures}",
            image_size=4,
            train_examples=0,
            resume=True,
        )
        task = config.task()
        training.RunDirectory(config.log_dir).create(config, task.describe(task.load()))
        return config, pictures

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (_rename, "3 classes .* with 3, of which differ: bee, wasp"),
            (_remove, "3 classes .* with 2, of which differ: cat"),
            (_swap, "which has changed since"),
            (_rename_file, "which has changed since"),
            (_draw_over, "which has changed since"),
        ],
    )
    def test_resume_and_load(self, begun, change, said):
        config, pictures = begun
        directory = training.RunDirectory(config.log_dir)
        description = directory.read_description()
        run = training.Run(
            config=config,
            **{"model": None, "epoch": 1, "preprocessing": None, "image_shape": (4, 4, 1)},
            class_names=tuple(description["class_names"]),
            fingerprint=description["fingerprint"],
        )
        run.load_data()
        change(pictures)
        before = runs.snapshot(directory.path)
        with pytest.raises(UsageError, match=said):
            training.train(config)
        with pytest.raises(UsageError, match=said):
            run.load_data()
        assert runs.snapshot(directory.path) == before

    def test_another_place(self, begun, tmp_path):
        config, pictures = begun
        (pictures / "notes.txt").write_text("no picture")
        pictures.rename(tmp_path / "moved")
        moved = dataclasses.replace(config, dataset=f"images:{tmp_path / 'moved'}").task()
        expected = training.RunDirectory(config.log_dir).read_description()["fingerprint"]
        assert moved.describe(moved.load())["fingerprint"] == expected


class TestRunDirectory:
    def test_lost_description(self, earlier_run):
        (earlier_run / "run.json").unlink()
        for resume in (False, True):
            assert sentence_of(earlier_run, resume=resume).startswith("Expected run.json beside ")

    def test_another_configuration(self, earlier_run):
        sentence = sentence_of(earlier_run, resume=True, routing="em")
        assert "Expected --routing=rba" in sentence
        assert "Received: --routing=em" in sentence

    def test_without_resume(self, earlier_run):
        sentence = sentence_of(earlier_run)
        assert "--resume" in sentence
        assert f"Received: --log_dir={earlier_run}" in sentence

    def test_damaged_description(self, earlier_run):
        path = earlier_run / "run.json"
        path.write_text(path.read_text()[:100])
        assert f"Received: {path}, which is damaged" in sentence_of(earlier_run, resume=True)

    def test_damaged_metrics(self, earlier_run):
        path = earlier_run / "metrics.csv"
        path.write_text(path.read_text()[:-40])
        sentence = sentence_of(earlier_run, resume=True)
        assert f"Received: {path}, which is missing or damaged" in sentence

    def test_fewer_epochs_than_there_are(self, earlier_run):
        sentence = sentence_of(earlier_run, resume=True, epochs=2)
        assert "Expected --epochs >= 3" in sentence
        assert sentence.endswith("Received: 2")

    def test_file(self, tmp_path):
        path = tmp_path / "notes"
        path.write_text("kept")
        with pytest.raises(UsageError, match=f"Received the file: {path}$"):
            training.train(runs.config(path))
        assert path.read_text() == "kept"

    def test_checkpoints_that_are_all_damaged(self, earlier_run):
        for path in (earlier_run / "checkpoints").iterdir():
            path.write_bytes(path.read_bytes()[:1000])
        sentence = sentence_of(earlier_run, resume=True)
        assert "Expected at least one undamaged checkpoint" in sentence
        assert "epoch-0001.keras, epoch-0002.keras, epoch-0003.keras" in sentence


def test_truncated_checkpoint(quick, plain_run, tmp_path, capsys):
    earlier_run = shutil.copytree(plain_run, tmp_path / "run")
    path = earlier_run / "checkpoints" / "epoch-0003.keras"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    training.train(runs.plain(earlier_run, resume=True))
    output = capsys.readouterr()
    assert f"{path} is damaged; going back to the checkpoint before it." in output.err
    assert f"Resuming after epoch 2 of {earlier_run}." in output.out
    final = [training.load_run(folder).model.get_weights() for folder in (earlier_run, plain_run)]
    for one, two in zip(*final, strict=True):
        np.testing.assert_array_equal(one, two)


def test_killed_between_export_and_results(quick, plain_run, tmp_path):
    """The export is there already: it isn't made a second time."""
    run = shutil.copytree(plain_run, tmp_path / "run")
    (run / "results.json").unlink()
    (run / "serving" / ".writing-x").mkdir()
    training.train(runs.plain(run, resume=True))
    assert [path.name for path in (run / "serving").iterdir()] == ["1"]
    described = export.read_description(run / "serving" / "1")
    assert (described["epoch"], described["data_fingerprint"]) == (3, "mnist5k")
    assert (run / "results.json").exists()


FULL_DISK = """
import resource, runpy, sys
limit, *sys.argv = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class TestFullDisk:
    def test_of_a_checkpoint(self, small_run, tmp_path):
        run = runs.stopped_after(1, small_run, tmp_path / "run")
        before = runs.snapshot(run)
        size = (run / "checkpoints" / "epoch-0001.keras").stat().st_size
        code, output, errors = runs.finish(
            forks.start_code(
                FULL_DISK,
                str(size // 2),
                runs.ROOT / "bin" / "train_capsnet",
                *runs.flags(run),
                "--resume",
            )
        )
        assert code == 1
        assert errors.splitlines()[-1] == (
            f"Cannot write {run / 'checkpoints' / 'epoch-0002.keras'}: File too large; "
            "what was written before is intact"
        )
        assert "Traceback" not in errors + output
        after = runs.snapshot(run)
        assert not list(run.rglob(".*"))
        changed = {name for name in before if after.get(name) != before[name]}
        assert changed == {"metrics.csv", "run.json"}
        assert after["metrics.csv"].startswith(before["metrics.csv"])
        new = {name for name in after if name not in before}
        assert all(name.startswith("tensorboard/") for name in new)

        # With room again it goes on as if nothing had been.
        training.train(runs.config(run, resume=True))
        models = [training.load_run(folder).model for folder in (run, small_run)]
        for one, two in zip(*(model.get_weights() for model in models), strict=True):
            np.testing.assert_array_equal(one, two)

    def test_of_an_event_file(self, plain_run, tmp_path):
        run = runs.stopped_after(1, plain_run, tmp_path / "run")
        shutil.rmtree(run / "tensorboard")
        (run / "tensorboard").write_text("no folder can be made here")
        before = runs.snapshot(run / "checkpoints")
        with pytest.raises(NotADirectoryError) as caught:
            training.train(runs.plain(run, resume=True))
        assert caught.value.filename == f"{run / 'tensorboard'}"
        assert runs.snapshot(run / "checkpoints") == before


class TestNaN:
    """A learning rate that is far too high, or a step that went wrong."""

    def test_in_the_first_epoch(self, quick, tmp_path):
        with pytest.raises(UsageError) as caught:
            training.train(runs.config(tmp_path, learning_rate=1e30, enable_tf_function=False))
        assert "in epoch 1; lower --learning_rate (now 1e+30)" in str(caught.value)
        assert str(caught.value).endswith("no epoch was finished before")
        assert not list((tmp_path / "checkpoints").iterdir())

    @pytest.mark.parametrize("validation_fraction", [0.0, 0.2])
    def test_after_the_last_step_of_an_epoch(self, quick, tmp_path, validation_fraction):
        """One step an epoch: its loss is good, what it leaves behind isn't."""
        with pytest.raises(UsageError, match="in epoch 1; lower --learning_rate"):
            training.train(
                runs.config(
                    tmp_path,
                    train_examples=32,
                    validation_fraction=validation_fraction,
                    learning_rate=1e30,
                    enable_tf_function=False,
                )
            )
        assert not list((tmp_path / "checkpoints").iterdir())

    def test_later(self, quick, plain_run, tmp_path, monkeypatch):
        """Weights become NaN in the second epoch, after its first step."""
        run = runs.stopped_after(1, plain_run, tmp_path / "run")
        program = importlib.import_module("tfcaps.training.loop")

        class Poison(program.Progress):
            def on_train_batch_end(self, batch, logs=None):
                self.model.set_weights([np.nan * weight for weight in self.model.get_weights()])

        monkeypatch.setattr(program, "Progress", Poison)
        before = runs.snapshot(run / "checkpoints")
        metrics = (run / "metrics.csv").read_bytes()
        with pytest.raises(UsageError) as caught:
            training.train(runs.plain(run, resume=True))
        assert str(caught.value) == (
            "Expected finite numbers. Received: the loss nan in epoch 2; "
            "lower --learning_rate (now 0.004); the last good checkpoint is "
            f"{run / 'checkpoints' / 'epoch-0001.keras'}"
        )
        assert runs.snapshot(run / "checkpoints") == before
        assert (run / "metrics.csv").read_bytes() == metrics
