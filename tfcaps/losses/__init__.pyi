from .margin import MarginLoss as MarginLoss
from .reconstruction import ReconstructionLoss as ReconstructionLoss
from .sparse_margin import SparseMarginLoss as SparseMarginLoss
