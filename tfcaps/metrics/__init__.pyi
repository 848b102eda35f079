from .bundles import Bundles as Bundles, bundle_entropy as bundle_entropy
from .calibration import (
    ReliabilityBins as ReliabilityBins,
    fit_temperature as fit_temperature,
    reliability_bins as reliability_bins,
)
from .classification import (
    ClassificationScores as ClassificationScores,
    classification_scores as classification_scores,
)
from .d_score import DScore as DScore
from .layer_bundles import (
    BundleEntropy as BundleEntropy,
    learning_rate as learning_rate,
    weight_amplitude as weight_amplitude,
)
from .ranking import area_under_roc as area_under_roc
from .sample_efficiency import sample_efficiency_score as sample_efficiency_score
from .scores import CapsuleScores as CapsuleScores, capsule_scores as capsule_scores
from .t_score import TScore as TScore
from .task_scores import (
    bootstrap_error as bootstrap_error,
    majority_score as majority_score,
    task_score as task_score,
)
