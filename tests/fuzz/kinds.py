"""The kinds of cases: what is read of each, and a good one to begin with."""

import functools
import json
import pathlib
from collections.abc import Callable
from unittest import mock

from tests import programs, runs
from tests.fuzz import odd
from tests.fuzz.harness import Kind
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


def _on(folder: pathlib.Path) -> dict:
    return {"log_dir": str(folder), "resume": True}
