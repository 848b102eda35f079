"""What a strategy knows of the images that it chooses from."""

import dataclasses

import numpy as np

from tfcaps.errors import UsageError

NO_LABEL = -1


@dataclasses.dataclass(frozen=True, eq=False)
class Candidates:
    """All images of a pool, as a strategy sees them.

    Args:
        labels: `(N,)`, integers: the class of each image, or -1 where it has no label.
        available: `(N,)`, booleans: which images may be asked for. Default None: those without a
            label. Images that were skipped or that can't be told have no label, and aren't
            available.
        scores: `(N, K)`: the probability of each class. Default None: there is no model yet.
        features: `(N, D)`. Default None: there are none.
        draws: `(T, N, K)`: probabilities of T draws of a model, for `bald`. Default None.

    Raises:
        UsageError: shapes don't fit, or a number isn't finite.

    Example:

    >>> candidates = Candidates(labels=np.array([0, -1, -1]))
    >>> candidates.open.tolist()
    [1, 2]
    """

    labels: np.ndarray
    available: np.ndarray | None = None
    scores: np.ndarray | None = None
    features: np.ndarray | None = None
    draws: np.ndarray | None = None

    def __post_init__(self) -> None:
        size = len(self.labels)
        for name, axis in (("available", 0), ("scores", 0), ("features", 0), ("draws", 1)):
            values = getattr(self, name)
            if values is None:
                continue
            if values.ndim <= axis or values.shape[axis] != size:
                raise UsageError(
                    f"Expected {name} of {size} images on axis {axis}. "
                    f"Received the shape: {values.shape}"
                )
            if not np.isfinite(values).all():
                raise UsageError(f"Expected finite {name}. Received: NaN or infinity among them")

    @property
    def open(self) -> np.ndarray:
        """The indices of the images that may be asked for, increasing."""
        without = self.labels == NO_LABEL
        return np.flatnonzero(without if self.available is None else without & self.available)

    @property
    def labelled(self) -> np.ndarray:
        """The indices of the images with a label, increasing."""
        return np.flatnonzero(self.labels != NO_LABEL)
