"""Things that are known by a name: each in one file, and found when it is asked for."""

import ast
import importlib
import importlib.util
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from tfcaps.errors import UsageError

# Where the classes are from that were made known so far.
MODULES: set[str] = set()
_Class = TypeVar("_Class", bound=type[Any])
# A decorator at the beginning of a line: the name, and literals by keyword behind it.
_DECORATOR = re.compile(
    r'^@(?:\w+\.)?register\(\s*"([^"]+)"((?:[^()]|\([^()]*\))*)\)', re.MULTILINE
)


class _Entry(NamedTuple):
    """What a file says of a name: its module, and what the decorator knows of the class."""

    module: str
    known: Mapping[str, Any]


class Registry:
    """Classes by name.

    A class gets its name from a decorator, `@register("name")` in a file of the registry's
    package, or anywhere else: a new file of the package is enough. The names are read off the
    files, so that to list them, or to tell a wrong one, imports none of what they compute with.
    So is what a decorator says of its class beside the name, `@register("name", sides=4)`.

    Args:
        what: says in messages what the names stand for, with its article: "a routing".
        package: in whose files the decorators stand.

    Example:

    >>> shapes = Registry("a shape", "tfcaps.registry")     # no package: nothing is found by file
    >>> @shapes.register("square")
    ... class Square: ...
    >>> shapes.names(), shapes.get("square") is Square
    (('square',), True)
    >>> @shapes.register("triangle", sides=3)
    ... class Triangle: ...
    >>> shapes.known("triangle"), shapes.known("square")
    ({'sides': 3}, {})
    """

    def __init__(self, what: str, package: str):
        self.what = what
        self.package = package
        self._classes: dict[str, type[Any]] = {}
        self._known: dict[str, Mapping[str, Any]] = {}
        self._entries: dict[str, _Entry] | None = None

    def register(self, name: str, **known: Any) -> Callable[[_Class], _Class]:
        """Class decorator: makes a class known by a name.

        Args:
            name: of the class.
            **known: what `known` gives without importing the class; in a file, literals.
        """

        def decorate(cls: _Class) -> _Class:
            self._classes[name] = cls
            MODULES.add(cls.__module__)
            self._known[name] = known
            return cls

        return decorate

    def names(self) -> tuple[str, ...]:
        """All names that `get` takes: those of the package's files first."""
        return tuple({**self._files(), **self._classes})

    def get(self, name: str) -> type[Any]:
        """The class of a name.

        Raises:
            UsageError: no class has this name; the message lists the names that there are.
        """
        is_name = isinstance(name, str)
        if is_name and name not in self._classes and name in self._files():
            importlib.import_module(self._files()[name].module)
        if not is_name or name not in self._classes:
            known = ", ".join(self.names())
            raise UsageError(f"Expected {self.what}, one of {known}. Received: {name!r}")
        return self._classes[name]

    def known(self, name: str) -> dict[str, Any]:
        """What the decorator of a name's class says beside the name.

        Raises:
            KeyError: no class has this name.
        """
        return dict(self._known[name] if name in self._known else self._files()[name].known)

    def name_of(self, cls: type) -> str:
        """The name of a class.

        Raises:
            KeyError: it has none.
        """
        return {known: name for name, known in self._classes.items()}[cls]

    def _files(self) -> dict[str, _Entry]:
        """What the package's files say of the names that are registered in them."""
        if self._entries is None:
            spec: Any = importlib.util.find_spec(self.package)
            self._entries = {
                name: _Entry(f"{self.package}.{path.stem}", _literals(arguments))
                for folder in spec.submodule_search_locations or ()
                for path in sorted(pathlib.Path(folder).glob("*.py"))
                for name, arguments in _DECORATOR.findall(path.read_text(encoding="utf-8"))
            }
        return self._entries


def _literals(arguments: str) -> dict[str, Any]:
    """Arguments by keyword, as they stand behind a first one.

    >>> _literals(', sides=4, sizes=(1, 2)')
    {'sides': 4, 'sizes': (1, 2)}
    """
    call: Any = ast.parse(f"register(0{arguments})", mode="eval").body
    return {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
