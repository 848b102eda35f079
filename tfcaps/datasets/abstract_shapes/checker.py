"""Decides the class of a layout from its geometry alone.

Nothing of how layouts are drawn is used: shapes are compared point by point, and masks, distances
and contacts are computed in the picture.
"""

import numpy as np

from tfcaps.datasets.abstract_shapes.clean_rules import CLEAN_RULES
from tfcaps.datasets.abstract_shapes.contours import dense
from tfcaps.datasets.abstract_shapes.layout import Layout
from tfcaps.datasets.abstract_shapes.orientation import ORIENTATION
from tfcaps.datasets.abstract_shapes.relation_rules import RELATION_RULES, lies
from tfcaps.datasets.abstract_shapes.scene_rules import SCENE_RULES
from tfcaps.datasets.abstract_shapes.shapes import on_grid
from tfcaps.datasets.abstract_shapes.svrt_rules import SVRT_RULES
from tfcaps.datasets.abstract_shapes.tasks import Scene, task as known_task
from tfcaps.datasets.abstract_shapes.view import View
from tfcaps.errors import UsageError

NEITHER = -1
_TOUCHING = ("svrt_3", "svrt_11", "touching")  # Tasks in which outlines meet.
_RULES = {
    **{f"svrt_{number}": rule for number, rule in SVRT_RULES.items()},
    **{f"svrt_{number}_clean": rule for number, rule in CLEAN_RULES.items()},
    **RELATION_RULES,
    **dict.fromkeys(ORIENTATION, lies),
}


def decide(task: str, layout: Scene) -> np.ndarray:
    """The classes of layouts.

    Args:
        task: whose definition decides.
        layout: n layouts; their labels are not looked at.

    Returns:
        int64 (n,): 1: with the relation, 0: without, -1: neither definition holds, or shapes touch
        or leave the picture where they must not.

    Raises:
        UsageError: the task is unknown, or its scenes are of another kind.

    Example:

    >>> from tfcaps.datasets import abstract_shapes
    >>> layout = abstract_shapes.layouts("svrt_1", 10)
    >>> bool((abstract_shapes.decide("svrt_1", layout) == layout.labels).all())
    True
    """
    if not isinstance(layout, known_task(task).scene):
        raise UsageError(
            f"Expected a {known_task(task).scene.__name__} for {task}. "
            f"Received: a {type(layout).__name__}"
        )
    if not isinstance(layout, Layout):
        one, zero, proper = SCENE_RULES[task](layout)
        return np.where(proper & (one != zero), one, NEITHER)
    pixels = on_grid(dense(layout.outlines), layout.centres)
    whole = ((pixels >= 1) & (pixels <= layout.size - 2)).all((1, 2, 3))
    result = np.full(len(layout), NEITHER)
    if whole.any():
        view = View(layout.size, layout.outlines[whole], layout.centres[whole])
        one, zero = _RULES[task](view)
        proper = view.outlines_are_apart() | (task in _TOUCHING)
        result[whole] = np.where(proper & (one != zero), one, NEITHER)
    return result
