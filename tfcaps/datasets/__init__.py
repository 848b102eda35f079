"""Image data sets, their augmentation, and the input pipelines over them."""

from tfcaps.datasets.catalog import load, names, preprocessing
from tfcaps.datasets.image_dataset import ImageDataset
from tfcaps.datasets.pipeline import epoch_steps, evaluation_batches, training_batches
from tfcaps.datasets.preprocessing import Preprocessing
from tfcaps.datasets.sampling import probe_set
from tfcaps.datasets.split import Split

__all__ = [
    "ImageDataset",
    "Preprocessing",
    "Split",
    "epoch_steps",
    "evaluation_batches",
    "load",
    "names",
    "preprocessing",
    "probe_set",
    "training_batches",
]
