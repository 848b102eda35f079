"""A classification data set in memory."""

import dataclasses
import functools

from tfcaps.datasets import fingerprint
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
        source: What the data are known by again, where they come from somewhere: a fingerprint of
            the files, or a name. Default None: that of the pixels and labels.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    validation: Split | None
    test: Split
    source: str | None = None

    @functools.cached_property
    def fingerprint(self) -> str:
        """What the data are known by again, see `source`; class names are no part of it."""
        return self.source or fingerprint.of_splits((self.train, self.validation, self.test))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of a raw image, the same in all splits."""
        return self.train.images.shape[1:]
