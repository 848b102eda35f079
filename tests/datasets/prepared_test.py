import http.server
import logging
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tfcaps import datasets
from tfcaps.datasets import prepared
from tfcaps.errors import UsageError


def _flat(shape: tuple[int, ...], value: int) -> np.ndarray:
    return np.full(shape, value, np.uint8)


def _digits(count: int, side: int = 28) -> list[dict]:
    """Grey images, ten times as bright as their label."""
    return [{"image": _flat((side, side, 1), 10 * (i % 10)), "label": i % 10} for i in range(count)]


def _assert_one_value_each(split: datasets.Split, expected: dict[int, list[int]]) -> None:
    """Each label's images have one known colour (up to JPEG's error)."""
    for image, label in zip(split.images, split.labels, strict=True):
        assert np.abs(image.astype(int) - expected[int(label)]).max() <= 2


class TestFormats:
    def test_mnist(self, prepare):
        data_dir = prepare("mnist", train=_digits(30), test=_digits(20))
        dataset = datasets.load("mnist", data_dir=data_dir)
        assert dataset.image_shape == (28, 28, 1)
        assert dataset.class_names == tuple("0123456789")
        assert np.bincount(dataset.train.labels).tolist() == [3] * 10
        assert np.bincount(dataset.test.labels).tolist() == [2] * 10
        for split in (dataset.train, dataset.test):
            _assert_one_value_each(split, {label: [10 * label] for label in range(10)})

    def test_fashion_mnist(self, prepare):
        data_dir = prepare("fashion_mnist", train=_digits(10), test=_digits(5))
        dataset = datasets.load("fashion_mnist", data_dir=data_dir)
        assert dataset.class_names[::9] == ("T-shirt/top", "Ankle boot")
        assert (len(dataset.train), len(dataset.test)) == (10, 5)

    @pytest.mark.parametrize(
        ("name", "label_names", "class_names"),
        [("cifar10", list("abcdefghij"), "abcdefghij"), ("svhn_cropped", None, "0123456789")],
    )
    def test_colour_images_of_32_pixels(self, prepare, name, label_names, class_names):
        def examples(count):
            return [
                {"image": _flat((32, 32, 3), 10 * i) + np.arange(3, dtype=np.uint8), "label": i}
                | {"id": f"example{i}"}
                for i in range(count)
            ]

        splits = {"train": examples(10), "test": examples(4), "extra": examples(7)}
        data_dir = prepare(name, label_names=label_names, **splits)
        dataset = datasets.load(name, data_dir=data_dir)
        assert dataset.image_shape == (32, 32, 3)
        assert dataset.class_names == tuple(class_names)
        assert (len(dataset.train), len(dataset.test)) == (10, 4)
        expected = {label: [10 * label, 10 * label + 1, 10 * label + 2] for label in range(10)}
        _assert_one_value_each(dataset.train, expected)
        _assert_one_value_each(dataset.test, expected)

    def test_smallnorb(self, prepare):
        def examples(count):
            return [
                {
                    "image": _flat((96, 96, 1), 20 * i),
                    "image2": _flat((96, 96, 1), 255),
                    "label_category": i,
                    "instance": 9,
                    "label_elevation": 8,
                    "label_azimuth": 17,
                    "label_lighting": 5,
                }
                for i in range(count)
            ]

        data_dir = prepare("smallnorb", train=examples(5), test=examples(3))
        dataset = datasets.load("smallnorb", data_dir=data_dir)
        assert dataset.image_shape == (96, 96, 1)
        assert dataset.class_names == (
            "four-legged animals",
            "human figures",
            "airplanes",
            "trucks",
            "cars",
        )
        assert sorted(dataset.train.labels) == [0, 1, 2, 3, 4]
        _assert_one_value_each(dataset.train, {label: [20 * label] for label in range(5)})

    def test_imagenette(self, prepare):
        def examples(count):
            return [
                {"image": _flat((160, 170 + 9 * i, 3), 20 * i), "label": i} for i in range(count)
            ]

        data_dir = prepare("imagenette/160px-v2", train=examples(10), validation=examples(4))
        dataset = datasets.load("imagenette", data_dir=data_dir)
        assert dataset.image_shape == (128, 128, 3)
        assert dataset.class_names[::9] == ("tench", "parachute")
        assert (len(dataset.train), len(dataset.test)) == (10, 4)
        _assert_one_value_each(dataset.train, {label: [20 * label] * 3 for label in range(10)})
        assert datasets.load("imagenette", data_dir=data_dir, image_size=20).image_shape == (
            20,
            20,
            3,
        )

    def test_another_size(self, prepare):
        data_dir = prepare("mnist", train=_digits(10), test=_digits(10))
        dataset = datasets.load("mnist", data_dir=data_dir, image_size=32)
        assert dataset.image_shape == (32, 32, 1)
        _assert_one_value_each(dataset.test, {label: [10 * label] for label in range(10)})

    def test_the_environment_names_the_folder(self, prepare, monkeypatch):
        monkeypatch.setenv(
            "TFDS_DATA_DIR", str(prepare("mnist", train=_digits(5), test=_digits(5)))
        )
        assert len(datasets.load("mnist").train) == 5

    def test_an_older_version_is_read_too(self, prepare):
        data_dir = prepare("mnist", train=_digits(5), test=_digits(5))
        (folder,) = (data_dir / "mnist").glob("3.*")
        folder.rename(data_dir / "mnist" / "2.9.10")
        info = data_dir / "mnist" / "2.9.10" / "dataset_info.json"
        info.write_text(info.read_text().replace(f'"{folder.name}"', '"2.9.10"'))
        assert len(datasets.load("mnist", data_dir=data_dir).train) == 5

    def test_a_half_written_version_is_passed_over(self, prepare):
        data_dir = prepare("mnist", train=_digits(5), test=_digits(5))
        (folder,) = (data_dir / "mnist").glob("3.*")
        shutil.copytree(folder, data_dir / "mnist" / "incomplete.ABC_9.0.0")
        assert len(datasets.load("mnist", data_dir=data_dir).train) == 5


