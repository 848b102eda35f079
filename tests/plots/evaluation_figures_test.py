"""Figures of an evaluation: reliability, accuracy by class, accuracy under attack."""

import numpy as np
import pytest

from tfcaps import plots
from tfcaps.metrics.calibration import reliability_bins
from tfcaps.plots.attacks import accuracy_against_epsilon
from tfcaps.plots.calibration import reliability
from tfcaps.plots.classes import class_accuracy


class TestReliability:
    BINS = reliability_bins([0.3, 0.9, 0.9, 0.8], [True, True, False, True], num_bins=5)

    def test_bars_and_points(self):
        top, bottom = reliability(self.BINS).axes
        assert [bar.get_height() for bar in top.patches] == pytest.approx([0, 1, 0, 1, 0.5])
        assert [bar.get_x() for bar in top.patches] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
        points = top.get_lines()[0]
        np.testing.assert_allclose(points.get_xdata(), [np.nan, 0.3, np.nan, 0.8, 0.9])
        assert [bar.get_height() for bar in bottom.patches] == [0, 1, 0, 1, 2]

    def test_title_has_the_error(self):
        # (1·.7 + 1·.2 + 2·.4) / 4
        title = reliability(self.BINS).axes[0].get_title(loc="left")
        assert title == "Expected calibration error 0.4250"

    def test_it_can_be_drawn(self):
        assert plots.to_array(reliability(self.BINS)).std() > 0


class TestClassAccuracy:
    def test_bars_texts_and_line(self):
        figure = class_accuracy([[3, 1, 0], [0, 4, 0], [0, 0, 0]], ["ant", "bee", "$_"])
        axes = figure.axes[0]
        assert [bar.get_width() for bar in axes.patches] == [0.75, 1.0, 0.0]
        assert [text.get_text() for text in axes.texts] == ["75.0%", "100.0%", "no examples"]
        assert [label.get_text() for label in axes.get_yticklabels()] == ["ant", "bee", "$_"]
        assert axes.get_lines()[0].get_xdata()[0] == 0.875
        assert axes.get_xlim() == pytest.approx((0.7, 1.0))
        bottom, top = axes.get_ylim()
        assert bottom > top  # the first class on top
        plots.to_array(figure)

    def test_many_classes_are_neither_named_nor_numbered(self):
        axes = class_accuracy(np.eye(41, dtype=int), [str(n) for n in range(41)]).axes[0]
        assert not axes.texts
        assert axes.get_ylabel() == "Class"

    def test_all_wrong(self):
        assert class_accuracy([[0, 1], [1, 0]], "ab").axes[0].get_xlim() == (0.0, 1.0)

    def test_wrong_shapes(self):
        with pytest.raises(ValueError, match=r"Received: \(2, 2\) and 3 class names"):
            class_accuracy(np.eye(2), "abc")


ROWS = [
    {"attack": attack, "norm": norm, "epsilon": epsilon, "accuracy": 1 - slope * epsilon}
    for attack, norm, slope in (("fgsm", "L∞", 2), ("pgd", "L∞", 4), ("pgd_l2", "L2", 1))
    for epsilon in (0.2, 0.0, 0.1)
]


class TestAccuracyAgainstEpsilon:
    def test_a_panel_per_norm_and_a_curve_per_attack(self):
        figure = accuracy_against_epsilon(ROWS)
        curves = [[line.get_label() for line in axes.get_lines()] for axes in figure.axes]
        assert curves == [["fgsm", "pgd"], ["pgd_l2"]]
        pgd = figure.axes[0].get_lines()[1]
        np.testing.assert_allclose(pgd.get_xdata(), [0.0, 0.1, 0.2])
        np.testing.assert_allclose(pgd.get_ydata(), [1.0, 0.6, 0.2])
        assert [axes.get_title(loc="left") for axes in figure.axes] == [
            "Accuracy under attack (L∞)",
            "Accuracy under attack (L2)",
        ]
        plots.to_array(figure)

    def test_a_single_point(self):
        figure = accuracy_against_epsilon(ROWS[:1])
        assert plots.to_array(figure).std() > 0

    def test_no_row(self):
        with pytest.raises(ValueError, match="Received: none"):
            accuracy_against_epsilon([])
