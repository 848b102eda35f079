from .blocks_per_round import blocks_per_round as blocks_per_round
from .canvas import save as save
from .canvas import to_array as to_array
from .confusion_matrix import (
    confusion_counts as confusion_counts,
)
from .confusion_matrix import (
    confusion_matrix as confusion_matrix,
)
from .coupling_histogram import coupling_histogram as coupling_histogram
from .dimension_sweep import dimension_sweep as dimension_sweep
from .entropy_heatmap import entropy_heatmap as entropy_heatmap
from .learning_curves import learning_curves as learning_curves
from .lesion_curves import lesion_curves as lesion_curves
from .pareto_front import pareto_front as pareto_front
from .pareto_front import pareto_optimal as pareto_optimal
from .reconstructions import reconstructions as reconstructions
from .sign_decisions import sign_decisions as sign_decisions
