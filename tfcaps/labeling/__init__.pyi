from .candidates import Candidates as Candidates
from .classifiers import class_scores as class_scores, suspicious as suspicious
from .configuration import (
    LabelingOptions as LabelingOptions,
    SimulationOptions as SimulationOptions,
    expect_packages as expect_packages,
)
from .exchange import export_labels as export_labels, import_labels as import_labels
from .features import (
    network_features as network_features,
    pixel_features as pixel_features,
)
from .pool import Click as Click, Pool as Pool
from .server import label_images as label_images, make_app as make_app
from .session import LabelingSession as LabelingSession
from .simulation import labels_needed as labels_needed, simulate as simulate
from .stopping import accuracy_bounds as accuracy_bounds
from .strategies import (
    bald as bald,
    entropy as entropy,
    get as get,
    least_confidence as least_confidence,
    margin as margin,
    names as names,
)
