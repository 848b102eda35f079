"""Blocks per round: the bars' heights, the sums over them, the entropies."""

import numpy as np
import pytest

from tfcaps import plots


def test_bars_are_stacked():
    figure = plots.blocks_per_round([(3, 12), (3, 5), (1, 0)], ["0", "1", "end"])
    plots.to_array(figure)

    (axes,) = figure.axes
    first, second = axes.containers
    assert [bar.get_height() for bar in first] == [3, 3, 1]
    assert [bar.get_height() for bar in second] == [12, 5, 0]
    assert [bar.get_y() for bar in second] == [3, 3, 1]
    assert [text.get_text() for text in axes.texts] == ["15", "8", "1"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "end"]
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["stage 1", "stage 2"]
    assert axes.get_title(loc="left") == "Blocks of each round's network"


def test_entropies_are_drawn_above():
    entropies = [2.0, np.nan, 0.0]
    figure = plots.blocks_per_round(
        [(3,), (2,), (1,)], ["0", "1", "2"], stages=["only"], entropies=entropies
    )
    plots.to_array(figure)

    above, below = figure.axes
    np.testing.assert_array_equal(above.get_lines()[0].get_ydata(), entropies)
    assert above.get_title(loc="left") == "Blocks of each round's network"
    assert below.get_title(loc="left") == ""
    assert [text.get_text() for text in below.get_legend().get_texts()] == ["only"]


@pytest.mark.parametrize("entropies", [[0.0, 0.0], [np.nan, np.nan]])
def test_entropies_without_a_range(entropies):
    figure = plots.blocks_per_round([(1,), (1,)], ["0", "1"], entropies=entropies)
    plots.to_array(figure)
    assert figure.axes[0].get_ylim() == (0.0, 1.0)


def test_many_rounds_and_stages_stay_readable():
    figure = plots.blocks_per_round(np.ones((100, 9), int), [str(i) for i in range(100)])
    plots.to_array(figure)

    (axes,) = figure.axes
    assert len(axes.get_xticks()) == len(axes.texts) == 25
    # Three lines of the legend lie below the title.
    title = axes._left_title
    renderer = figure.canvas.get_renderer()
    legend = axes.get_legend().get_window_extent(renderer)
    assert title.get_window_extent(renderer).y0 >= legend.y1


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"blocks of 1 rounds as \(R, S\).*shape: \(2, 1\)"):
        plots.blocks_per_round([(1,), (2,)], ["0"])
    with pytest.raises(ValueError, match=r"Received shape: \(0,\)"):
        plots.blocks_per_round([], [])
    with pytest.raises(ValueError, match=r"names of 1 stages\. Received: \['a', 'b'\]"):
        plots.blocks_per_round([(1,)], ["0"], stages=["a", "b"])
    with pytest.raises(ValueError, match=r"entropies of 1 rounds\. Received: 2"):
        plots.blocks_per_round([(1,)], ["0"], entropies=[1.0, 2.0])
