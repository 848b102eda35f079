"""The figure of the sign experiment: what is drawn of the networks' decisions."""

import numpy as np
import pytest

from tfcaps import plots
from tfcaps.plots.signs import sign_decisions

X = np.array([-1.0, -0.5, 0.5, 1.0])
# Three networks: one right everywhere, one right but at −0.5, one that always says "negative".
THREE = np.array([[-0.4, -0.2, 0.2, 0.4], [-0.3, 0.1, 0.3, 0.3], [-0.5, -0.5, -0.5, 0.0]])


def test_medians_and_shares():
    figure = sign_decisions(X, {"em, bias": THREE, "em, no bias": THREE[2:]})
    above, above_2, below, below_2 = figure.axes

    assert [axes.get_title(loc="left") for axes in (above, above_2)] == ["em, bias", "em, no bias"]
    _, median = above.get_lines()
    np.testing.assert_allclose(median.get_ydata(), [-0.4, -0.2, 0.2, 0.3])
    # numpy's quantile 0.1 of three values: a fifth of the way from the first to the second.
    band = above.collections[0].get_paths()[0].vertices
    np.testing.assert_allclose(band[:, 1].min(), -0.5 + 0.2 * 0.1, atol=1e-9)
    share, truth = below.get_lines()
    np.testing.assert_allclose(share.get_ydata(), [0, 1 / 3, 2 / 3, 2 / 3])
    np.testing.assert_allclose(truth.get_xydata(), [[-1, 0], [0, 0], [0, 1], [1, 1]])
    np.testing.assert_allclose(below_2.get_lines()[0].get_ydata(), 0.0)
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    assert labels == {"middle 80 % of networks", "median", "networks", "truth"}


def test_a_single_network_is_drawn():
    assert plots.to_array(sign_decisions(X, {"rba, bias": THREE[:1]})).ndim == 3


@pytest.mark.parametrize("wrong", [{}, {"a": THREE[0]}, {"a": THREE[:0]}, {"a": THREE[:, :3]}])
def test_wrong_arrays(wrong):
    with pytest.raises(ValueError, match=r"Expected arrays \(networks, 4\), at least one"):
        sign_decisions(X, wrong)
