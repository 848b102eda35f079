"""All tasks by name."""

import difflib

from tfcaps.datasets.abstract_shapes.clean import CLEAN
from tfcaps.datasets.abstract_shapes.containment import PROBLEMS as CONTAINMENT
from tfcaps.datasets.abstract_shapes.orientation import ORIENTATION
from tfcaps.datasets.abstract_shapes.relations import RELATIONS
from tfcaps.datasets.abstract_shapes.svrt import PROBLEMS as ARRANGEMENTS
from tfcaps.errors import UsageError

_SVRT = dict(sorted({**ARRANGEMENTS, **CONTAINMENT}.items()))
TASKS = {
    **{f"svrt_{number}": problem for number, problem in _SVRT.items()},
    **{f"svrt_{number}_clean": problem for number, problem in CLEAN.items()},
    **RELATIONS,
    **ORIENTATION,
}


def names() -> tuple[str, ...]:
    """The tasks that `layouts` knows.

    Example:

    >>> from tfcaps.datasets import abstract_shapes
    >>> abstract_shapes.names()[0]
    'svrt_1'
    """
    return tuple(TASKS)


def task(name: str):
    """How a task's layouts are drawn.

    Raises:
        UsageError: there is no such task.
    """
    if name not in TASKS:
        near = difflib.get_close_matches(name, TASKS, n=3)
        meant = f", perhaps {' or '.join(near)}" if near else ""
        clean = ", ".join(map(str, CLEAN))
        raise UsageError(
            f"Expected an abstract task among svrt_1 to svrt_{len(_SVRT)}, svrt_N_clean "
            f"(N: {clean}), {', '.join([*RELATIONS, *ORIENTATION])}{meant}. Received: {name}"
        )
    return TASKS[name]
