from .activations import activation_grid as activation_grid
from .attacks import accuracy_against_epsilon as accuracy_against_epsilon
from .calibration import reliability as reliability
from .canvas import save as save, to_array as to_array
from .classes import class_accuracy as class_accuracy
from .confusion import confusion_counts as confusion_counts, confusion_matrix as confusion_matrix
from .couplings import coupling_histogram as coupling_histogram
from .depths import depth_curves as depth_curves
from .dimensions import dimension_sweep as dimension_sweep
from .efficiency import label_efficiency as label_efficiency
from .entropies import entropy_heatmap as entropy_heatmap
from .layers import (
    ScorePoint as ScorePoint,
    layer_choices as layer_choices,
    score_curves as score_curves,
)
from .learning import learning_curves as learning_curves
from .lesions import lesion_curves as lesion_curves
from .pairs import reconstructions as reconstructions
from .pareto import pareto_front as pareto_front, pareto_optimal as pareto_optimal
from .rounds import blocks_per_round as blocks_per_round
from .sheets import contact_sheet as contact_sheet
from .signs import sign_decisions as sign_decisions
from .sizes import accuracy_against_size as accuracy_against_size
from .trees import Edge as Edge, Node as Node, routing_tree as routing_tree
