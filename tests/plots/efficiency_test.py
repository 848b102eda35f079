import numpy as np
import pytest

from tfcaps import plots


def test_lines_and_bands():
    curves = {"random": np.array([[0.5, 0.7], [0.7, 0.9]]), "guided": np.array([[0.6, 1.0]])}
    figure = plots.label_efficiency(np.array([10, 20]), curves, 0.95)
    (axes,) = figure.axes
    random, guided, full = axes.lines
    np.testing.assert_allclose(random.get_ydata(), [0.6, 0.8])
    np.testing.assert_allclose(guided.get_ydata(), [0.6, 1.0])
    assert set(full.get_ydata()) == {0.95}
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    np.testing.assert_allclose([band.min(), band.max()], [0.5, 0.9])


def test_wrong_shape():
    with pytest.raises(ValueError, match=r"Expected arrays \(seeds, 2\)"):
        plots.label_efficiency(np.array([10, 20]), {"random": np.array([0.5, 0.7])})
