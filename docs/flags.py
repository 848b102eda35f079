"""Writes docs/flags.md: the flags of all programs, from the fields that the programs are made of.

python docs/flags.py
"""

import ast
import pathlib
import runpy
from unittest import mock

from tfcaps import options, program

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "flags.md"
_HEAD = """# Flags

All flags of all programs. `make docs` writes this page from the fields that the programs are
made of; what is to be changed here is changed there. A flag file has the same flags, one a line:
`--flagfile=FILE`.
"""


def page() -> str:
    """The page as it should be."""
    programs = sorted(path for path in (ROOT / "bin").iterdir() if path.is_file())
    return "\n".join([_HEAD, *map(_section, programs)])


def _section(path: pathlib.Path) -> str:
    """What a program is for, and its flags."""
    purpose = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).splitlines()[0]
    parts = [f"## bin/{path.name}", purpose]
    for asked in _asked(path):
        if isinstance(asked, program.OneOf):
            parts.append(f"What there is depends on `--{asked.by}`; a table for each of its kinds:")
            parts += map(options.table, asked.classes)
        else:
            parts.append(options.table(asked))
    return "\n\n".join(parts) + "\n"


def _asked(path: pathlib.Path) -> tuple:
    """What a program hands to `program.run` beside its function."""
    with mock.patch.object(program, "run") as run:
        runpy.run_path(str(path), run_name="__main__")
    return run.call_args.args[1:]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
