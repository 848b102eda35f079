"""What changes of a network would do, measured without training another network."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from nas.architecture import Architecture, grow, prune, widen
from nas.objectives import OBJECTIVES, Objective
from nas.records import GROW, PRUNE, WIDEN, Comparison
from tfcaps import measure
from tfcaps.evaluation import BranchSwitches, Verdicts
from tfcaps.layers import ResidualBlock
from tfcaps.models import BlockNetwork, count_flops, weight_transfer
from tfcaps.models.block_names import block_name, stage_of
from tfcaps.training import loop
from tfcaps.training.batch_statistics import Recalibration, training_inputs

# Steps that the branches of new blocks learn, before they are compared.
_FITTING_STEPS = 30
_TIMED_BATCHES = 3


def compare(
    session: loop.Session, architecture: Architecture, objective: Objective = OBJECTIVES["accuracy"]
) -> tuple[Comparison, ...]:
    """Compares a trained network with what a block more, or one less, would make of it.

    For what could come, the network gets a block more at the end of each stage, at first an
    identity, and more filters between the convolutions of each stage's blocks, of which nothing
    comes at first. All that is new learns for 30 steps, at once, while all that was there stays as
    it is. Then each candidate alone is switched on, and of the blocks each alone is switched off:
    every example of the validation split is classified with and without it. All batch
    normalisations have the statistics of the same training images then, estimated with what is
    switched on.

    The network itself is not changed.

    Args:
        session: the network, trained, with what it learns from; inside of `loop.surroundings`.
        architecture: of the network.
        objective: what the comparisons are by. Default: accuracy.

    Returns:
        The comparisons: "grow S" for each stage that has blocks, then "widen S" for each, then
        "prune NAME" for each block that may go.
    """
    wide, new = _with_candidates(architecture)
    network = _fitted(session, architecture, wide)
    held_out: Any = session.data.validation  # a search always has some
    judge = _Judge(
        network, architecture, session.evaluation_batches(held_out), training_inputs(session)
    )
    candidates = set(new.values())
    before = judge(candidates)
    found = []
    for change, changed in _changes(architecture, new).items():
        if change.startswith(WIDEN):
            after = judge(candidates, wider=int(change.removeprefix(WIDEN)))
        else:
            after = judge(candidates ^ {new.get(change, change.removeprefix(f"{PRUNE} "))})
        examples = objective.compare(before, after)
        found.append(Comparison(change, **examples, **_costs(session, changed)))
    return tuple(found)


class _Judge:
    """Classifies examples without the branches of some blocks, with the statistics that fit that.

    Args:
        network: a network with residual blocks; its statistics and new filters change.
        architecture: says which filters are not new.
        held_out: images and labels that are classified.
        seen: images that statistics are estimated with.
    """

    def __init__(
        self, network: BlockNetwork, architecture: Architecture, held_out: Any, seen: Sequence[Any]
    ):
        self._network = network
        self._architecture = architecture
        self._kernels = {
            name: np.array(network.get_layer(name).conv2.kernel)
            for name in architecture.block_names
        }
        self._seen = seen
        self._switches = BranchSwitches(network, held_out)
        self._recalibrate = Recalibration(network.lesionable)

    def __call__(self, removed: Collection[str], wider: int = 0) -> Verdicts:
        """The verdicts without the branches of these blocks, and with new filters in a stage."""
        for name, kernel in self._kernels.items():
            block = self._network.get_layer(name)
            block.conv2.kernel.assign(kernel)
            if stage_of(name) != wider:
                weight_transfer.silence(block, _known_filters(self._architecture, name))
        keep = np.array([name not in removed for name in self._switches.names], "float32")
        self._recalibrate(
            {"image": images, "keep": np.tile(keep, (len(images), 1))} for images in self._seen
        )
        return self._switches(removed)


def _with_candidates(architecture: Architecture) -> tuple[Architecture, dict[str, str]]:
    """All that could come, and the new blocks' names by what they are a change of."""
    wide, new = architecture, {}
    for stage, numbers in enumerate(architecture.blocks, start=1):
        if numbers:
            wide = widen(grow(wide, stage, max(numbers) + 1), stage)
            new[f"{GROW}{stage}"] = block_name(stage, max(numbers) + 1)
    return wide, new


