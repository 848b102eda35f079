"""Learning curves: which curves are drawn, with which numbers."""

import numpy as np
import pytest

from tfcaps import plots

HISTORY = {
    "epoch": [3, 4, 5],
    "loss": [0.5, 0.25, 0.125],
    "val_loss": [0.6, 0.4, 0.3],
    "accuracy": [0.7, 0.8, 0.9],
    "val_accuracy": [0.6, 0.7, 0.85],
    "seconds": [10, 10, 10],
}


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_two_panels_of_two_curves():
    figure = plots.learning_curves(HISTORY)

    assert titles(figure) == ["Loss", "Accuracy"]
    loss, accuracy = figure.axes
    for axes, training, validation in (
        (loss, "loss", "val_loss"),
        (accuracy, "accuracy", "val_accuracy"),
    ):
        drawn_training, drawn_validation = axes.get_lines()
        np.testing.assert_allclose(drawn_training.get_xdata(), [3, 4, 5])
        np.testing.assert_allclose(drawn_training.get_ydata(), HISTORY[training])
        np.testing.assert_allclose(drawn_validation.get_ydata(), HISTORY[validation])
        assert axes.get_xlabel() == "Epoch"
    assert legend(loss) == ["training 0.125", "validation 0.3"]
    assert legend(accuracy) == ["training 90.00%", "validation 85.00%"]


def test_without_validation():
    figure = plots.learning_curves({"loss": [0.5, 0.4], "accuracy": [0.1, 0.2]})

    assert [len(axes.get_lines()) for axes in figure.axes] == [1, 1]
    np.testing.assert_allclose(figure.axes[0].get_lines()[0].get_xdata(), [1, 2])


def test_only_a_loss_makes_one_panel():
    assert titles(plots.learning_curves({"loss": [0.5, 0.4]})) == ["Loss"]


def test_a_single_epoch_is_a_visible_point():
    figure = plots.learning_curves({"epoch": [1], "loss": [0.5], "accuracy": [0.5]})
    plots.to_array(figure)

    for axes in figure.axes:
        assert axes.get_lines()[0].get_marker() == "o"
        ticks = [tick for tick in axes.get_xticks() if tick >= 0.5 and tick <= 1.5]
        assert ticks == [1]


def test_only_whole_epochs_are_marked():
    figure = plots.learning_curves({"loss": [0.5, 0.4], "accuracy": [0.5, 0.5]})

    for axes in figure.axes:
        assert all(tick == round(tick) for tick in axes.get_xticks())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_diverged_training_is_told(bad):
    figure = plots.learning_curves({"loss": [0.5, bad, bad], "accuracy": [0.5, 0.1, 0.1]})
    plots.to_array(figure)

    loss, accuracy = figure.axes
    np.testing.assert_array_equal(loss.get_lines()[0].get_ydata(), [0.5, np.nan, np.nan])
    assert legend(loss) == ["training 0.5"]
    assert loss.get_xlabel() == "Epoch (not a finite number: first in 2)"
    assert accuracy.get_xlabel() == "Epoch"
    assert loss.get_xlim() == accuracy.get_xlim()


def test_nothing_but_nan_has_no_scale():
    figure = plots.learning_curves({"loss": [np.nan, np.nan]})
    plots.to_array(figure)

    assert list(figure.axes[0].get_yticks()) == []
    assert legend(figure.axes[0]) == ["training"]


def test_validation_every_other_epoch_is_no_divergence():
    figure = plots.learning_curves({"loss": [0.5, 0.4], "val_loss": [np.nan, 0.45]})

    assert figure.axes[0].get_xlabel() == "Epoch"
    assert legend(figure.axes[0]) == ["training 0.4", "validation 0.45"]


def test_wrong_history():
    with pytest.raises(ValueError, match=r"Expected a column loss or accuracy\. Received: \['a'\]"):
        plots.learning_curves({"a": [1]})
    with pytest.raises(ValueError, match=r"one length.*'loss': 2, 'val_loss': 1"):
        plots.learning_curves({"loss": [1, 2], "val_loss": [1]})
