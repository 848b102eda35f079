"""Pictures of what capsules answer to."""

import numpy as np
import pytest

from tfcaps import plots
from tfcaps.plots.activations import activation_grid

IMAGES = np.random.default_rng(0).uniform(size=(16, 6, 5, 3))


def test_pictures_and_captions():
    figure = activation_grid(IMAGES, [f"{k}: 0.5" for k in range(16)], title="capsules_1")
    assert [axes.get_title() for axes in figure.axes] == [f"{k}: 0.5" for k in range(16)]
    for axes, image in zip(figure.axes, IMAGES, strict=True):
        np.testing.assert_allclose(axes.images[0].get_array(), image, atol=1e-6)
    assert figure.get_suptitle() == "capsules_1"


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (5, 5), (10, 5), (12, 6), (16, 8), (7, 7)])
def test_few_places_stay_empty(count, columns):
    figure = activation_grid(IMAGES[:count], [""] * count)
    assert figure.axes[0].get_gridspec().ncols == columns
    assert len(figure.axes) == count


def test_grey_and_long_captions():
    figure = activation_grid(IMAGES[:1, ..., :1], ["a class with a very long name: 0.91"])
    assert figure.axes[0].get_title() == "a class with a ve…"
    assert plots.to_array(figure).ndim == 3


def test_wrong_arrays():
    with pytest.raises(ValueError, match=r"Expected images as a non-empty array of rank 4"):
        activation_grid(IMAGES[0], ["0"])
    with pytest.raises(ValueError, match=r"Expected 16 captions. Received: 1"):
        activation_grid(IMAGES, ["0"])
