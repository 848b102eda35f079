"""Image data sets, their augmentation, and the input pipelines over them."""

from tfcaps.datasets.catalog import load, names, preprocessing
from tfcaps.datasets.image_dataset import ImageDataset
from tfcaps.datasets.pipeline import evaluation_batches, training_batches
from tfcaps.datasets.preprocessing import Preprocessing
from tfcaps.datasets.split import Split

__all__ = [
    "ImageDataset",
    "Preprocessing",
    "Split",
    "evaluation_batches",
    "load",
    "names",
    "preprocessing",
    "training_batches",
]
