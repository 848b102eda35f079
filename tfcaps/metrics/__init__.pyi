from .bundle_entropy import Bundles as Bundles, bundle_entropy as bundle_entropy
from .capsule_scores import CapsuleScores as CapsuleScores, capsule_scores as capsule_scores
from .d_score import DScore as DScore
from .layer_bundles import BundleEntropy as BundleEntropy, weight_amplitude as weight_amplitude
from .t_score import TScore as TScore
