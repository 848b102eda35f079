"""The programs of bin/, and what their command lines mean."""

import functools
import runpy
from unittest import mock

from absl import flags

from tests import runs
from tfcaps import options, program

NAMES = tuple(sorted(path.name for path in (runs.ROOT / "bin").iterdir() if path.is_file()))


@functools.cache
def asked(name: str) -> tuple:
    """What a program hands to `program.run` beside its function."""
    with mock.patch.object(program, "run") as run:
        runpy.run_path(str(runs.ROOT / "bin" / name), run_name="__main__")
    return run.call_args.args[1:]


@functools.cache
def defined(name: str) -> flags.FlagValues:
    """The flags of a program."""
    values = flags.FlagValues()
    flags.DEFINE_string("flagfile", "", "", flag_values=values)
    for each in asked(name):
        program.define_flags(each, values)
    return values


def parsed(name: str, arguments: list[str]) -> list[options.Options]:
    """The options of a program's command line, all of its classes.

    Raises:
        UsageError: the program would refuse it.
    """
    values = defined(name)
    values.unparse_flags()
    program.read_flags(values, arguments)
    return [program.from_flags(each, values) for each in asked(name)]
