"""Confusion matrices: the counts and what is drawn of them."""

import numpy as np
import pytest

from tfcaps import plots


def test_counts_by_hand():
    counts = plots.confusion_counts(
        labels=[0, 0, 0, 1, 2, 2], predictions=[0, 2, 2, 1, 0, 2], num_classes=4
    )

    np.testing.assert_array_equal(counts, [[1, 0, 2, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]])


def test_counts_of_nothing():
    np.testing.assert_array_equal(plots.confusion_counts([], [], 2), [[0, 0], [0, 0]])


@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        ([0, 3], [0, 1], r"Expected classes from 0 to 2\. Received: 3"),
        ([0, 1], [0, -1], r"Expected classes from 0 to 2\. Received: -1"),
        ([0, 1], [0], r"one shape.*\(2,\) and \(1,\)"),
    ],
)
def test_wrong_classes(labels, predictions, message):
    with pytest.raises(ValueError, match=message):
        plots.confusion_counts(labels, predictions, num_classes=3)


def test_picture_of_two_classes():
    figure = plots.confusion_matrix(np.array([[3, 1], [0, 6]]), ["cat", "dog"])
    axes = figure.axes[0]

    assert axes.get_title(loc="left") == "Accuracy 90.00% (9 of 10)"
    np.testing.assert_allclose(axes.get_images()[0].get_array(), [[0.75, 0.25], [0.0, 1.0]])
    # Texts stand at (column, row): (predicted, true).
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts == {(0, 0): "3", (1, 0): "1", (1, 1): "6"}
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["cat", "dog"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Predicted class", "True class")


@pytest.mark.parametrize(("num_classes", "written"), [(20, 20), (21, 0)])
def test_counts_are_written_up_to_twenty_classes(num_classes, written):
    names = [str(number) for number in range(num_classes)]
    figure = plots.confusion_matrix(np.eye(num_classes, dtype=int), names)

    assert len(figure.axes[0].texts) == written


def test_a_class_without_examples_and_an_empty_matrix():
    figure = plots.confusion_matrix(np.array([[4, 0], [0, 0]]), ["a", "b"])
    np.testing.assert_allclose(figure.axes[0].get_images()[0].get_array(), [[1, 0], [0, 0]])

    empty = plots.confusion_matrix(np.zeros((2, 2), int), ["a", "b"])
    assert empty.axes[0].get_title(loc="left") == "No examples"


def test_names_are_no_formulas_and_not_endless():
    figure = plots.confusion_matrix(np.eye(2, dtype=int), ["$x_$ ^{", "n" * 80])
    plots.to_array(figure)  # A formula would be a syntax error.

    first, second = (label.get_text() for label in figure.axes[0].get_yticklabels())
    assert first == "$x_$ ^{"
    assert second == "n" * 23 + "…"


def inside(figure, artist):
    """Tells whether an artist lies within the paper."""
    box, paper = artist.get_window_extent(), figure.bbox
    return paper.x0 <= box.x0 and box.x1 <= paper.x1 and paper.y0 <= box.y0 and box.y1 <= paper.y1


@pytest.mark.parametrize("names", ["ab", [str(n) for n in range(30)], ["long" * 9, "b", "c"]])
def test_no_text_is_cut_off(names):
    figure = plots.confusion_matrix(np.eye(len(names), dtype=int), list(names))
    plots.to_array(figure)
    axes = figure.axes[0]

    for text in (axes.xaxis.label, axes.yaxis.label, *axes.get_yticklabels()):
        assert inside(figure, text), text
    for text in axes.get_xticklabels():
        assert inside(figure, text), text


def test_wrong_shapes():
    with pytest.raises(ValueError, match=r"Received: \(2, 3\) and 2 class names"):
        plots.confusion_matrix(np.zeros((2, 3)), ["a", "b"])
    with pytest.raises(ValueError, match=r"Received: \(2, 2\) and 3 class names"):
        plots.confusion_matrix(np.zeros((2, 2)), ["a", "b", "c"])
