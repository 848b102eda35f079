from .bundle_entropy import Bundles as Bundles
from .bundle_entropy import bundle_entropy as bundle_entropy
from .capsule_scores import CapsuleScores as CapsuleScores
from .capsule_scores import capsule_scores as capsule_scores
from .d_score import DScore as DScore
from .layer_bundles import BundleEntropy as BundleEntropy
from .layer_bundles import weight_amplitude as weight_amplitude
from .t_score import TScore as TScore
