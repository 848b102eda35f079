"""Histograms of coupling coefficients."""

import numpy as np
import pytest

from tfcaps import plots


def bar_heights(axes):
    return np.array([bar.get_height() for bar in axes.patches])


def test_a_panel_per_layer_with_the_uniform_value():
    figure = plots.coupling_histogram(
        {"dense": np.full((2, 4, 5), 0.25), "convolutional": np.full((2, 3, 3, 2, 6), 0.5)}
    )

    first, second = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["dense", "convolutional"]
    assert [axes.get_lines()[0].get_xdata()[0] for axes in figure.axes] == [0.25, 0.5]
    assert first.get_legend().get_texts()[0].get_text() == "uniform: 1/4"
    assert bar_heights(first).sum() == 2 * 4 * 5
    assert bar_heights(second).sum() == 2 * 3 * 3 * 2 * 6
    assert first.get_yscale() == "log"


def test_a_uniform_layer_is_one_bar_at_the_line():
    axes = plots.coupling_histogram({"a": np.full((3, 10, 7), 0.1)}).axes[0]

    heights = bar_heights(axes)
    (place,) = np.flatnonzero(heights)
    bar = axes.patches[place]
    assert heights[place] == 210
    assert bar.get_x() < 0.1 < bar.get_x() + bar.get_width()
    assert axes.get_xlim() == pytest.approx((0.0, 0.2))


def test_the_axis_reaches_the_largest_coefficient_and_ends_at_one():
    decided = np.stack([np.ones((1, 8)), np.zeros((1, 8))], axis=1)  # (1, O = 2, I = 8)
    skewed = np.stack([np.full((1, 8), share) for share in (0.7, 0.1, 0.1, 0.1)], axis=1)
    figure = plots.coupling_histogram({"decided": decided, "skewed": skewed})

    assert [axes.get_xlim()[1] for axes in figure.axes] == pytest.approx([1.0, 0.7])
    heights = bar_heights(figure.axes[0])
    assert (heights[0], heights[-1]) == (8, 8)


def test_one_output_capsule_and_values_that_are_not_finite():
    figure = plots.coupling_histogram(
        {"one": np.ones((2, 1, 3)), "diverged": np.full((2, 4, 3), np.nan)}
    )
    plots.to_array(figure)

    assert [bar_heights(axes).sum() for axes in figure.axes] == [6, 0]


def test_many_layers_take_several_rows():
    figure = plots.coupling_histogram({f"layer {n}": np.full((1, 2, 2), 0.5) for n in range(7)})

    assert sum(axes.axison for axes in figure.axes) == 7
    assert figure.get_size_inches()[0] <= 12.0


def test_wrong_arguments():
    with pytest.raises(ValueError, match="at least one layer"):
        plots.coupling_histogram({})
    with pytest.raises(ValueError, match=r"Received: \(5,\) for a"):
        plots.coupling_histogram({"a": np.ones(5)})
