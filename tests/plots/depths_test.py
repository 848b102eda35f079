"""The figure of the depth experiment: which curves with which bars."""

import numpy as np
import pytest

from tfcaps import plots
from tfcaps.plots.depths import depth_curves

CURVE = ([2, 3, 5], [0.9, 0.99, 0.1], [0.01, 0.02, 0.2])


def test_curves():
    figure = depth_curves({"mnist": {("em", False): CURVE, ("em", True): CURVE}})
    (axes,) = figure.axes
    without, with_skips = axes.containers
    for container, shift in ((without, -0.16), (with_skips, 0.16)):
        line, _, (bars,) = container
        np.testing.assert_allclose(line.get_xdata(), np.array([2, 3, 5]) + shift)
        np.testing.assert_allclose(line.get_ydata(), CURVE[1])
        ends = np.array([segment[:, 1] for segment in bars.get_segments()])
        # No bar leaves [0, 1].
        np.testing.assert_allclose(ends, [[0.89, 0.91], [0.97, 1.0], [0.0, 0.3]])
    assert (without[0].get_linestyle(), with_skips[0].get_linestyle()) == ("--", "-")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["em", "em, skips"]


def test_panels():
    panel = {("rba", True): CURVE, ("other", True): CURVE}
    figure = depth_curves({"a": panel, "b": panel, "c": panel})
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["a", "b", "c"]
    assert plots.to_array(figure).ndim == 3


def test_a_single_depth():
    assert plots.to_array(depth_curves({"a": {("sda", False): ([4], [0.5], [0.0])}})).ndim == 3


@pytest.mark.parametrize("wrong", [{}, {"a": {}}])
def test_nothing_to_draw(wrong):
    with pytest.raises(ValueError, match=r"Expected panels with curves"):
        depth_curves(wrong)


def test_wrong_columns():
    with pytest.raises(ValueError, match=r"Expected columns of one length for em. Received: 2, 1"):
        depth_curves({"a": {("em", True): ([2, 3], [0.5], [0.1])}})
