from . import abstract_shapes as abstract_shapes
from .catalog import load as load, names as names, preprocessing as preprocessing
from .image_dataset import ImageDataset as ImageDataset
from .image_names import is_same_set as is_same_set
from .image_preprocessing import Preprocessing as Preprocessing
from .images import read_folder as read_folder
from .pipeline import (
    epoch_steps as epoch_steps,
    evaluation_batches as evaluation_batches,
    training_batches as training_batches,
)
from .sampling import probe_set as probe_set
from .split import Split as Split
from .text_dataset import TextDataset as TextDataset, TextExamples as TextExamples
from .text_tables import GLUE as GLUE, is_text_table as is_text_table, load_texts as load_texts
