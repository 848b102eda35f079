"""The pictures of a finished run."""

import numpy as np
import pytest

from tfcaps import plots
from tfcaps.training.capsule_figures import draw


@pytest.fixture
def calls(monkeypatch):
    """Notes with what each plot was called, while it is drawn as ever."""
    noted = {}

    def noting(name, plot):
        def call(*args, **kwargs):
            noted[name] = (args, kwargs)
            return plot(*args, **kwargs)

        return call

    for name in ("confusion_matrix", "reconstructions", "dimension_sweep", "coupling_histogram"):
        monkeypatch.setattr(plots, name, noting(name, getattr(plots, name)))
    return noted


def draw_all(model, examples, class_names, *, is_finished=True):
    images, labels = examples
    shown = {"image": images, "original": images, "label": labels}
    return draw(model, shown, class_names, is_finished=is_finished)


def test_all_figures(plain_capsnet, examples, class_names, calls):
    figures, histograms = draw_all(plain_capsnet(), examples, class_names)

    expected = {"capsule_dimensions", "confusion_matrix", "couplings", "reconstructions"}
    assert set(figures) == expected
    assert list(histograms) == ["couplings/hidden", "couplings/classes"]

    (counts, names), _ = calls["confusion_matrix"]
    np.testing.assert_array_equal(counts, [[1, 0, 1], [0, 1, 0], [0, 0, 1]])
    assert names == class_names
    (originals, reconstructed), shown = calls["reconstructions"]
    np.testing.assert_allclose(reconstructed, originals, rtol=1e-6)
    assert list(shown["labels"]) == [0, 1, 2, 0]
    assert list(shown["predictions"]) == [0, 1, 2, 2]
    (couplings,), _ = calls["coupling_histogram"]
    assert list(couplings) == ["hidden", "classes"]


@pytest.mark.parametrize("mask", ["none", "label"])
def test_each_dimension_of_the_winning_capsule_is_changed(plain_capsnet, class_names, calls, mask):
    # A wrong example first, and a right one of class 1 that has a bit of class 0 as well.
    image = np.zeros((1, 2, 3, 1), "float32")
    image[0, :, :, 0] = [[0.1, 0.7, 0.0], [0.0, 0.2, 0.0]]

    draw_all(
        plain_capsnet(mask=mask),
        (np.concatenate([image * 2, image]), np.array([0, 1])),
        class_names,
    )

    (grid, values), title = calls["dimension_sweep"]
    np.testing.assert_allclose(
        values, [-0.25, -0.2, -0.15, -0.1, -0.05, 0, 0.05, 0.1, 0.15, 0.2, 0.25], atol=1e-12
    )
    assert title["title"].endswith('"bee"')
    assert grid.shape == (2, 11, 2, 3, 1)
    other = 0.1 if mask == "none" else 0.0
    for column, value in enumerate(values):
        np.testing.assert_allclose(
            grid[0, column, :, :, 0], [[other, 0.7 + value, 0], [0, 0.2, 0]], atol=1e-6
        )
        np.testing.assert_allclose(
            grid[1, column, :, :, 0], [[other, 0.7, 0], [0, 0.2 + value, 0]], atol=1e-6
        )


@pytest.mark.parametrize("is_finished", [True, False])
def test_without_a_decoder(plain_capsnet, examples, class_names, is_finished):
    figures, _ = draw_all(
        plain_capsnet(use_decoder=False), examples, class_names, is_finished=is_finished
    )
    assert set(figures) == {"confusion_matrix", *(["couplings"] if is_finished else [])}


def test_fewer_figures_after_each_epoch(plain_capsnet, examples, class_names):
    figures, histograms = draw_all(plain_capsnet(), examples, class_names, is_finished=False)
    assert set(figures) == {"confusion_matrix", "reconstructions"}
    np.testing.assert_allclose(histograms["couplings/hidden"], 1 / 3)


def test_a_network_that_is_never_right(plain_capsnet, examples, class_names, calls):
    images, _ = examples

    draw_all(plain_capsnet(), (images, np.array([1, 2, 0, 1])), class_names)

    assert calls["dimension_sweep"][1]["title"].endswith('"cat"')
