"""The kinds of cases: what is read of each, and a good one to begin with."""

import asyncio
import base64
import contextlib
import functools
import io
import json
import marshal
import math
import os
import pathlib
import shutil
import zipfile
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np

from tests import programs, runs
from tests.fuzz import odd
from tests.fuzz.harness import TRAP, Kind
from tests.fuzz.odd import Draw
from tfcaps import options, program
from tfcaps.errors import UsageError

_MAKERS: dict[str, Callable[[pathlib.Path], Kind]] = {}
STORED = runs.ROOT / "tests" / "stored" / "0.1.0"


def kind(make: Callable[[pathlib.Path], Kind]) -> Callable[[pathlib.Path], Kind]:
    """Decorator of a function that makes a kind, in a folder of its own."""
    _MAKERS[make.__name__] = make
    return make


def names() -> tuple[str, ...]:
    """All kinds."""
    return tuple(_MAKERS)


def make(name: str, folder: pathlib.Path) -> Kind:
    """A kind, which may write into a folder."""
    folder = folder / name
    folder.mkdir(parents=True)
    return _MAKERS[name](folder)


@functools.cache
def _fields(name: str) -> dict:
    found = {}
    for each in programs.asked(name):
        for cls in each.classes if isinstance(each, program.OneOf) else (each,):
            found.update(options.fields(cls))
    return found


def _argument(draw: Draw, name: str) -> str:
    """A flag with a value: a good one, or an odd one."""
    known = _fields(name)
    flag = draw.choice([*known, *known, "flagfile", "help", "nonsense", "", "log_dir"])
    values = [str(odd.scalar(draw)), odd.text(draw)]
    if flag in known:
        values += [*options.of(known[flag]).allowed(), options.flag_value(known[flag].default)]
        values.append(",".join(str(odd.scalar(draw)) for _ in range(draw.randint(0, 4))))
    value = draw.choice(values)
    forms = (f"--no{flag}", f"--{flag}", value, f"-{flag} {value}")
    return draw.choice(forms) if draw.random() < 0.2 else f"--{flag}={value}"


def _arguments(draw: Draw, name: str) -> list[str]:
    return [_argument(draw, name) for _ in range(draw.randint(0, 5))]


def _checked(name: str, arguments: list[str]) -> None:
    """Reads a command line; what it gives can be written down and read again."""
    for found in programs.parsed(name, arguments):
        found.flag_lines()
        json.dumps(found.to_dict())
        assert type(found).from_dict(found.to_dict()) == found


@kind
def command_lines(_folder: pathlib.Path) -> Kind:
    """The flags of every program."""

    def case(draw: Draw) -> tuple[str, list[str]]:
        name = draw.choice(programs.NAMES)
        return name, _arguments(draw, name)

    return Kind("command lines", case, lambda case: _checked(*case))


@kind
def flag_files(folder: pathlib.Path) -> Kind:
    """Flag files: those of configs/, changed, and other bytes."""
    configs = [
        path
        for path in sorted((runs.ROOT / "configs").rglob("*.flags"))
        if path.parent.name in programs.NAMES
    ]
    texts = {path: path.read_text() for path in configs}

    def case(draw: Draw) -> tuple[str, bytes]:
        path = draw.choice(configs)
        how = draw.random()
        if how < 0.6:
            content = odd.text_file(draw, texts[path])
        elif how < 0.9:
            lines = "\n".join(_arguments(draw, path.parent.name))
            content = lines.encode("utf-8", "surrogatepass")
        else:
            content = draw.randbytes(draw.randint(0, 60))
        return path.parent.name, content

    place = folder / "some.flags"

    def read(case: tuple[str, bytes]) -> None:
        name, content = case
        place.write_bytes(content)
        _checked(name, [f"--flagfile={place}"])

    return Kind("flag files", case, read)


@kind
def architectures(_folder: pathlib.Path) -> Kind:
    """Architectures as JSON."""
    from nas.architecture import Architecture, grow, prune

    good = {"kind": "resnet", "blocks": [[1, 3], [1]], "widths": [16, 32], "stem": "cifar"}

    def read(case: bytes) -> None:
        found = Architecture.from_json(case.decode("utf-8", "surrogateescape"))
        assert Architecture.from_json(found.to_json()) == found
        names = found.block_names
        assert len(names) == sum(found.counts)
        if sum(found.counts) > 1:
            prune(found, names[-1:])
        for stage, count in enumerate(found.counts, start=1):
            if count:
                grow(found, stage, max(found.blocks[stage - 1]) + 1)

    return Kind("architectures", lambda draw: odd.json_file(draw, good), read)


