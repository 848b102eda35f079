"""What there is to choose about explanations; nothing here imports Keras."""

import dataclasses

from tfcaps.errors import UsageError
from tfcaps.options import option
from tfcaps.training import FinishedRunOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExplanationOptions(FinishedRunOptions):
    """Which prediction is explained; a field is the flag of the same name.

    Raises:
        UsageError: a value is out of its range, or there isn't one image.
    """

    image: str | None = option("PNG, JPEG, BMP or GIF file.", default=None)
    test_image: int | None = option(
        "Index of an image of the test set, instead of --image.", default=None, range=">= 0"
    )
    resize: bool = option("Stretch a file of another size.", default=False)
    capsule: str | None = option(
        "Class whose votes are followed (default: the predicted one).", default=None
    )
    most_relevant: int = option(
        "So many capsules of each layer are drawn.", default=5, range=">= 1"
    )
    data_dir: str | None = option(
        "Folder of prepared data sets (default: the training's).", default=None
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.image is None) == (self.test_image is None):
            given = "none" if self.image is None else "both"
            raise UsageError(f"Expected one of --image and --test_image. Received: {given}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ActivationOptions(FinishedRunOptions):
    """How activation images are made; a field is the flag of the same name.

    The defaults are those of arXiv 1812.09707.

    Raises:
        UsageError: a value is out of its range.
    """

    layer: str | None = option("Name of a capsule layer (default: all routed ones).", default=None)
    capsule: int | None = option("Index of a capsule of --layer (default: all).", default=None)
    starts: int = option(
        "Random images that a capsule's search begins from.", default=60, range=">= 1"
    )
    best: int = option("So many of the results are averaged.", default=5, range=">= 1")
    steps: int = option("Steps of each search.", default=1000, range=">= 1")
    step_size: float = option(
        "What a pixel changes in a step, of a range of 1.", default=0.01, range="> 0"
    )
    seed: int = option(
        "Of the starts; those of one capsule don't depend on which others are searched.",
        default=0,
        range=">= 0",
    )
    batch_size: int = option(
        "Images at a time, which bounds the memory; the numbers don't depend on it.",
        default=128,
        range=">= 1",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("best", self.best <= self.starts, f"<= --starts={self.starts}")
