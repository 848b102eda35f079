"""The Pareto front: which points it has, and what is drawn."""

import numpy as np
import pytest

from tfcaps import plots


def test_nothing_beats_the_front():
    #        front  beaten  front  as cheap  as good  the same as 2
    costs = [1, 2, 3, 3, 4, 3]
    accuracies = [0.5, 0.4, 0.6, 0.5, 0.6, 0.6]
    expected = [True, False, True, False, False, True]
    assert plots.pareto_optimal(costs, accuracies).tolist() == expected


def test_nan_is_never_optimal():
    costs, accuracies = [1.0, np.nan, 2.0], [np.nan, 0.9, 0.5]
    assert plots.pareto_optimal(costs, accuracies).tolist() == [False, False, True]
    assert plots.pareto_optimal([], []).tolist() == []


def test_front_against_its_definition():
    rng = np.random.default_rng(0)
    costs, accuracies = rng.integers(0, 12, 60), rng.integers(0, 12, 60)
    expected = [
        not any(
            c <= cost and a >= accuracy and (c, a) != (cost, accuracy)
            for c, a in zip(costs, accuracies, strict=True)
        )
        for cost, accuracy in zip(costs, accuracies, strict=True)
    ]
    assert 0 < sum(expected) < 60
    assert plots.pareto_optimal(costs, accuracies).tolist() == expected


def drawn(figure):
    """The points by what the legend says of them, and the step line."""
    (axes,) = figure.axes
    points = {c.get_label(): np.asarray(c.get_offsets()).tolist() for c in axes.collections}
    step, front = axes.get_lines()
    return {**points, "front": front.get_xydata().tolist(), "step": step}


def test_points_are_told_apart():
    figure = plots.pareto_front(
        [30, 10, 20, 40, 50], [0.5, 0.6, 0.7, np.nan, 0.7], list("01234"), x_label="ms"
    )
    plots.to_array(figure)

    found = drawn(figure)
    assert found["attempt"] == [[30, 0.5], [50, 0.7]]
    assert found["front"] == [[10, 0.6], [20, 0.7]]
    assert found["step"].get_drawstyle() == "steps-post"
    assert found["start"] == [[30, 0.5]]
    assert found["best 70.00%"] == [[20, 0.7]]  # the cheaper one of the two
    (axes,) = figure.axes
    assert sorted(text.get_text() for text in axes.texts) == ["0", "1", "2", "4"]
    assert (axes.get_xlabel(), axes.get_xscale()) == ("ms", "linear")


def test_the_start_can_be_another_one_or_none():
    arguments = {"costs": [1, 2], "accuracies": [0.5, 0.6], "labels": "ab", "x_label": "ms"}
    assert drawn(plots.pareto_front(**arguments, start=1))["start"] == [[2, 0.6]]
    assert "start" not in drawn(plots.pareto_front(**arguments, start=None))
    arguments["accuracies"] = [np.nan, 0.6]
    assert "start" not in drawn(plots.pareto_front(**arguments, start=0))


@pytest.mark.parametrize(
    ("costs", "log_x", "scale"),
    [
        ([1e5, 1.1e6], None, "log"),
        ([1e5, 9e5], None, "linear"),
        ([1e5, 9e5], True, "log"),
        ([1e5, 1e7], False, "linear"),
        ([0, 10], None, "linear"),
    ],
)
def test_scale(costs, log_x, scale):
    figure = plots.pareto_front(costs, [0.5, 0.6], ["a", "b"], x_label="Parameters", log_x=log_x)
    plots.to_array(figure)
    assert figure.axes[0].get_xscale() == scale


def test_names_do_not_lie_on_each_other():
    rng = np.random.default_rng(0)
    costs, accuracies = 10 ** rng.uniform(5, 7, 80), rng.uniform(0.5, 0.6, 80)
    figure = plots.pareto_front(costs, accuracies, [str(i) for i in range(80)], x_label="x")
    plots.to_array(figure)

    (axes,) = figure.axes
    renderer = figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    assert len(boxes) > 5
    overlapping = [
        (one, two)
        for index, one in enumerate(boxes)
        for two in boxes[:index]
        if one.shrunk(0.8, 0.8).overlaps(two.shrunk(0.8, 0.8))
    ]
    assert not overlapping
    legend = axes.get_legend().get_window_extent(renderer)
    assert axes._left_title.get_window_extent(renderer).y0 >= legend.y1


def test_a_single_attempt():
    figure = plots.pareto_front([3.0], [0.5], ["0"], x_label="ms")
    plots.to_array(figure)
    assert drawn(figure)["best 50.00%"] == [[3.0, 0.5]]


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"as costs\. Received: 1, 2 and 2"):
        plots.pareto_front([1, 2], [0.5], ["a", "b"], x_label="ms")
    with pytest.raises(ValueError, match=r"one finite point\. Received: 0 others"):
        plots.pareto_front([], [], [], x_label="ms")
    with pytest.raises(ValueError, match=r"one finite point\. Received: 1 others"):
        plots.pareto_front([1], [np.nan], ["a"], x_label="ms")
