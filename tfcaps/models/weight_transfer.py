"""Which weights a network of another shape keeps: a child of its parent."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tfcaps import models

if TYPE_CHECKING:
    import keras

    from tfcaps.layers import PlainBlock
    from tfcaps.models import BlockNetwork

INITIALIZATIONS = ("zero", "gaussian")


def inherit(
    child: "BlockNetwork", parent: "BlockNetwork", *, init: str = "zero", seed: int = 0
) -> list[str]:
    """Gives a network the weights of another one, block by block, by their names.

    What both have is copied, the optimizer's slots and its step included, where both are compiled.
    Slots of new blocks stay as they are, 0. Filters that a block has more between its convolutions
    begin as they are drawn, and those behind them with 0 for what they give, so that the network
    computes what its parent does; optimizers that count each weight's steps begin anew with the
    weights of both convolutions. A new residual block with an identity shortcut
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
    widened = _silence_new_filters(child, parent)
    new = [name for name in child.identity_blocks if name not in parent.block_names]
    if init == "zero":
        models.zero_branches(child, new)
    else:
        models.gaussian_branches(child, new, seed=seed)
    optimizers = [getattr(model, "optimizer", None) for model in (child, parent)]
    if None not in optimizers:
        # Only now: Lookahead begins with the weights as they are when it is built.
        child.optimizer.build(child.trainable_variables)
        _copy(child.optimizer.variables, parent.optimizer.variables, key=_slot)
        _restart(child.optimizer, widened)
    return new


def keep_statistics(child: "BlockNetwork", parent: "BlockNetwork") -> None:
    """Gives a network the moving statistics of another one where that has them.

    Args:
        child: gets them.
        parent: gives them.
    """
    _copy(child.non_trainable_variables, parent.non_trainable_variables)


def _silence_new_filters(child: "BlockNetwork", parent: "BlockNetwork") -> "list[keras.Variable]":
    """Lets nothing come of new filters between convolutions; gives the weights that are larger."""
    widened = []
    for name in set(child.block_names) & set(parent.block_names):
        block, before = child.get_layer(name), parent.get_layer(name)
        known = getattr(before, "hidden", None)
        if known is not None and block.hidden > known:
            silence(block, known)
            widened += [block.conv1.kernel, block.bn1.gamma, block.bn1.beta, block.conv2.kernel]
    return widened


def silence(block: "PlainBlock", known: int) -> None:
    """Makes nothing come of a block's filters between its convolutions but for the first ones.

    Args:
        block: its weights change.
        known: how many filters go on as they are.
    """
    kernel = np.array(block.conv2.kernel)
    kernel[:, :, known:] = 0.0
    block.conv2.kernel.assign(kernel)


def _restart(optimizer: "keras.optimizers.Optimizer", weights: "list[keras.Variable]") -> None:
    """Empties the slots of weights whose steps are counted, as some of them are new."""
    slots = {slot.path.rpartition("/")[2]: slot for slot in optimizer.variables}
    for weight in weights:
        own = weight.path.replace("/", "_")
        if f"{own}_steps" in slots:
            for kind in ("steps", "mean", "square"):
                slot = slots[f"{own}_{kind}"]
                slot.assign(np.zeros(slot.shape, slot.dtype))


def _path(variable: "keras.Variable") -> str:
    return variable.path


def _slot(variable: "keras.Variable") -> str:
    """The path of an optimizer's variable, without the number by which Keras tells optimizers."""
    return re.sub(r"^([^/]*?)_\d+/", r"\1/", variable.path)


def _copy(
    targets: "list[keras.Variable]",
    sources: "list[keras.Variable]",
    key: "Callable[[keras.Variable], str]" = _path,
) -> None:
    """Assigns each variable what the one of the same key holds, as far as that reaches."""
    known = {key(source): source for source in sources}
    for target in targets:
        source = known.get(key(target))
        if source is None or len(source.shape) != len(target.shape):
            continue
        if source.shape == target.shape:
            target.assign(source)
        elif all(own >= other for own, other in zip(target.shape, source.shape, strict=True)):
            values = np.array(target)
            values[tuple(map(slice, source.shape))] = np.array(source)
            target.assign(values)
