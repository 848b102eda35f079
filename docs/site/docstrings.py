"""Docstrings of this project as Markdown."""

import re
import textwrap

import griffe

# A paragraph that starts with >>>: the next lines are its code and what it prints.
_EXAMPLE = re.compile(r"^ *>>> .*(?:\n.+)*", re.MULTILINE)
# Of a layer's `call`, told at its class.
_CALL = re.compile(r"^Call arguments:\n((?: +.*\n?)+)", re.MULTILINE)
_ARGUMENT = re.compile(r"^    (\w+):", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Makes examples code, for Markdown quotes what starts with >>>, and call arguments a list."""

    def on_object(self, *, obj, **_):
        """Called by griffe with everything that it has read."""
        if obj.docstring:
            text = _EXAMPLE.sub(_fence, obj.docstring.value)
            obj.docstring.value = _CALL.sub(_list, text)


def _fence(found: re.Match) -> str:
    return f"\n```pycon\n{textwrap.dedent(found[0])}\n```"


def _list(found: re.Match) -> str:
    return "**Call arguments:**\n\n" + textwrap.dedent(_ARGUMENT.sub(r"    - **`\1`**:", found[1]))
