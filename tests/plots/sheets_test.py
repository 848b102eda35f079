"""A contact sheet: which image stands where, and under which caption."""

import numpy as np
import pytest

from tfcaps import plots

IMAGES = np.arange(5)[:, None, None, None] * np.full((5, 6, 6, 1), 0.2)


def test_rows():
    rows = {
        "right": (IMAGES[:3], ["0", "1", "2"]),
        "wrong": (IMAGES[4:], ["4"]),
        "unsure": (IMAGES[:0], []),
    }
    figure = plots.contact_sheet(rows, title="lenet")
    plots.to_array(figure)
    grid = np.array(figure.axes).reshape(3, 3)
    assert [[axes.get_title() for axes in line] for line in grid] == [
        *(["0", "1", "2"], ["4", "", ""], ["", "", ""])
    ]
    shown = [[axes.images[0].get_array().mean() for axes in line if axes.images] for line in grid]
    assert shown[2] == []
    np.testing.assert_allclose(shown[0], [0.0, 0.2, 0.4], rtol=1e-6)
    np.testing.assert_allclose(shown[1], [0.8], rtol=1e-6)
    assert [line[0].get_ylabel() for line in grid] == ["right", "wrong", "unsure\n(none)"]
    assert figure.get_suptitle() == "lenet"


@pytest.mark.parametrize("rows", [{}, {"right": (IMAGES[:0], [])}, {"right": (IMAGES, ["0"])}])
def test_wrong_input(rows):
    with pytest.raises(ValueError, match="Expected"):
        plots.contact_sheet(rows)
