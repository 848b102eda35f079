"""The networks of this package that learn from labels, each as a training's configuration."""

from typing import Any

SVM = "svm"  # none of them: an RBF machine on features, see `classifiers`
NAMES = ("convnet", "resnet", "capsnet")


def network_config(network: str, classes: int, *, is_short: bool = False, **choices: Any) -> Any:
    """The training of a small network on images.

    Args:
        network: one of `NAMES`.
        classes: how many there are.
        is_short: whether it is to learn in few steps, as each round of a labeling has it do.
        **choices: of `training.RunConfig`.

    Returns:
        A `training.RunConfig`.
    """
    from tfcaps import training

    falling: dict[str, Any] = {"schedule": "cosine"} if is_short else {}
    if network == "convnet":
        return training.ImageClassifierConfig(**choices, **falling, filters=(16, 32, 64))
    if network == "resnet":
        # Rectified Adam inside Lookahead hardly leaves its start in a few hundred steps.
        how: dict[str, Any] = {"recipe": "fast"} if is_short else {"stem": "cifar"}
        small: dict[str, Any] = {"blocks": (1, 1, 1), "widths": (16, 32, 64), **how}
        return training.BlockNetworkConfig(**choices, **small, conflicting_samples_size=0)
    small = {"layers": (8, 8, classes), "dimensions": (8, 8, 8), "use_reconstruction": False}
    return training.CapsuleNetworkConfig(**choices, **falling, **small)
