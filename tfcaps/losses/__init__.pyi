from .margin import MarginLoss as MarginLoss
from .reconstruction import ReconstructionLoss as ReconstructionLoss
