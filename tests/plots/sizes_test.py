"""Accuracy against size: the points, their errors, and the sizes below."""

import numpy as np
import pytest

from tfcaps import plots

PANELS = {
    "svrt_1": {
        "lenet": ([20, 1000], [0.5, 0.6], [None, 0.05]),
        "resnet": ([20, 1000], [0.55, 0.9], [0.01, 0.02]),
    },
    "svrt_4": {"resnet": ([20], [0.75], [None])},
}


def test_points_and_errors():
    figure = plots.accuracy_against_size(PANELS)
    plots.to_array(figure)
    first, second = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["svrt_1", "svrt_4"]
    lenet, resnet = first.containers
    np.testing.assert_allclose(lenet.lines[0].get_xydata(), [[20, 0.5], [1000, 0.6]])
    ends = np.array([[line[:, 1] for line in resnet.lines[2][0].get_segments()]])
    np.testing.assert_allclose(ends[0], [[0.54, 0.56], [0.88, 0.92]])
    # A network has one colour in all panels.
    colours = [resnet.lines[0].get_color(), second.containers[0].lines[0].get_color()]
    assert colours[0] == colours[1] != lenet.lines[0].get_color()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["lenet", "resnet"]


def test_sizes_and_chance():
    figure = plots.accuracy_against_size(PANELS, chance=0.25)
    for axes in figure.axes:
        assert axes.get_xscale() == "log"
        assert [label.get_text() for label in axes.get_xticklabels()] == ["20", "1k"]
        assert [set(line.get_ydata()) for line in axes.lines].count({0.25}) == 1


@pytest.mark.parametrize(
    "panels",
    [{}, {"svrt_1": {}}, {"svrt_1": {"lenet": ([20], [0.5], [])}}, {"a": {"b": ([], [], [])}}],
)
def test_wrong_input(panels):
    with pytest.raises(ValueError, match="Expected"):
        plots.accuracy_against_size(panels)
