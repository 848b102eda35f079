"""A finished run of a capsule network, as the explanations need it."""

import os

import keras

from tfcaps import training
from tfcaps.errors import UsageError
from tfcaps.models import CapsuleNetwork


def load_capsule_run(log_dir: str | os.PathLike) -> training.Run:
    """Loads a run, whose network has to be a capsule network.

    Raises:
        UsageError: there is no run that can be read, or it is one of another network.
    """
    run = training.load_run(log_dir)
    if not isinstance(run.model, CapsuleNetwork):
        raise UsageError(
            "Expected --log_dir to be the directory of a capsule network's run. "
            f"Received: {log_dir}, in which the network is a {type(run.model).__name__}"
        )
    return run


def layer_names(model: CapsuleNetwork) -> tuple[str, ...]:
    """The capsule layers, from the lowest one on."""
    return tuple(model.inspector.output["capsules"])


def up_to(model: CapsuleNetwork, layer: str) -> keras.Model:
    """The part of a network from images to the capsules of one layer.

    Raises:
        UsageError: there is no such layer.
    """
    inspector = model.inspector
    if layer not in inspector.output["capsules"]:
        raise UsageError(
            f"Expected --layer to be one of {', '.join(inspector.output['capsules'])}. "
            f"Received: {layer}"
        )
    return keras.Model(inspector.input, inspector.output["capsules"][layer])
