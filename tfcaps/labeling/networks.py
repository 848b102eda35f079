"""The networks of this package that learn from labels, each as a training's configuration."""

from typing import Any

NAMES = ("convnet", "resnet", "capsnet")


def network_config(network: str, classes: int, **choices: Any) -> Any:
    """The training of a small network on images.

    Args:
        network: one of `NAMES`.
        classes: how many there are.
        **choices: of `training.RunConfig`.

    Returns:
        A `training.RunConfig`.
    """
    from tfcaps import training

    if network == "convnet":
        return training.ImageClassifierConfig(**choices, filters=(16, 32, 64))
    if network == "resnet":
        small: dict[str, Any] = {"blocks": (1, 1, 1), "widths": (16, 32, 64), "stem": "cifar"}
        return training.BlockNetworkConfig(**choices, **small, conflicting_samples_size=0)
    small = {"layers": (8, 8, classes), "dimensions": (8, 8, 8), "use_reconstruction": False}
    return training.CapsuleNetworkConfig(**choices, **small)