@kind
def run_descriptions(folder: pathlib.Path) -> Kind:
    """run.json, read by what resumes, evaluates and exports a run."""
    import keras

    from tfcaps import training
    from tfcaps.training import checkpoints

    (folder / "checkpoints").mkdir()
    path = folder / "run.json"
    configs = (
        training.CapsuleNetworkConfig(**_on(folder)),
        training.BlockNetworkConfig(**_on(folder), blocks=(1, 1)),
        training.ImageClassifierConfig(**_on(folder)),
        training.TextClassifierConfig(**_on(folder), model="some", dataset="csv:some.csv"),
    )
    beside = json.loads((STORED / "run" / "run.json").read_text())
    del beside["config"]
    goods = [
        {"config": config.to_description(), **beside, "fingerprint": "x"} for config in configs
    ]
    model = keras.Sequential([keras.Input((24, 24, 1)), keras.layers.Flatten()])
    described = {"class_names": [*"0123456789"], "fingerprint": "x"}

    def case(draw: Draw) -> tuple[int, bytes]:
        kind = draw.randrange(len(goods))
        return kind, odd.json_file(draw, goods[kind])

    def read(case: tuple[int, bytes]) -> None:
        kind, content = case
        path.write_bytes(content)
        directory, config, told = training.RunDirectory(folder), configs[kind], []
        with mock.patch.object(checkpoints, "restore", lambda _: (model, 1)):
            for step in (
                lambda: directory.check(config),
                lambda: directory.as_begun(config),
                lambda: directory.compare_data("x", described),
                lambda: training.load_run(folder),
            ):
                try:
                    step()
                except UsageError as error:
                    told.append(error)
        if told:
            raise told[0]

    return Kind("run.json", case, read)


@kind
def checkpoints(folder: pathlib.Path) -> Kind:
    """Saved networks: bytes changed, configurations changed, and such as would execute something.

    Sizes that a machine would try to have memory for are left out of configurations.
    """
    import keras

    from tfcaps import layers, models
    from tfcaps.training import checkpoints as reader

    good = folder / "good.keras"
    model = keras.Sequential(
        [keras.Input((2, 3)), layers.DenseCapsule(2, 2, routing="em"), keras.layers.Flatten()]
    )
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    model.save(good)
    with zipfile.ZipFile(good) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    target = models.LeNet((17, 17, 1), 2)
    before, place = target.get_weights(), folder / "epoch-0001.keras"

    def case(draw: Draw) -> bytes:
        how, found = draw.random(), dict(parts)
        if how < 0.3:
            return odd.changed_bytes(draw, good.read_bytes())
        if how < 0.6:
            found["config.json"] = odd.as_json(_small(odd.changed(draw, config)))
        elif how < 0.8:
            found["config.json"] = odd.as_json(_hostile(draw, config))
        elif how < 0.95:
            name = draw.choice(list(found))
            found[name] = odd.changed_bytes(draw, found[name])
        else:
            del found[draw.choice(list(found))]
        return _zipped(found)

    def read(case: bytes) -> None:
        place.write_bytes(case)
        with contextlib.suppress(UsageError):
            models.read_weights(target, place)
        assert all(map(np.array_equal, target.get_weights(), before))
        found = reader.load(place)
        keras.utils.clear_session()
        if found is None:
            raise UsageError("It is damaged.")
        found.get_weights()

    return Kind("checkpoints", case, read)


def _small(found: Any) -> Any:
    """The same JSON without integers that memory would be asked for."""
    if isinstance(found, dict):
        return {key: _small(value) for key, value in found.items()}
    if isinstance(found, list):
        return [_small(value) for value in found]
    return 7 if isinstance(found, (int, float)) and 1e4 < abs(found) < 1e15 else found


def _trap() -> None:
    import os

    open(os.environ["TFCAPS_FUZZ_TRAP"], "w").close()


