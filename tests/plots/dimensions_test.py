"""The grid of reconstructions from changed capsules."""

import numpy as np
import pytest

from tfcaps import plots


def test_rows_are_dimensions_and_columns_are_values():
    # Three dimensions, two values, images of a single pixel with its own grey each.
    grid = np.arange(6).reshape(3, 2, 1, 1, 1) / 10

    figure = plots.dimension_sweep(grid, [-0.25, 0.0])

    picture = figure.axes[0].get_images()[0].get_array()
    np.testing.assert_allclose(picture[::2, ::2, 0], [[0.0, 0.1], [0.2, 0.3], [0.4, 0.5]])
    np.testing.assert_allclose(picture[1], 1.0)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1", "2", "3"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["\N{MINUS SIGN}0.25", "0"]
    np.testing.assert_allclose(axes.get_yticks(), [0, 2, 4])
    np.testing.assert_allclose(axes.get_xticks(), [0, 2])


def test_values_of_a_linspace_are_written_short():
    figure = plots.dimension_sweep(np.zeros((1, 11, 2, 2, 3)), np.linspace(-0.25, 0.25, 11))

    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels[4:] == ["\N{MINUS SIGN}0.05", "0", "+0.05", "+0.1", "+0.15", "+0.2", "+0.25"]


def test_title():
    grid = np.zeros((2, 3, 4, 4, 1))

    assert plots.dimension_sweep(grid, [-1, 0, 1]).get_suptitle() == ""
    assert plots.dimension_sweep(grid, [-1, 0, 1], title="$a_$").get_suptitle() == "$a_$"


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"Expected 3 values\. Received: 2"):
        plots.dimension_sweep(np.zeros((2, 3, 4, 4, 1)), [0, 1])
    with pytest.raises(ValueError, match=r"rank 5.*Received shape: \(3, 4, 4, 1\)"):
        plots.dimension_sweep(np.zeros((3, 4, 4, 1)), [0, 1, 2])
