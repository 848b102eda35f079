from .margin import MarginLoss as MarginLoss
from .reconstruction import ReconstructionLoss as ReconstructionLoss
from .smoothed_cross_entropy import SmoothedCrossEntropy as SmoothedCrossEntropy
from .sparse_margin import SparseMarginLoss as SparseMarginLoss
