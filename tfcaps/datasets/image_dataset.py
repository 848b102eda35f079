"""A classification data set in memory."""

import dataclasses

from tfcaps.datasets.split import Split


@dataclasses.dataclass(frozen=True, eq=False)
class ImageDataset:
    """A classification data set in memory, with the splits that a training needs.

    Args:
        name: The name that it was loaded by.
        class_names: The K classes; a label is an index in them.
        train: What a model learns from.
        validation: Held out of the training set, for choosing; None: nothing was held out.
        test: For the reported accuracy only.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    validation: Split | None
    test: Split

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of a raw image, the same in all splits."""
        return self.train.images.shape[1:]
