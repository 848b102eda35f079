"""What `tests.forks` forks from: TensorFlow and the package, imported as a program does it."""

import os

from tests import scoring
from tfcaps import quiet

# A graphics processor that is looked for before a fork can't be used after it.
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
quiet.hide_start_of_tensorflow()
scoring.in_large_batches()

import nas.search  # noqa: E402, F401
import tfcaps.training.capsule_networks  # noqa: E402, F401
