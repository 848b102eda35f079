"""What stands at the front door: cheap to open, all that is public in it, and nothing hidden."""

import ast
import functools
import importlib
import inspect
import pathlib

import pytest

import tfcaps
from tests import runs

HEAVY = ("absl", "jax", "keras", "matplotlib", "numpy", "tensorflow", "tensorflow_datasets")
# Opens every door, and says what has been imported and what it took.
OPENING = f"""
import resource, sys
import nas, tfcaps
for name in sys.argv[1:]:
    getattr(tfcaps, name)
used = resource.getrusage(resource.RUSAGE_SELF)
print(sorted(sys.modules.keys() & set({HEAVY})), used.ru_utime + used.ru_stime)
"""

# Opens one door, and takes all that is behind it.
FIRST = """
import sys
import tfcaps
package = getattr(tfcaps, sys.argv[1])
for name in dir(package):
    getattr(package, name)
"""


def modules_of(package: str) -> list[str]:
    """What lies in a package's folder, without what is marked as internal."""
    folder = runs.ROOT / package.replace(".", "/")
    inner = [path.stem for path in folder.glob("*.py")]
    inner += [path.parent.name for path in folder.glob("*/__init__.py")]
    return sorted(name for name in inner if not name.startswith("_"))


SUBPACKAGES = [name for name in modules_of("tfcaps") if (runs.ROOT / "tfcaps" / name).is_dir()]


def inner_packages(package: str) -> set[str]:
    """Packages in a package, each of which is a door of its own."""
    folder = runs.ROOT / package.replace(".", "/")
    return {path.parent.name for path in folder.glob("*/__init__.py")}


DOORS = ["nas", *(f"tfcaps.{name}" for name in SUBPACKAGES)]
PACKAGES = [*DOORS, *(f"{door}.{name}" for door in DOORS for name in sorted(inner_packages(door)))]


def exported(package: str) -> dict[str, str]:
    """The names that a package exports, and the module that each is read from."""
    stub = runs.ROOT / package.replace(".", "/") / "__init__.pyi"
    return {
        alias.asname: f"{package}.{line.module}"
        for line in ast.parse(stub.read_text()).body
        if isinstance(line, ast.ImportFrom) and line.module
        for alias in line.names
    }


def test_importing_costs_nothing():
    code, output, errors = runs.finish(runs.start_code(OPENING, *SUBPACKAGES))
    assert (code, errors) == (0, "")
    heavy, seconds = output.strip().rsplit(maxsplit=1)
    assert heavy == "[]"
    assert float(seconds) < 0.5


# What has Keras imported, which imports of this package what it needs to load saved networks.
@pytest.mark.parametrize("first", ["layers", "ops", "routing"])
def test_whatever_comes_first(first):
    code, _, errors = runs.finish(runs.start_code(FIRST, first))
    assert code == 0, errors


def test_the_package_lists_all_that_is_in_it():
    assert set(modules_of("tfcaps")) <= set(dir(tfcaps))
    for name in modules_of("tfcaps"):
        assert inspect.ismodule(getattr(tfcaps, name)), name


@pytest.mark.parametrize("package", PACKAGES)
class TestPackage:
    def test_each_name_is_what_its_module_defines(self, package):
        door = importlib.import_module(package)
        sources = exported(package)
        assert sources
        assert set(door.__all__) == set(sources) | inner_packages(package) <= set(dir(door))
        for name, module in sources.items():
            value = getattr(door, name)
            assert value is getattr(importlib.import_module(module), name)
            if inspect.isclass(value) or inspect.isfunction(value):
                assert value.__module__ == module, name

    def test_each_function_has_type_hints(self, package):
        door = importlib.import_module(package)
        for name in door.__all__:
            if inspect.isfunction(getattr(door, name)):
                signature = inspect.signature(getattr(door, name))
                hints = [value.annotation for value in signature.parameters.values()]
                assert signature.empty not in [*hints, signature.return_annotation], name

    def test_no_name_hides_a_module(self, package):
        assert not set(exported(package)) & set(modules_of(package))

    def test_what_is_not_exported_is_used_elsewhere_in_the_project(self, package):
        """Or it has an underscore: whatever a user may call is exported."""
        for module in set(modules_of(package)) - inner_packages(package):
            path = runs.ROOT / package.replace(".", "/") / f"{module}.py"
            for name in public_names(path) - set(exported(package)):
                assert is_used_outside(path, f"{package}.{module}.{name}"), (
                    f"{package}.{module}.{name}: export it in {package}/__init__.pyi, "
                    f"or call it _{name}"
                )


def public_names(path: pathlib.Path) -> set[str]:
    """The functions and classes of a file that have no underscore."""
    return {
        node.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_")
    }


def is_used_outside(path: pathlib.Path, name: str) -> bool:
    return any(name in names for file, names in used_names().items() if file != path)


@functools.cache
def used_names() -> dict[pathlib.Path, set[str]]:
    """For each file of the project but the tests, the full names that it imports or reads."""
    return {
        path: names_in(path.read_text())
        for folder in ("bin", "nas", "tfcaps", "benchmarks")
        for path in (runs.ROOT / folder).rglob("*")
        if path.is_file() and path.suffix in ("", ".py")
    }


def names_in(code: str) -> set[str]:
    nodes = list(ast.walk(ast.parse(code)))
    imported = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    read = {
        f"{imported[node.value.id]}.{node.attr}"
        for node in nodes
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in imported
    }
    return read | set(imported.values())


def test_names_in():
    code = "from a.b import c\nfrom a import b as d\ndef f():\n    from e import g\n    d.h(x.y)"
    assert names_in(code) == {"a.b.c", "a.b", "e.g", "a.b.h"}
