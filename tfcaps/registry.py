"""Things that are known by a name: each in one file, and found when it is asked for."""

import importlib
import importlib.util
import pathlib
import re
from collections.abc import Callable
from typing import Any, TypeVar

from tfcaps.errors import UsageError

_Class = TypeVar("_Class", bound=type[Any])


class Registry:
    """Classes by name.

    A class gets its name from a decorator, `@register("name")` in a file of the registry's
    package, or anywhere else: a new file of the package is enough. The names are read off the
    files, so that to list them, or to tell a wrong one, imports none of what they compute with.

    Args:
        what: says in messages what the names stand for, with its article: "a routing".
        package: in whose files the decorators stand.

    Example:

    >>> shapes = Registry("a shape", "tfcaps.registry")     # no package: nothing is found by file
    >>> @shapes.register("square")
    ... class Square: ...
    >>> shapes.names(), shapes.get("square") is Square
    (('square',), True)
    """

    def __init__(self, what: str, package: str):
        self.what = what
        self.package = package
        self._classes: dict[str, type[Any]] = {}
        self._modules: dict[str, str] | None = None

    def register(self, name: str) -> Callable[[_Class], _Class]:
        """Class decorator: makes a class known by a name."""

        def decorate(cls: _Class) -> _Class:
            self._classes[name] = cls
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
            importlib.import_module(self._files()[name])
        if not is_name or name not in self._classes:
            known = ", ".join(self.names())
            raise UsageError(f"Expected {self.what}, one of {known}. Received: {name!r}")
        return self._classes[name]

    def name_of(self, cls: type) -> str:
        """The name of a class.

        Raises:
            KeyError: it has none.
        """
        return {known: name for name, known in self._classes.items()}[cls]

    def _files(self) -> dict[str, str]:
        """The modules of the package by the names that are registered in them."""
        if self._modules is None:
            found = re.compile(r'^@(?:\w+\.)?register\("([^"]+)"\)', re.MULTILINE)
            spec: Any = importlib.util.find_spec(self.package)
            self._modules = {
                name: f"{self.package}.{path.stem}"
                for folder in spec.submodule_search_locations or ()
                for path in sorted(pathlib.Path(folder).glob("*.py"))
                for name in found.findall(path.read_text(encoding="utf-8"))
            }
        return self._modules
