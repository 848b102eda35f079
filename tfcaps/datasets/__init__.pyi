from .catalog import load as load, names as names, preprocessing as preprocessing
from .image_dataset import ImageDataset as ImageDataset
from .pipeline import (
    epoch_steps as epoch_steps,
    evaluation_batches as evaluation_batches,
    training_batches as training_batches,
)
from .preprocessing import Preprocessing as Preprocessing
from .sampling import probe_set as probe_set
from .split import Split as Split