def _changes(architecture: Architecture, new: Mapping[str, str]) -> dict[str, Architecture]:
    """The changed architectures, by what they are called."""
    stages = {change: int(change.removeprefix(GROW)) for change in new}
    found = {
        change: grow(architecture, stage, max(architecture.blocks[stage - 1]) + 1)
        for change, stage in stages.items()
    }
    found |= {f"{WIDEN}{stage}": widen(architecture, stage) for stage in stages.values()}
    for name in architecture.removable_blocks:
        smaller = prune(architecture, [name])
        if smaller != architecture:
            found[f"{PRUNE} {name}"] = smaller
    return found


def _fitted(session: loop.Session, architecture: Architecture, wide: Architecture) -> BlockNetwork:
    """The network with all that could come, which alone has learnt for a few steps."""
    network = wide.build(session.model.input_shape[1:], session.model.num_classes)
    weight_transfer.inherit(network, session.model)
    for layer in network.layers:
        layer.trainable = layer.name in network.block_names
    for name in network.block_names:
        _hold(
            network.get_layer(name),
            _known_filters(architecture, name),
            name in architecture.block_names,
        )
    config = dataclasses.replace(session.config, steps_per_epoch=_FITTING_STEPS)
    fitting = loop.start(config.task(), session.data, network)
    fitting.train_epochs(range(1), [], validate=False)
    for name in network.block_names:
        weights = network.get_layer(name).weights
        for weight in weights:
            if weight.constraint is not None:
                # An optimizer that averages weights has left the held ones a rounding apart.
                weight.assign(weight.constraint(weight))
    for layer in network._flatten_layers():  # the parts of blocks, too
        layer.trainable = True
    return network


def _hold(block: ResidualBlock, known: int, is_old: bool) -> None:
    """Makes what a block had stay as it is while its new filters learn, or a new block's unused.

    Args:
        block: of the network with all that could come.
        known: filters between its convolutions that are not new.
        is_old: whether the block was there before.
    """
    if not is_old:
        # Alone, the block has as many filters as the stage's others have: nothing comes of more.
        weight_transfer.silence(block, known)
        _hold_part(block.conv2.kernel, (..., slice(known, None), slice(None)))
        return
    for part in (block.bn2, block.shortcut_conv, block.shortcut_bn):
        if part is not None:
            part.trainable = False
    first = (..., slice(known))
    for weight in (block.conv1.kernel, block.bn1.gamma, block.bn1.beta):
        _hold_part(weight, first)
    _hold_part(block.conv2.kernel, (..., slice(known), slice(None)))


def _hold_part(weight: keras.Variable, part: tuple[Any, ...]) -> None:
    """Makes each step leave a part of a weight as it is now."""
    held = np.array(weight)
    free = np.ones_like(held)
    free[part] = 0.0
    held[free == 1.0] = 0.0
    weight.constraint = lambda value: keras.ops.add(keras.ops.multiply(value, free), held)


def _known_filters(architecture: Architecture, name: str) -> int:
    """Filters between the convolutions of a block, before there are new ones."""
    return (architecture.hidden or architecture.widths)[stage_of(name) - 1]


def _costs(session: loop.Session, architecture: Architecture) -> dict[str, float]:
    network = architecture.build(session.model.input_shape[1:], session.model.num_classes)
    return {
        "flops": count_flops(network),
        "parameters": network.count_params(),
        "milliseconds": measure.milliseconds_per_image(
            network, network.input_shape[1:], rounds=_TIMED_BATCHES
        ),
    }
