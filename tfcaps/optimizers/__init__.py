"""Optimizers."""

from tfcaps.optimizers.lookahead import Lookahead
from tfcaps.optimizers.rectified_adam import RectifiedAdam

__all__ = ["Lookahead", "RectifiedAdam"]
