"""Figures of what a network learnt: data in, `matplotlib.figure.Figure` out.

No function here touches `matplotlib.pyplot`, so nothing is shown, no display is needed and figures
are freed like any other object. `save` writes one to a PNG file, `to_array` gives its pixels.
"""

from tfcaps.plots.blocks_per_round import blocks_per_round
from tfcaps.plots.canvas import save, to_array
from tfcaps.plots.confusion_matrix import confusion_counts, confusion_matrix
from tfcaps.plots.coupling_histogram import coupling_histogram
from tfcaps.plots.dimension_sweep import dimension_sweep
from tfcaps.plots.entropy_heatmap import entropy_heatmap
from tfcaps.plots.learning_curves import learning_curves
from tfcaps.plots.lesion_curves import lesion_curves
from tfcaps.plots.pareto_front import pareto_front, pareto_optimal
from tfcaps.plots.reconstructions import reconstructions
from tfcaps.plots.sign_decisions import sign_decisions

__all__ = [
    "blocks_per_round",
    "confusion_counts",
    "confusion_matrix",
    "coupling_histogram",
    "dimension_sweep",
    "entropy_heatmap",
    "learning_curves",
    "lesion_curves",
    "pareto_front",
    "pareto_optimal",
    "reconstructions",
    "save",
    "sign_decisions",
    "to_array",
]
