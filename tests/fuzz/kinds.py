"""The kinds of cases: what is read of each, and a good one to begin with."""

import functools
import json
import pathlib
import runpy
from collections.abc import Callable
from unittest import mock

from absl import flags

from tests import runs
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
def asked(name: str) -> tuple:
    """What a program hands to `program.run` beside its function."""
    with mock.patch.object(program, "run") as run:
        runpy.run_path(str(runs.ROOT / "bin" / name), run_name="__main__")
    return run.call_args.args[1:]


PROGRAMS = sorted(path.name for path in (runs.ROOT / "bin").iterdir() if path.is_file())


@functools.cache
def _defined(name: str) -> flags.FlagValues:
    values = flags.FlagValues()
    flags.DEFINE_string("flagfile", "", "", flag_values=values)
    for each in asked(name):
        program.define_flags(each, values)
    return values


def parsed(name: str, arguments: list[str]) -> list[options.Options]:
    """The options of a program's command line, all of its classes."""
    values = _defined(name)
    values.unparse_flags()
    program.read_flags(values, arguments)
    return [program.from_flags(each, values) for each in asked(name)]


@functools.cache
def _fields(name: str) -> dict:
    found = {}
    for each in asked(name):
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
    for found in parsed(name, arguments):
        found.flag_lines()
        json.dumps(found.to_dict())
        assert type(found).from_dict(found.to_dict()) == found


@kind
def command_lines(_folder: pathlib.Path) -> Kind:
    """The flags of every program."""

    def case(draw: Draw) -> tuple[str, list[str]]:
        name = draw.choice(PROGRAMS)
        return name, _arguments(draw, name)

    return Kind("command lines", case, lambda case: _checked(*case))


@kind
def flag_files(folder: pathlib.Path) -> Kind:
    """Flag files: those of configs/, changed, and other bytes."""
    configs = [
        path
        for path in sorted((runs.ROOT / "configs").rglob("*.flags"))
        if path.parent.name in PROGRAMS
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

    def read(case: bytes) -> None:
        path.write_bytes(case)
        told = []
        with mock.patch.object(checkpoints, "restore", lambda _: (model, 1)):
            for config in configs:
                directory = training.RunDirectory(folder)
                for step in (
                    lambda directory=directory, config=config: directory.check(config),
                    lambda directory=directory, config=config: directory.as_begun(config),
                    lambda directory=directory: directory.compare_data("x", described),
                    lambda: training.load_run(folder),
                ):
                    try:
                        step()
                    except UsageError as error:
                        told.append(error)
        if told:
            raise told[0]

    return Kind("run.json", lambda draw: odd.json_file(draw, draw.choice(goods)), read)


def _on(folder: pathlib.Path) -> dict:
    return {"log_dir": str(folder), "resume": True}
