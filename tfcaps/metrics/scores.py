"""T-scores and D-score of a capsule network over a set of images."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import keras

from tfcaps.metrics.d_score import DScore
from tfcaps.metrics.t_score import TScore
from tfcaps.ops import for_many_batches


class CapsuleScores(NamedTuple):
    """T-score of each routed layer, and the D-score of the first one.

    Args:
        t_scores: layer name → T-score, from the lowest layer on.
        d_score: of the first capsule layer after the primary one.
    """

    t_scores: dict[str, float]
    d_score: float

    @property
    def t_score(self) -> float:
        """The network's: the mean over its layers."""
        return sum(self.t_scores.values()) / len(self.t_scores)

    def to_dict(self) -> dict[str, Any]:
        """The network's two scores and those of its layers, as JSON can hold them."""
        return {"t_score": self.t_score, "d_score": self.d_score, "t_scores": self.t_scores}


def capsule_scores(model: keras.Model, batches: Iterable[Any]) -> CapsuleScores:
    """Runs `TScore` and `DScore` over batches of images.

    Args:
        model: a capsule network; its `inspector` gives capsules and coupling coefficients.
        batches: of images, `(B, H, W, C)` each.

    Returns:
        The scores over all of the images.

    Example:

    >>> import numpy as np
    >>> from tfcaps.models import CapsNet
    >>> model = CapsNet((20, 20, 1), layers=(2, 4, 3), dimensions=(4, 4, 4), routing="mean")
    >>> images = np.random.default_rng(0).random((6, 20, 20, 1), "float32")
    >>> scores = capsule_scores(model, [images[:4], images[4:]])
    >>> list(scores.t_scores), abs(round(scores.t_score, 4))    # `mean` couples uniformly
    (['capsules_1', 'capsules_2'], 0.0)

    Source: Peer et al., γ-capsules, arXiv 1812.09707.
    """
    inspect = for_many_batches(model.inspector)
    t_scores = {layer: TScore() for layer in model.inspector.output["couplings"]}
    first = next(iter(t_scores))
    d_score = DScore()
    for images in batches:
        seen = inspect(images)
        d_score.update_state(seen["capsules"][first])
        for layer, score in t_scores.items():
            score.update_state(seen["couplings"][layer])
    return CapsuleScores(
        {layer: float(score.result()) for layer, score in t_scores.items()},
        float(d_score.result()),
    )
