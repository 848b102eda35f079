"""Things known by a name: read off files, registered by users, and one sentence for the rest."""

import importlib
import sys

import pytest

from tfcaps.errors import UsageError
from tfcaps.registry import Registry

REGISTRY = """
from tfcaps.registry import Registry

SHAPES = Registry("a shape", "shapes_of_a_test")
"""
SQUARE = """
from shapes_of_a_test.registry import SHAPES


@SHAPES.register("square")
class Square:
    pass
"""
# Two in a file, by the function itself; a name in a comment or a text is none.
ROUND = '''
"""
    @register("text")
"""
from shapes_of_a_test.registry import SHAPES

register = SHAPES.register


@register("circle")
class Circle:
    pass


# @register("comment")
@register("ball")
class Ball:
    pass
'''


@pytest.fixture
def shapes(tmp_path, monkeypatch) -> Registry:
    """The registry of a package with three names in two files."""
    folder = tmp_path / "shapes_of_a_test"
    folder.mkdir()
    (folder / "__init__.py").touch()
    for name, code in {"registry": REGISTRY, "square": SQUARE, "round": ROUND}.items():
        (folder / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("shapes_of_a_test.registry").SHAPES
    for name in [name for name in sys.modules if name.startswith("shapes_of_a_test")]:
        del sys.modules[name]


def imported() -> set[str]:
    return {name.removeprefix("shapes_of_a_test.") for name in sys.modules if "shapes_of" in name}


def test_names_are_read_off_files(shapes):
    assert shapes.names() == ("circle", "ball", "square")
    assert not imported() & {"square", "round"}


def test_only_the_file_of_a_name_is_imported(shapes):
    assert shapes.get("square").__name__ == "Square"
    assert "square" in imported()
    assert "round" not in imported()
    assert shapes.get("square") is shapes.get("square")


def test_a_new_file_is_enough(shapes, tmp_path):
    new = SQUARE.replace("square", "cube").replace("Square", "Cube")
    (tmp_path / "shapes_of_a_test" / "cube.py").write_text(new)
    assert shapes.get("cube").__name__ == "Cube"


def test_registrations_of_users(shapes):
    @shapes.register("star")
    class Star:
        pass

    assert shapes.names() == ("circle", "ball", "square", "star")
    assert shapes.get("star") is Star
    assert shapes.name_of(Star) == "star"


def test_a_user_may_replace_a_name(shapes):
    @shapes.register("square")
    class Mine:
        pass

    assert shapes.get("square") is Mine
    assert shapes.names() == ("circle", "ball", "square")
    assert "square" not in imported()


def test_name_of(shapes):
    assert shapes.name_of(shapes.get("ball")) == "ball"
    with pytest.raises(KeyError):
        shapes.name_of(int)


def test_what_a_decorator_says_is_read_off_files(shapes, tmp_path):
    new = SQUARE.replace("square", "cube").replace("Square", "Cube")
    new = new.replace('("cube")', '(\n    "cube",\n    sides=6,\n    sizes=(1, 2),\n)')
    (tmp_path / "shapes_of_a_test" / "cube.py").write_text(new)
    assert shapes.known("cube") == {"sides": 6, "sizes": (1, 2)}
    assert shapes.known("ball") == {}
    assert "cube" not in imported()

    @shapes.register("cube", sides=0)
    class Mine:
        pass

    assert shapes.known("cube") == {"sides": 0}
    with pytest.raises(KeyError):
        shapes.known("hexagon")


@pytest.mark.parametrize("name", ["hexagon", "", "Square", 3, None, ["square"], {"square": 1}])
def test_unknown_name(shapes, name):
    with pytest.raises(UsageError) as caught:
        shapes.get(name)
    assert str(caught.value) == (
        f"Expected a shape, one of circle, ball, square. Received: {name!r}"
    )
    assert not imported() & {"square", "round"}
