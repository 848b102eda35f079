from .length_preserving import (
    DEFAULT_GAIN as DEFAULT_GAIN,
)
from .length_preserving import (
    GAINS as GAINS,
)
from .length_preserving import (
    LengthPreserving as LengthPreserving,
)
