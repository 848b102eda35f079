"""All tasks by name."""

import difflib
from typing import NamedTuple

from tfcaps.datasets.abstract_shapes.board import Board
from tfcaps.datasets.abstract_shapes.checkerboard import CHECKERBOARD
from tfcaps.datasets.abstract_shapes.clean import CLEAN
from tfcaps.datasets.abstract_shapes.containment import PROBLEMS as CONTAINMENT
from tfcaps.datasets.abstract_shapes.draws import Problem
from tfcaps.datasets.abstract_shapes.layout import Layout
from tfcaps.datasets.abstract_shapes.orientation import ORIENTATION
from tfcaps.datasets.abstract_shapes.patterns import Patterns
from tfcaps.datasets.abstract_shapes.psvrt import PSVRT
from tfcaps.datasets.abstract_shapes.relations import RELATIONS
from tfcaps.datasets.abstract_shapes.svrt import PROBLEMS as ARRANGEMENTS
from tfcaps.errors import UsageError

_SVRT: dict[int, Problem] = dict(sorted({**ARRANGEMENTS, **CONTAINMENT}.items()))
Scene = Layout | Patterns | Board


class _Task(NamedTuple):
    """How a task's images come about.

    Args:
        draw: (draws, labels, size) → arrays, and which of the n images are accepted, (n,).
        scene: made of the size, the labels, these arrays and the images' keys.
        shapes: how many shapes a scene may have, if that may be chosen.
    """

    draw: Problem
    scene: type
    shapes: range | None = None


_OUTLINES: dict[str, Problem] = {
    **{f"svrt_{number}": problem for number, problem in _SVRT.items()},
    **{f"svrt_{number}_clean": problem for number, problem in CLEAN.items()},
    **RELATIONS,
    **ORIENTATION,
}
TASKS: dict[str, _Task] = {
    **{name: _Task(draw, Layout) for name, draw in _OUTLINES.items()},
    **{name: _Task(draw, Patterns) for name, draw in PSVRT.items()},
    **{name: _Task(draw, Board) for name, draw in CHECKERBOARD.items()},
}


# More than these hardly ever find a place.
for _name, _shapes in {
    "odd_one_out": range(3, 8),
    "orientation_several": range(1, 10),
    "psvrt_same_four": range(2, 11),
    "checkerboard_five": range(1, 7),
    "checkerboard_five_rotated": range(1, 7),
}.items():
    TASKS[_name] = TASKS[_name]._replace(shapes=_shapes)


def names() -> tuple[str, ...]:
    """The tasks that `layouts` knows.

    Example:

    >>> from tfcaps.datasets import abstract_shapes
    >>> abstract_shapes.names()[0]
    'svrt_1'
    """
    return tuple(TASKS)


def task(name: str) -> _Task:
    """How a task's layouts are drawn.

    Raises:
        UsageError: there is no such task.
    """
    if name not in TASKS:
        near = difflib.get_close_matches(name, TASKS, n=3)
        meant = f", perhaps {' or '.join(near)}" if near else ""
        others = [name for name in TASKS if not name.startswith("svrt_")]
        clean = ", ".join(map(str, CLEAN))
        raise UsageError(
            f"Expected an abstract task among svrt_1 to svrt_{len(_SVRT)}, svrt_N_clean "
            f"(N: {clean}), {', '.join(others)}{meant}. Received: {name}"
        )
    return TASKS[name]
