from .catalog import load as load
from .catalog import names as names
from .catalog import preprocessing as preprocessing
from .image_dataset import ImageDataset as ImageDataset
from .image_preprocessing import Preprocessing as Preprocessing
from .pipeline import (
    epoch_steps as epoch_steps,
)
from .pipeline import (
    evaluation_batches as evaluation_batches,
)
from .pipeline import (
    training_batches as training_batches,
)
from .sampling import probe_set as probe_set
from .split import Split as Split
