"""Losses of capsule networks."""

from tfcaps.losses.margin import MarginLoss
from tfcaps.losses.reconstruction import ReconstructionLoss

__all__ = ["MarginLoss", "ReconstructionLoss"]
