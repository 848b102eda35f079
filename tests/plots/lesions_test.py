"""Lesion curves: means, bands, and the whole network as their beginning."""

import numpy as np
import pytest

from tfcaps import plots

CURVES = {
    "conflicting": ([1, 2], [0.9, 0.8], [0.0, 0.3]),
    "non_conflicting": ([1], [0.05], [0.1]),
    "all": ([1, 2, 4], [0.7, 0.5, 0.2], [0.1, 0.1, 0.1]),
}


def test_curves_begin_at_the_whole_network():
    figure = plots.lesion_curves(CURVES, 0.92)
    plots.to_array(figure)

    (axes,) = figure.axes
    whole, conflicting, other, every = axes.get_lines()
    assert list(whole.get_ydata()) == [0.92, 0.92]
    assert [line.get_label() for line in axes.get_lines()] == [
        *("whole network 92.0%", "conflicting", "non-conflicting", "all")
    ]
    np.testing.assert_array_equal(conflicting.get_xydata(), [[0, 0.92], [1, 0.9], [2, 0.8]])
    np.testing.assert_array_equal(other.get_xydata(), [[0, 0.92], [1, 0.05]])
    np.testing.assert_array_equal(every.get_xdata(), [0, 1, 2, 4])


def test_bands_are_one_standard_deviation_and_stay_in_0_to_1():
    axes = plots.lesion_curves(CURVES, 0.92).axes[0]

    conflicting, other, _ = (band.get_paths()[0].vertices for band in axes.collections)
    edges = conflicting[conflicting[:, 0] == 2][:, 1]
    np.testing.assert_allclose([edges.min(), edges.max()], [0.5, 1.0])
    edges = other[other[:, 0] == 1][:, 1]
    np.testing.assert_allclose([edges.min(), edges.max()], [0.0, 0.15])


@pytest.mark.parametrize("groups", [["all"], ["conflicting", "all"], list(CURVES)])
def test_the_legend_is_not_on_the_title(groups):
    figure = plots.lesion_curves({group: CURVES[group] for group in groups}, 0.92)
    plots.to_array(figure)

    (axes,) = figure.axes
    renderer = figure.canvas.get_renderer()
    legend = axes.get_legend().get_window_extent(renderer)
    assert axes._left_title.get_window_extent(renderer).y0 >= legend.y1


def test_wrong_curves():
    with pytest.raises(ValueError, match=r"at least one group of blocks\. Received: none"):
        plots.lesion_curves({}, 0.9)
    with pytest.raises(ValueError, match=r"one length for all\. Received: 2, 1, 2"):
        plots.lesion_curves({"all": ([1, 2], [0.5], [0.1, 0.1])}, 0.9)