class TestNotThere:
    def test_a_folder_that_does_not_exist(self, tmp_path):
        folder = tmp_path / "nowhere"
        with pytest.raises(UsageError, match=rf"exists. Received: {folder}, for .* mnist$"):
            datasets.load("mnist", data_dir=folder)
        assert not folder.exists()

    @pytest.mark.parametrize(
        ("name", "stored"),
        [
            ("mnist", "mnist/3."),
            ("cifar10", "cifar10/3."),
            ("svhn_cropped", "svhn_cropped/3."),
            ("smallnorb", "smallnorb/2."),
            ("imagenette", "imagenette/160px-v2/1."),
        ],
    )
    def test_no_network(self, name, stored, tmp_path, offline, capfd):
        with pytest.raises(UsageError) as caught:
            datasets.load(name, data_dir=tmp_path)
        sentence = str(caught.value)
        assert f"is not prepared in {tmp_path} and cannot be downloaded" in sentence
        assert f"--data_dir=FOLDER where FOLDER/{stored}" in sentence
        assert "--dataset=mnist5k" in sentence
        assert "\n" not in sentence
        assert capfd.readouterr() == ("", "")
        assert list(tmp_path.iterdir()) == []

    def test_a_server_is_asked_only_once(self, tmp_path, monkeypatch):
        asked = []

        class Broken(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self):
                asked.append(self.path)
                self.send_error(503)

            def log_message(self, *_):
                pass

        with http.server.HTTPServer(("127.0.0.1", 0), Broken) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
            monkeypatch.delenv("no_proxy", raising=False)
            monkeypatch.delenv("NO_PROXY", raising=False)
            with pytest.raises(UsageError, match="answers 503 Service Unavailable"):
                datasets.load("svhn_cropped", data_dir=tmp_path)
            server.shutdown()
        assert len(asked) == 1

    def test_a_download_that_breaks_off(self, tmp_path, monkeypatch, capsys):
        def broken(self, **_):
            print("Downloading and preparing")
            logging.getLogger("absl").error("a stack trace follows")
            raise OSError("No space left on device\nand more")

        monkeypatch.setattr(prepared, "_check_reachable", lambda url: None)
        monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", broken)
        with pytest.raises(UsageError, match=r"downloaded \(No space left on device\): pass"):
            datasets.load("mnist", data_dir=tmp_path)
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err == "Downloading and preparing\n"

    def test_what_was_downloaded_is_read(self, tmp_path, monkeypatch, prepare):
        monkeypatch.setattr(
            prepared,
            "_download",
            lambda tfds, name, folder: prepare(name, train=_digits(5), test=_digits(3)) and "3.0.1",
        )
        assert len(datasets.load("mnist", data_dir=tmp_path).test) == 3


