"""From a configuration to a compiled network."""

import keras

from tfcaps.errors import UsageError
from tfcaps.initializers import DEFAULT_GAIN, GAINS, LengthPreserving
from tfcaps.losses import MarginLoss, ReconstructionLoss
from tfcaps.models import CapsNet, CapsuleNetwork, ConvCapsNet, EfficientCapsNet
from tfcaps.robustness import train_on_attacked_images
from tfcaps.training.capsules.configuration import CapsuleNetworkConfig

_MODELS = {
    "CapsNet": CapsNet,
    "ConvCapsNet": ConvCapsNet,
    "EfficientCapsNet": EfficientCapsNet,
}


def build_model(
    config: CapsuleNetworkConfig, image_shape: tuple[int, int, int], num_classes: int
) -> CapsuleNetwork:
    """Builds the network of a configuration.

    Args:
        config: the configuration.
        image_shape: `(h, w, C)` of the network's input, after preprocessing.
        num_classes: K.

    Returns:
        The network, not compiled.

    Raises:
        UsageError: the last layer doesn't have K capsules, or the images are too small.
    """
    if config.layers[-1] != num_classes:
        raise UsageError(
            f"Expected the last entry of --layers to be {num_classes}, the number of classes of "
            f"{config.dataset}. Received: {config.layers[-1]}"
        )
    return _MODELS[config.model](
        image_shape,
        layers=config.layers,
        dimensions=config.dimensions,
        routing=config.routing_config(),
        use_bias=config.use_bias,
        skip_distance=config.skip_dist if config.make_skips else None,
        use_reconstruction=config.use_reconstruction,
        mask=config.mask,
        kernel_initializer=_kernel_initializer(config),
    )


def _kernel_initializer(config: CapsuleNetworkConfig) -> keras.initializers.Initializer | None:
    if config.kernel_initializer == "normal":
        return None  # the layers' own
    return LengthPreserving(GAINS.get(config.routing, DEFAULT_GAIN))


def compile_model(
    model: CapsuleNetwork,
    config: CapsuleNetworkConfig,
    *,
    jit: bool,
    optimizer: keras.optimizers.Optimizer | None = None,
) -> None:
    """Compiles with margin and reconstruction loss; a restored optimizer keeps its state.

    A robust training attacks the images of each batch inside of the train step.
    """
    losses = {"lengths": MarginLoss()}
    weights = {"lengths": 1.0}
    if model.use_reconstruction:
        losses["reconstruction"] = ReconstructionLoss()
        weights["reconstruction"] = config.reconstruction_weight
    model.compile(
        optimizer=optimizer or keras.optimizers.Adam(config.learning_rate),
        loss=losses,
        loss_weights=weights,
        metrics={"lengths": [keras.metrics.CategoricalAccuracy(name="accuracy")]},
        jit_compile=jit,
        run_eagerly=not config.enable_tf_function,
    )
    if config.robust:
        train_on_attacked_images(
            model,
            epsilon=config.epsilon,
            step_size=config.attack_step_size,
            steps=config.attack_steps,
        )
