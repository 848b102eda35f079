from . import strategies as strategies
from .candidates import Candidates as Candidates
from .classifiers import class_scores as class_scores, suspicious as suspicious
from .configuration import (
    LabelingOptions as LabelingOptions,
    SimulationOptions as SimulationOptions,
    expect_packages as expect_packages,
)
from .features import (
    file_features as file_features,
    network_features as network_features,
    pixel_features as pixel_features,
)
from .pool import Click as Click, Pool as Pool
from .simulation import labels_needed as labels_needed, simulate as simulate
