from .length_preserving import (
    DEFAULT_GAIN as DEFAULT_GAIN,
    GAINS as GAINS,
    LengthPreserving as LengthPreserving,
)
