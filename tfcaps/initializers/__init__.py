"""Initial weights that the published N(0, 0.2) can be replaced with."""

from tfcaps.initializers.length_preserving import DEFAULT_GAIN, GAINS, LengthPreserving

__all__ = ["DEFAULT_GAIN", "GAINS", "LengthPreserving"]
