"""Full, read-only and forbidden disks: a sentence that names the file; what was there stays."""

import contextlib
import dataclasses
import shutil

import keras
import pytest
from PIL import Image

from nas import report
from nas.architecture import Architecture
from nas.folders import SearchFolder, TrialFolder
from nas.layer_pruning import pruning
from nas.layer_pruning.published_files import LayerFiles
from nas.records import Outcome, Proposal
from tests import disks, forks, runs
from tfcaps import export, files, plots, program
from tfcaps.datasets import abstract_shapes
from tfcaps.errors import UsageError
from tfcaps.experiments import experiment
from tfcaps.labeling import exchange, image_files
from tfcaps.labeling.pool import LABEL, Click, Pool, pool_file
from tfcaps.options import WorkOptions, option
from tfcaps.training import RunDirectory, checkpoints
from tfcaps.training.tensorboard import RunSummaries

FAULTS = {
    "full": (disks.full, "File too large"),
    "read-only": (disks.READ_ONLY, "Read-only file system"),
    "forbidden": (disks.FORBIDDEN, "Permission denied"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Digging(WorkOptions):
    """Some work."""

    depth: int = option("In metres.", default=1)


def _network(size=2):
    inputs = keras.Input((size,))
    return keras.Model(inputs, keras.layers.Dense(2)(inputs))


def _figure(folder, number):
    plots.save(plots.learning_curves({"loss": [0.5, 1.0 / number]}), folder / "figures" / "a.png")


def _checkpoint(folder, epoch):
    checkpoints.save(folder, _network(), epoch, is_best=True, keep_all=False)


def _run_directory(folder, epoch):
    RunDirectory(folder / "run").create(runs.plain(folder / "run", epochs=epoch), {})


def _search_folder(folder, number):
    path = folder / "search"
    SearchFolder(path).create(
        Digging(log_dir=str(path), depth=number), {"fingerprint": str(number)}
    )


def _best(folder, number):
    path = SearchFolder(folder)
    path.best.mkdir(exist_ok=True)
    path.make_best(str(number), Architecture("resnet", ((number,),), (4,), "cifar").to_json())


def _trial(folder, number):
    TrialFolder(folder, "0").write_failure(f"Reason {number}.")


def _trial_network(folder, number):
    TrialFolder(folder, "0").write_network(_network(number))


def _layer_files(folder, number):
    class Method:
        def chosen(self, records):
            return [(number,)]

        def steps(self, records):
            return []

    LayerFiles(folder, "bert", "qnli").write(Method(), [])


def _pruned(folder, number):
    def save(path, _place):
        (path / "network.json").write_text(str(number))

    pruning._write_network(folder / "pruned", {"removed": [number]}, save)


def _pictures(folder, number):
    abstract_shapes.write_pictures("svrt_1", folder / f"set-{number}", {"test": 2}, size=96)


def _thumbnail(folder, number):
    source = folder.parent / "source.png"
    if number == 1:
        Image.new("RGB", (9, 9)).save(source)
    assert image_files.thumbnail(source, folder / f"{number}.jpg")


def _labels(folder, number):
    pictures = folder.parent / "pictures"
    if number == 1:
        pictures.mkdir()
        (pictures / "a.png").write_bytes(b"no matter")
    with contextlib.closing(Pool(":memory:", ["a.png"], ["cat"])) as pool:
        pool.record([Click("x", LABEL, "tab", 0, "cat")])
        exchange.export_labels(pool, pictures, folder / f"labels-{number}")


def _log(folder, number):
    with experiment.own_output(folder / "cells" / "rba_2"):
        print(number)


def _export(folder, number):
    export.export_model(
        keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(2)]),
        folder,
        image_shape=(2, 2, 1),
        preprocess=lambda images: keras.ops.cast(images, "float32"),
        class_names=("cat", "dog"),
    )


def _summaries(folder, number):
    callback = RunSummaries(folder / "tensorboard", lambda _: ({}, {}), first_epoch=number)
    callback.set_model(_network())
    callback.on_epoch_end(0, {"loss": 0.5})
    callback.on_train_end()


def _trial_events(folder, number):
    proposal = Proposal(number, "start", Architecture("resnet", ((1,),), (4,), "cifar"), parent="")
    outcome = Outcome(
        checks=(1,), entropies={}, bundles={}, losses=(2.0,), accuracy=0.5, seconds=1.0
    )
    report.write_events(folder, "3", proposal, outcome, {})


