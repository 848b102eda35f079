"""Pairs of input and reconstruction."""

import numpy as np
import pytest

from tfcaps import plots


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.axison]


def test_a_pair_is_the_input_over_its_reconstruction():
    originals = np.full((1, 2, 3, 1), 0.25)
    reconstructed = np.full((1, 2, 3, 1), 0.75)

    figure = plots.reconstructions(originals, reconstructed)

    picture = figure.axes[0].get_images()[0].get_array()
    # Two lines of input, one of white paper, two of reconstruction.
    np.testing.assert_allclose(picture[..., 0], [[0.25] * 3] * 2 + [[1.0] * 3] + [[0.75] * 3] * 2)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["input", "reconstruction"]
    np.testing.assert_allclose(axes.get_yticks(), [0.5, 3.5])


def test_colours_are_kept():
    red = np.zeros((1, 2, 2, 3))
    red[..., 0] = 1.0

    picture = plots.reconstructions(red, red).axes[0].get_images()[0].get_array()

    np.testing.assert_allclose(picture[0, 0], [1.0, 0.0, 0.0])


def test_classes_stand_over_the_pairs():
    images = np.zeros((3, 4, 4, 1))
    names = ["cat", "dog", "crocodilians"]

    assert titles(plots.reconstructions(images, images)) == ["", "", ""]
    assert titles(plots.reconstructions(images, images, labels=[0, 1, 2])) == ["0", "1", "2"]
    figure = plots.reconstructions(
        images, images, labels=[0, 1, 0], predictions=[0, 0, 2], class_names=names
    )
    assert titles(figure) == ["cat", "dog → cat", "cat\n→ crocodilians"]
    right, wrong, _ = (axes.title.get_color() for axes in figure.axes)
    assert right == "black"
    assert wrong != right


def test_more_than_ten_pairs_take_a_second_row():
    images = np.zeros((13, 4, 4, 1))

    figure = plots.reconstructions(images, images)

    assert len(figure.axes) == 20
    assert len(titles(figure)) == 13
    named = [index for index, axes in enumerate(figure.axes) if axes.get_yticklabels()]
    assert named == [0, 10]


@pytest.mark.parametrize(
    ("original_shape", "shape", "labels", "message"),
    [
        ((2, 4, 4, 1), (2, 4, 4, 3), None, r"Received: \(2, 4, 4, 1\) and \(2, 4, 4, 3\)"),
        ((2, 4, 4), (2, 4, 4), None, r"rank 4.*Received shape: \(2, 4, 4\)"),
        ((0, 4, 4, 1), (0, 4, 4, 1), None, r"non-empty.*Received shape: \(0, 4, 4, 1\)"),
        ((2, 4, 4, 1), (2, 4, 4, 1), [1], r"Expected 2 labels\. Received: 1"),
    ],
)
def test_wrong_arguments(original_shape, shape, labels, message):
    with pytest.raises(ValueError, match=message):
        plots.reconstructions(np.zeros(original_shape), np.zeros(shape), labels=labels)