class TestDamaged:
    def _damage(self, folder: Path, kind: str) -> None:
        records = next(folder.glob("mnist-train*"))
        if kind == "truncated":
            os.truncate(records, records.stat().st_size // 2)
        elif kind == "empty":
            os.truncate(records, 0)
        elif kind == "missing":
            records.unlink()
        elif kind == "changed":
            content = bytearray(records.read_bytes())
            content[len(content) // 2] ^= 0xFF
            records.write_bytes(content)
        elif kind == "description":
            (folder / "dataset_info.json").write_text("{")
        elif kind == "no test split":
            info = folder / "dataset_info.json"
            info.write_text(info.read_text().replace('"name": "test"', '"name": "tested"'))

    @pytest.mark.parametrize(
        "kind", ["truncated", "empty", "missing", "changed", "description", "no test split"]
    )
    def test_it_is_one_sentence(self, prepare, kind):
        data_dir = prepare("mnist", train=_digits(20), test=_digits(5))
        (folder,) = (data_dir / "mnist").glob("3.*")
        self._damage(folder, kind)
        with pytest.raises(UsageError) as caught:
            datasets.load("mnist", data_dir=data_dir)
        sentence = str(caught.value)
        assert f"Cannot read the data set mnist, {folder} is damaged (" in sentence
        assert "delete this folder" in sentence
        assert "--data_dir=FOLDER" in sentence
        assert not {"\n", "{{"} & set(sentence) and "function_node" not in sentence


def test_logging_works_afterwards(prepare, caplog):
    datasets.load("mnist", data_dir=prepare("mnist", train=_digits(5), test=_digits(5)))
    logging.getLogger("tfcaps").error("heard")
    assert "heard" in caplog.text


def test_the_other_data_sets_do_without_tensorflow_datasets():
    program = (
        "import sys; from tfcaps import datasets; datasets.load('mnist5k');"
        "sys.exit('tensorflow_datasets' in sys.modules)"
    )
    root = Path(datasets.__file__).parents[2]
    subprocess.run([sys.executable, "-c", program], check=True, cwd=root, capture_output=True)


class TestGoodDataAreNotCalledDamaged:
    """Whoever is told to delete a folder has lost its content."""

    @pytest.fixture
    def fail(self, prepare, monkeypatch):
        data_dir = prepare("mnist", train=_digits(10), test=_digits(10))

        def load(error):
            def read(*_):
                raise error

            monkeypatch.setattr(prepared, "_read_split", read)
            datasets.load("mnist", data_dir=data_dir)

        return load

    @pytest.mark.parametrize(
        "error", [MemoryError(), tf.errors.ResourceExhaustedError(None, None, "?")]
    )
    def test_too_little_memory(self, fail, error):
        with pytest.raises(type(error)):
            fail(error)

    @pytest.mark.parametrize(
        "error", [PermissionError(), tf.errors.PermissionDeniedError(None, None, "?")]
    )
    def test_missing_permission(self, fail, error):
        with pytest.raises(UsageError, match=r"^Cannot read .*: Permission denied$"):
            fail(error)
