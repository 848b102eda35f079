"""What changes of a network would do, measured without training another network."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from nas import weight_transfer
from nas.architecture import Architecture, grow, prune
from nas.objectives import OBJECTIVES, Objective
from nas.records import GROW, PRUNE, Comparison
from tfcaps import measure
from tfcaps.evaluation import BranchSwitches, Verdicts
from tfcaps.models import BlockNetwork, count_flops
from tfcaps.models.block_names import block_name
from tfcaps.training import loop
from tfcaps.training.batch_statistics import Recalibration, training_inputs

# Steps that the branches of new blocks learn, before they are compared.
_FITTING_STEPS = 30
_TIMED_BATCHES = 3


def compare(
    session: loop.Session, architecture: Architecture, objective: Objective = OBJECTIVES["accuracy"]
) -> tuple[Comparison, ...]:
    """Compares a trained network with what a block more, or one less, would make of it.

    For the blocks that could come, the network gets one more at the end of each stage, at first an
    identity. Their branches learn for 30 steps, all of them at once, while all that was there stays
    as it is. Then each of them alone is switched on, and of the others each alone is switched off:
    every example of the validation split is classified with and without it. All batch
    normalisations have the statistics of the same training images then, estimated with what is
    switched on.

    The network itself is not changed.

    Args:
        session: the network, trained, with what it learns from; inside of `loop.surroundings`.
        architecture: of the network.
        objective: what the comparisons are by. Default: accuracy.

    Returns:
        The comparisons: "grow S" for each stage that has blocks, then "prune NAME" for each block
        that may go.
    """
    wide, new = _with_candidates(architecture)
    network = _fitted(session, wide, new.values())
    held_out: Any = session.data.validation  # a search always has some
    judge = _Judge(network, session.evaluation_batches(held_out), training_inputs(session))
    candidates = set(new.values())
    before = judge(candidates)
    found = []
    for change, changed in _changes(architecture, new).items():
        touched = {new.get(change, change.removeprefix(f"{PRUNE} "))}
        examples = objective.compare(before, judge(candidates ^ touched))
        found.append(Comparison(change, **examples, **_costs(session, changed)))
    return tuple(found)


class _Judge:
    """Classifies examples without the branches of some blocks, with the statistics that fit that.

    Args:
        network: a network with residual blocks; its statistics change.
        held_out: images and labels that are classified.
        seen: images that statistics are estimated with.
    """

    def __init__(self, network: BlockNetwork, held_out: Any, seen: Sequence[Any]):
        self._seen = seen
        self._switches = BranchSwitches(network, held_out)
        self._recalibrate = Recalibration(network.lesionable)

    def __call__(self, removed: Collection[str]) -> Verdicts:
        """The verdicts without the branches of these blocks."""
        keep = np.array([name not in removed for name in self._switches.names], "float32")
        self._recalibrate(
            {"image": images, "keep": np.tile(keep, (len(images), 1))} for images in self._seen
        )
        return self._switches(removed)


def _with_candidates(architecture: Architecture) -> tuple[Architecture, dict[str, str]]:
    """One more block in each stage that has any, and their names by what they are a change of."""
    wide, new = architecture, {}
    for stage, numbers in enumerate(architecture.blocks, start=1):
        if numbers:
            wide = grow(wide, stage, max(numbers) + 1)
            new[f"{GROW}{stage}"] = block_name(stage, max(numbers) + 1)
    return wide, new


def _changes(architecture: Architecture, new: Mapping[str, str]) -> dict[str, Architecture]:
    """The changed architectures, by what they are called."""
    stages = {change: int(change.removeprefix(GROW)) for change in new}
    found = {
        change: grow(architecture, stage, max(architecture.blocks[stage - 1]) + 1)
        for change, stage in stages.items()
    }
    for name in architecture.removable_blocks:
        smaller = prune(architecture, [name])
        if smaller != architecture:
            found[f"{PRUNE} {name}"] = smaller
    return found


def _fitted(session: loop.Session, wide: Architecture, names) -> BlockNetwork:
    """The network with new blocks, whose branches alone have learnt for a few steps."""
    network = wide.build(session.model.input_shape[1:], session.model.num_classes)
    weight_transfer.inherit(network, session.model)
    for layer in network.layers:
        layer.trainable = layer.name in names
    config = dataclasses.replace(session.config, steps_per_epoch=_FITTING_STEPS)
    fitting = loop.start(config.task(), session.data, network)
    fitting.train_epochs(range(1), [], validate=False)
    for layer in network.layers:
        layer.trainable = True
    return network


def _costs(session: loop.Session, architecture: Architecture) -> dict[str, float]:
    network = architecture.build(session.model.input_shape[1:], session.model.num_classes)
    return {
        "flops": count_flops(network),
        "parameters": network.count_params(),
        "milliseconds": measure.milliseconds_per_image(
            network, network.input_shape[1:], rounds=_TIMED_BATCHES
        ),
    }
