"""T-scores and D-score over a training."""

import keras
import numpy as np

from tfcaps.metrics import capsule_scores


class CapsuleScoreRecorder(keras.callbacks.Callback):
    """Adds `t_score`, `t_score/LAYER` and `d_score` to the logs after each epoch.

    Callbacks behind this one see them like any other number.

    Args:
        images: network inputs (N, h, w, C), the same in all epochs.
        batch_size: examples at a time.

    Source: Peer et al., γ-capsules, arXiv 1812.09707.
    """

    def __init__(self, images: np.ndarray, *, batch_size: int):
        super().__init__()
        self.images = images
        self.batch_size = batch_size

    def on_epoch_end(self, epoch, logs=None):
        starts = range(0, len(self.images), self.batch_size)
        scores = capsule_scores(
            self.model, (self.images[start : start + self.batch_size] for start in starts)
        )
        logs["t_score"] = scores.t_score
        logs.update({f"t_score/{layer}": value for layer, value in scores.t_scores.items()})
        logs["d_score"] = scores.d_score
