"""Which weights a child keeps of its parent."""

from typing import TYPE_CHECKING

from tfcaps import models

if TYPE_CHECKING:
    import keras

    from tfcaps.models import BlockNetwork

INITIALIZATIONS = ("zero", "gaussian")


def inherit(
    child: "BlockNetwork", parent: "BlockNetwork", *, init: str = "zero", seed: int = 0
) -> list[str]:
    """Gives a network the weights of another one, block by block, by their names.

    What both have is copied, the optimizer's slots and its step included, where both are compiled.
    Slots of new blocks stay as they are, 0. A new residual block with an identity shortcut
    becomes an exact identity (`init="zero"`), so that a grown network computes what its parent
    does; or its last γ is drawn from N(0, 1) (`init="gaussian"`).

    Args:
        child: gets the weights.
        parent: gives them.
        init: of new residual blocks. Default "zero".
        seed: of "gaussian". Default 0.

    Returns:
        The names of the new blocks.

    Source: the identity is that of arXiv 2103.04331's residual blocks without their branch.
    """
    _copy(child.variables, parent.variables)
    new = [name for name in child.identity_blocks if name not in parent.block_names]
    if init == "zero":
        models.zero_branches(child, new)
    else:
        models.gaussian_branches(child, new, seed=seed)
    optimizers = [getattr(model, "optimizer", None) for model in (child, parent)]
    if None not in optimizers:
        # Only now: Lookahead begins with the weights as they are when it is built.
        child.optimizer.build(child.trainable_variables)
        _copy(child.optimizer.variables, parent.optimizer.variables)
    return new


def _copy(targets: "list[keras.Variable]", sources: "list[keras.Variable]") -> None:
    """Assigns each variable what the one of the same path holds, if there is one of its shape."""
    known = {source.path: source for source in sources}
    for target in targets:
        source = known.get(target.path)
        if source is not None and source.shape == target.shape:
            target.assign(source)
