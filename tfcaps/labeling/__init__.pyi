from . import strategies as strategies
from .candidates import Candidates as Candidates
from .features import (
    file_features as file_features,
    network_features as network_features,
    pixel_features as pixel_features,
)