# What writes, into a folder, something else for each number; and what the sentence names of it.
WRITERS = {
    "text": (lambda folder, n: files.write_text(folder / "a.txt", str(n)), "a.txt"),
    "table": (lambda folder, n: files.write_csv(folder / "a.csv", [{"a": n}]), "a.csv"),
    "figure": (_figure, "figures/a.png"),
    "checkpoint": (_checkpoint, "epoch-0002.keras"),
    "run": (_run_directory, "run/flags.txt"),
    "search": (_search_folder, "search/flags.txt"),
    "best": (_best, "best/trial.json"),
    "trial": (_trial, "trial_0/failure.txt"),
    "trial's network": (_trial_network, "trial_0/network.keras"),
    "layer files": (_layer_files, "bert_qnli_greedy.txt"),
    "pruned": (_pruned, "pruned"),
    "pictures": (_pictures, "set-2"),
    "thumbnail": (_thumbnail, "2.jpg"),
    "labels": (_labels, "labels-2"),
    "log": (_log, "cells/rba_2.log"),
}
# What writes by itself, so that nobody but the system can refuse it.
FOREIGN_WRITERS = {
    "export": (_export, "an export to"),
    "event files": (_summaries, "tensorboard"),
    "trial's event file": (_trial_events, ""),
}


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        *((name, fault) for name in WRITERS for fault in FAULTS),
        *((name, "full") for name in FOREIGN_WRITERS),
    ],
)
def test_every_writing_place(name, fault, tmp_path, monkeypatch):
    monkeypatch.setattr(experiment.multiprocessing, "parent_process", object)
    write, named = {**WRITERS, **FOREIGN_WRITERS}[name]
    folder = tmp_path / "folder"
    folder.mkdir()
    write(folder, 1)
    before = runs.snapshot(folder)
    assert before
    how, words = FAULTS[fault]
    broken = how() if callable(how) else disks.refusing(folder, how)
    with pytest.raises((OSError, UsageError)) as caught, broken:
        write(folder, 2)
    said = caught.value
    sentence = str(said) if isinstance(said, UsageError) else program.disk_sentence(said)
    assert sentence.startswith("Cannot write ")
    assert named in sentence
    assert str(folder) in sentence
    assert ".writing-" not in sentence
    assert "\n" not in sentence
    if name not in FOREIGN_WRITERS:
        assert words in sentence
    after = runs.snapshot(folder)
    assert {path: after.get(path) for path in before} == before
    assert not list(folder.rglob(".writing-*"))
    # With room again it is written as if nothing had been.
    write(folder, 2)
    assert runs.snapshot(folder) != before


@pytest.mark.parametrize("work", ["clicks", "leases"])
def test_pool(work, tmp_path):
    """What is acknowledged is on the disk; what isn't may be sent again."""
    with contextlib.closing(Pool(pool_file(tmp_path), ["a.png", "b.png"], ["cat"])) as pool:
        pool.record([Click("x", LABEL, "tab", 0, "cat")])

        def write():
            if work == "clicks":
                return pool.record([Click("y", LABEL, "tab", 1, "cat")])
            return pool.lease("tab", 1, [0, 1])

        with pytest.raises(OSError, match=r"pool\.sqlite") as caught, disks.full():
            write()
        assert program.disk_sentence(caught.value).startswith(f"Cannot write {pool.path}: ")
        assert (pool.labels(), pool.held("tab")) == ({0: "cat"}, [])
        assert write() == [1]


def test_pool_that_cannot_be_opened(tmp_path):
    with pytest.raises(UsageError, match=r"can be written. Received: .*pool.sqlite"), disks.full():
        Pool(pool_file(tmp_path), ["a.png"], ["cat"])


# The programs with a folder that nobody may write to: for most of them it is found at once.
READ_ONLY_FOLDER = """
import errno, runpy, sys
from tests import disks
folder, *sys.argv = sys.argv[1:]
disks.refuse(folder, errno.EROFS)
runpy.run_path(sys.argv[0], run_name="__main__")
"""
PROGRAMS = {
    "train_capsnet": ("--dataset=mnist5k", "--log_dir={new}"),
    "train_network": ("--dataset=mnist5k", "--log_dir={new}"),
    "auto_tune": ("--dataset=mnist5k", "--log_dir={new}"),
    "depth_experiment": ("--datasets=mnist5k", "--depths=2", "--log_dir={new}"),
    "abstract_classes": ("--log_dir={new}",),
    "sign_experiment": ("--log_dir={new}",),
    "guided_labeling": ("--images={pictures}", "--classes=a,b", "--log_dir={new}"),
    "evaluate": ("--log_dir={run}", "--output_dir={new}", "--conflicting_samples_size=0"),
    "explain": ("--log_dir={run}", "--test_image=0"),
    "activate_capsule": ("--log_dir={run}",),
    "export_model": ("--log_dir={run}",),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_read_only_folder(name, small_run, tmp_path):
    places = {
        "run": tmp_path / "run",
        "new": tmp_path / "new" / "folder",
        "pictures": tmp_path / "pictures",
    }
    shutil.copytree(small_run, places["run"])
    places["pictures"].mkdir()
    Image.new("RGB", (9, 9)).save(places["pictures"] / "a.png")
    before = runs.snapshot(tmp_path)
    arguments = [argument.format(**places) for argument in PROGRAMS[name]]
    code, output, errors = runs.finish(
        forks.start_code(READ_ONLY_FOLDER, tmp_path, runs.ROOT / "bin" / name, *arguments)
    )
    last = errors.splitlines()[-1]
    assert code == 1
    assert "Read-only file system" in last
    assert str(tmp_path) in last
    assert "Traceback" not in errors + output
    assert runs.snapshot(tmp_path) == before
    assert not (tmp_path / "new").exists()