def _hostile(draw: Draw, config: dict) -> dict:
    """The configuration of a network with something in it that would be executed."""
    code = base64.b64encode(marshal.dumps(_trap.__code__)).decode()
    function = {"class_name": "__lambda__",
                "config": {"code": code, "defaults": None, "closure": None}}  # fmt: skip
    path = os.environ.get(TRAP, "")
    payload = draw.choice(
        (
            {"class_name": "Lambda", "config": {"name": "f", "function": function}},
            {"class_name": "Lambda", "module": "keras.layers", "registered_name": None,
             "config": {"name": "f", "function": function, "output_shape": None, "mask": function}},
            function,
            {"class_name": "system", "module": "os", "config": f"touch {path}"},
            {"class_name": "function", "module": "os", "registered_name": "function",
             "config": "system"},
            {"class_name": "Popen", "module": "subprocess", "config": {"args": ["touch", path]}},
            {"class_name": "open", "module": "builtins", "config": {"file": path, "mode": "w"}},
            {"class_name": "eval", "module": "builtins", "registered_name": "eval",
             "config": f"open({path!r}, 'w')"},
            {"class_name": "TFSMLayer", "module": "keras.layers", "config": {"filepath": path}},
            {"class_name": "load_model", "module": "keras.saving",
             "config": {"filepath": path, "safe_mode": False}},
            {"class_name": "function", "config": "enable_unsafe_deserialization",
             "module": "keras.config", "registered_name": "function"},
            {"class_name": "enable_unsafe_deserialization", "module": "keras.config", "config": {}},
        )
    )  # fmt: skip
    found = json.loads(json.dumps(config))
    layer = found["config"]["layers"][draw.randint(1, 2)]
    where = draw.randint(0, 4)
    if where == 0:
        return payload
    if where == 1:
        layer.clear()
        layer.update(payload)
    elif where == 2:
        layer["config"][draw.choice(list(layer["config"]))] = payload
    elif where == 3:
        found["compile_config"][draw.choice(("loss", "optimizer", "metrics"))] = payload
    else:
        layer["build_config"] = payload
    return found


