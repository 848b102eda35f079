from .length_preserving import (
    DEFAULT_GAIN as DEFAULT_GAIN,
    LengthPreserving as LengthPreserving,
)