def _zipped(parts: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return data.getvalue()


@kind
def images(folder: pathlib.Path) -> Kind:
    """Pictures of all formats, as trainings, the labeling and served networks read them."""
    import tensorflow as tf
    from PIL import Image

    from tfcaps import pictures
    from tfcaps.datasets import images as reader
    from tfcaps.labeling import image_files

    pixels = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    goods = []
    for mode in ("RGB", "L", "P", "RGBA", "1", "CMYK"):
        for form in ("PNG", "JPEG", "BMP", "GIF"):
            with contextlib.suppress(OSError, ValueError):  # not every format has every mode
                data = io.BytesIO()
                Image.fromarray(pixels).convert(mode).save(data, form)
                goods.append(data.getvalue())
    served = tf.function(
        lambda data: pictures.with_channels(pictures.decode(data), 1),
        input_signature=[tf.TensorSpec((), tf.string)],
    )

    def case(draw: Draw) -> bytes:
        good = draw.choice(goods)
        how = draw.random()
        if how < 0.9:
            return odd.changed_bytes(draw, good)
        if how < 0.95:
            return good + draw.choice(goods)
        return draw.randbytes(draw.randint(0, 60))

    def read(case: bytes) -> None:
        place, small = folder / "some.png", folder / "small.jpg"
        place.write_bytes(case)
        small.unlink(missing_ok=True)
        image_files.thumbnail(place, small)
        try:
            shape = served(tf.constant(case)).shape
        except tf.errors.InvalidArgumentError:  # the answer of a server
            shape = None
        found = reader._read_image(place, (5, 6))
        assert found.shape in ((5, 6, 1), (5, 6, 3))
        assert shape is not None
        assert shape[-1] == 1

    return Kind("images", case, read)


@kind
def text_tables(folder: pathlib.Path) -> Kind:
    """Tables of texts: CSV, TSV, and those of GLUE's tasks."""
    from tfcaps import datasets

    # A header, and a row with a label.
    forms = {
        "csv": ("text,label\n", '"a, fine {n}",{n}\n'),
        "tsv": ("text\tother\tlabel\n", "a fine\tone {n}\t{n}\n"),
        "cola": ("", "x\t{n}\t*\tword\n"),
        "sst2": ("sentence\tlabel\n", "a fine one\t{n}\n"),
        "stsb": ("\t".join([*"abcdefg", "sentence1", "sentence2", "score\n"]),
                 "\t".join([*"1bcdefg", "one", "two", "{n}.5\n"])),
    }  # fmt: skip
    goods = {
        name: header + "".join(row.format(n=number % 2) for number in range(12))
        for name, (header, row) in forms.items()
    }

    def case(draw: Draw) -> tuple[str, bytes]:
        name = draw.choice(list(goods))
        if draw.random() < 0.05:
            return name, draw.randbytes(draw.randint(0, 40))
        return name, odd.text_file(draw, goods[name])

    def read(case: tuple[str, bytes]) -> None:
        name, content = case
        if name in ("csv", "tsv"):
            path = folder / f"some.{name}"
            path.write_bytes(content)
            found = datasets.load_texts(f"{name}:{path}", validation_fraction=0.2)
        else:
            (folder / "train.tsv").write_bytes(content)
            (folder / "dev.tsv").write_text(goods[name])
            found = datasets.load_texts(name, data_dir=folder, validation_fraction=0.2)
        labels = found.train.labels
        assert np.isfinite(labels).all()
        assert not found.class_names or labels.max() < len(found.class_names)

    return Kind("tables of texts", case, read)


@kind
def tables(folder: pathlib.Path) -> Kind:
    """Tables that the package has written: results, metrics, labels, layers and their scores."""
    from nas.layer_pruning import published_files
    from tfcaps.evaluation import lesion
    from tfcaps.labeling import exchange
    from tfcaps.labeling.pool import Pool
    from tfcaps.training import RunDirectory

    def import_labels() -> int:
        names = [f"{n}.png" for n in range(4)]
        with contextlib.closing(Pool(":memory:", names, ["cat", "dog"])) as pool:
            return exchange.import_labels(pool, path)

    sets = {("all", 1): [("a",), ("b",)]}
    path = folder / "some.csv"
    directory = RunDirectory(folder)
    directory.metrics = path
    # A good one, and what reads it.
    kinds: dict[str, tuple[str, Callable[[], Any]]] = {
        "results.csv": (
            "group,removed,draw,accuracy,blocks\nall,1,1,0.5,a\nall,1,2,0.25,b\n",
            lambda: [math.sqrt(row.accuracy) for row in lesion._read_rows(path, sets)],
        ),
        "metrics.csv": (
            "epoch,loss,val_accuracy\n1,2.5,0.5\n2,1.5,0.75\n",
            lambda: [row["epoch"] for row in directory.read_metrics(2)],
        ),
        "labels.csv": (
            "image,label\n0.png,cat\n1.png,dog\n",
            import_labels,
        ),
        "greedy.txt": ("11\n10\n2\n", lambda: published_files.read_choice(path, 12)),
        "perfect.txt": ("3\n3-5\n3-5-7\n", lambda: published_files.read_choice(path, 12)),
        "greedy_log.txt": (
            "0;{0: 0.556, 1: 0.548, 2: -0.5}\n1;{0: 0.556, 2: 1.0}\n",
            lambda: [sum(step.values()) for step in published_files.read_order_log(path)],
        ),
        "perfect_log.txt": (
            "3;0.5\n3-5;0.912\n",
            lambda: [score + 1 for _, score in published_files.read_set_log(path)],
        ),
    }

    def case(draw: Draw) -> tuple[str, bytes]:
        name = draw.choice(list(kinds))
        how = draw.random()
        if how < 0.05:
            return name, draw.randbytes(draw.randint(0, 60))
        if how < 0.15:
            deep = draw.choice((b"[" * 10**5, b"-" * 10**5 + b"1", b"(" * 300 + b")" * 300,
                                b"{0:" * 10**4, b"9" * 10**6, b"1+" * 10**5 + b"1"))  # fmt: skip
            return name, draw.choice((b"0;", b"", b"0;{0: ", b"a,1,1,")) + deep + b"\n"
        return name, odd.text_file(draw, kinds[name][0])

    def read(case: tuple[str, bytes]) -> None:
        name, content = case
        path.write_bytes(content)
        kinds[name][1]()

    return Kind("tables", case, read)


@kind
def json_files(folder: pathlib.Path) -> Kind:
    """What searches, studies, experiments and labelings keep as JSON, besides run.json."""
    from nas import report
    from nas.architecture import Architecture
    from nas.folders import SearchFolder, TrialFolder
    from nas.records import Outcome, Proposal, Record
    from tfcaps import export
    from tfcaps.evaluation import lesion
    from tfcaps.files import STUDY, WorkFolder
    from tfcaps.labeling.rounds import read_rounds

    network = Architecture("resnet", ((1, 3), (1,)), (4, 8), "cifar")
    record = Record("0", Proposal(0, "start", network), "completed", {}, 0.5, score=0.5)
    trial, search = TrialFolder(folder, "0"), SearchFolder(folder / "search")
    study = WorkFolder(folder / "study", STUDY)
    settings = {"epoch": 3, "seed": 1, "draws": 15}
    rounds = {"labels": 20, "accuracy": 0.5, "low": 0.4, "high": 0.6, "changed": 0.1}
    outcome = Outcome((0, 1), {"a/branch": (0.5, 0.25)}, {"a/branch": (1, 2)}, (2.0,), 0.5, 1.0)

    def read_outcome() -> None:
        found = trial.read_outcome()
        if found is None:
            raise UsageError("What it came to isn't known.")
        report._write_heatmaps(folder, folder, [record])

    def read_study() -> None:
        found = lesion._read_study(study, settings)
        assert 0 <= found["accuracy"] <= 1
        lesion.divide_blocks(found["entropies"])

    kinds: dict[str, tuple[pathlib.Path, Any, Callable[[], Any]]] = {
        "rounds.json": (
            folder / "rounds.json",
            [rounds, {**rounds, "labels": 40}],
            lambda: [row["labels"] + row["accuracy"]
                     for row in read_rounds(folder / "rounds.json", tuple(rounds))],
        ),
        "outcome.json": (trial.path / "outcome.json", vars(outcome), read_outcome),
        "study.json": (
            study.marker,
            {"settings": settings, "entropies": {"a": 0.0, "b": 0.5}, "accuracy": 0.75},
            read_study,
        ),
        "trial.json": (
            search.best / "trial.json",
            {"trial": "1"},
            lambda: (
                (search.best / "run.json").write_text("{}"),
                search.make_best("1", network.to_json()),
            ),
        ),
        "search.json": (
            search.marker,
            {"rule": "auto", "data": {"class_names": ["a", "b"], "fingerprint": "x"}},
            lambda: search.compare_data("mnist", {"class_names": ["a", "b"], "fingerprint": "x"}),
        ),
        "description.json": (
            folder / "1" / "assets.extra" / "description.json",
            {"class_names": ["a"], "image_shape": [4, 4, 1], "epoch": 3},
            lambda: export.read_description(folder / "1").get("epoch"),
        ),
    }  # fmt: skip

    def case(draw: Draw) -> tuple[str, bytes]:
        name = draw.choice(list(kinds))
        return name, odd.json_file(draw, json.loads(json.dumps(kinds[name][1])))

    def read(case: tuple[str, bytes]) -> None:
        name, content = case
        path, _, reading = kinds[name]
        for place in folder.glob("search/best*"):
            shutil.rmtree(place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        reading()

    return Kind("JSON files", case, read)


@kind
def search_states(folder: pathlib.Path) -> Kind:
    """The state of a search, from which it decides."""
    from nas.architecture import Architecture
    from nas.rules import GrowWhileTraining, Lineages
    from nas.tuner import ControllerOracle
    from tests.nas import tuner_test

    start = Architecture("resnet", (2, 1), (4, 6), "cifar")

    def make() -> ControllerOracle:
        rule = Lineages(GrowWhileTraining(start), 2, max_trials=3)
        return ControllerOracle(rule, folder=folder, max_trials=5)

    oracle = make()
    oracle._set_project_dir(str(folder.parent), folder.name)
    for _ in range(2):
        tuner_test.finish(oracle, oracle.create_trial("one"))
    oracle.create_trial("one")
    good = json.loads(oracle.state_file.read_text())

    def read(case: bytes) -> None:
        oracle.state_file.write_bytes(case)
        found = make()
        found.reload()
        found.decision()

    return Kind("states of searches", lambda draw: odd.json_file(draw, good), read)


@kind
def arrays(folder: pathlib.Path) -> Kind:
    """Files of arrays, with objects that would be made of pickles."""
    from tfcaps import files

    class Trap:
        def __reduce__(self):
            return os.system, (f"touch {os.environ.get(TRAP, '')}",)

    path = folder / "some.npz"
    np.savez_compressed(path, a=np.arange(5), b=[[1.5]])
    goods = [path.read_bytes()]
    np.savez(path, a=np.array([Trap()], object), b=[1])
    goods.append(path.read_bytes())

    def read(case: bytes) -> None:
        path.write_bytes(case)
        found = files.read_arrays(path, ("a", "b"))
        assert all(array.dtype != object for array in found.values())

    return Kind("arrays", lambda draw: odd.changed_bytes(draw, draw.choice(goods)), read)


@kind
def requests(folder: pathlib.Path) -> Kind:
    """What a browser, or something else, asks of the labeling page."""
    from tests.labeling import pages
    from tfcaps.labeling import LabelingOptions, LabelingSession, Pool, make_app

    names = [f"{number:05}.png" for number in range(6)]
    images = pages.pictures(folder / "pictures", len(names))
    config = LabelingOptions(log_dir=str(folder), images=str(images), classes=pages.CLASSES,
                             open_browser=False)  # fmt: skip
    (folder / "thumbnails").mkdir()
    click = {"kind": "label", "image": 0, "label": "dark", "identity": "c0"}
    bodies = {
        "/clicks": {"by": "tab", "clicks": [click, {**click, "kind": "undo", "identity": "u"}]},
        "/images": {"by": "tab", "count": 3, "held": [1, 2]},
        "/training": {},
    }

    def case(draw: Draw) -> tuple[str, str, bytes, list[tuple[bytes, bytes]], bytes]:
        path = draw.choice([*bodies, "/thumbnails/0", "/state", "/", "/page.js"])
        method = "POST" if path in bodies else "GET"
        body = odd.json_file(draw, bodies[path]) if path in bodies else b""
        headers = {b"x-token": b"secret", b"host": b"127.0.0.1:1",
                   b"content-length": str(len(body)).encode()}  # fmt: skip
        query = b""
        if draw.random() < 0.3:
            name = draw.choice([*headers, b"origin", b"content-type", b"cookie", b"range"])
            headers[name] = odd.text(draw).encode("utf-8", "replace")[:200]
        if draw.random() < 0.2:
            path = draw.choice((f"/thumbnails/{odd.text(draw)}", f"{path}/..", "/page.css",
                                odd.text(draw), f"/thumbnails/{odd.scalar(draw)}"))  # fmt: skip
        if draw.random() < 0.1:
            query = b"token=" + odd.text(draw).encode("utf-8", "replace")[:200]
            del headers[b"x-token"]
        if draw.random() < 0.1:
            method = draw.choice(("GET", "POST", "PUT", "HEAD", "DELETE", "", "x"))
        return method, path, query, list(headers.items()), body

    def read(case: tuple) -> None:
        with contextlib.closing(Pool(":memory:", names, pages.CLASSES)) as pool:
            app = make_app(LabelingSession(config, pool), "secret")
            status, text = asyncio.run(asyncio.wait_for(_asked(app, *case), 60))
        assert status < 500, (status, text)
        if status >= 400:
            raise UsageError(text.decode("utf-8", "replace").splitlines()[0] if text else "refused")

    return Kind("requests", case, read)


async def _asked(app, method, path, query, headers, body) -> tuple[int, bytes]:
    """The status and the body of an ASGI application's answer."""
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
             "scheme": "http", "path": path, "raw_path": path.encode("utf-8", "replace"),
             "query_string": query, "root_path": "", "headers": headers,
             "client": ("127.0.0.1", 2), "server": ("127.0.0.1", 1)}  # fmt: skip
    sent, received = [], [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        return received.pop() if received else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    starts = [message["status"] for message in sent if message["type"] == "http.response.start"]
    return starts[0], b"".join(message.get("body", b"") for message in sent)


def _on(folder: pathlib.Path) -> dict:
    return {"log_dir": str(folder), "resume": True}
