"""What a search shows of its trials: a table, and figures."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nas.policy import Record, is_done, lineage
from nas.trial_folder import TrialFolder
from tfcaps import files, plots


def row(record: Record) -> dict[str, Any]:
    """A trial as a row of history.csv; a number that isn't known is empty.

    `last_entropy` is H of the last block (the larger one of branch and output), `sum_of_entropies`
    and `conflicts` are over all blocks that conflict, of residual blocks over the branches.
    """
    architecture = record.proposal.architecture
    conflicting = record.conflicting_blocks
    is_known = is_done(record)
    entropies = [record.block_entropy(name) for name in conflicting]
    return {
        "trial": record.name,
        "round": record.proposal.round,
        "role": record.proposal.role,
        "parent": record.proposal.parent,
        "status": record.status,
        "blocks": ",".join(map(str, architecture.counts)),
        "layers": architecture.num_layers,
        "last_entropy": _number(record.last_entropy, 6),
        "sum_of_entropies": _number(math.fsum(entropies), 6) if is_known else "",
        "conflicts": len(conflicting) if is_known else "",
        "val_accuracy": _number(record.accuracy, 6),
        "parameters": _number(record.parameters, 0),
        "flops": _number(record.flops, 0),
        "ms_per_image": _number(record.milliseconds, 4),
        "seconds": _number(record.seconds, 2),
    }


def write_history(path: pathlib.Path, records: Sequence[Record]) -> None:
    """Writes history.csv, whole or not at all."""
    files.write_csv(path, [row(record) for record in records])


def write_figures(
    folder: pathlib.Path, search: pathlib.Path, records: Sequence[Record], final: str
) -> None:
    """Writes the figures of a search.

    Args:
        folder: where to.
        search: with the trials' folders.
        records: of all trials.
        final: identity of the one that the search came to.
    """
    past = lineage(records, final)
    plots.save(
        plots.blocks_per_round(
            [record.proposal.architecture.counts for record in past],
            [str(record.proposal.round) for record in past],
        ),
        folder / "blocks_per_round.png",
    )
    _write_fronts(folder, [record for record in records if is_done(record)])
    for record in records:
        outcome = TrialFolder(search, record.name).read_outcome()
        if outcome is not None:
            plots.save(_heatmap(record, outcome), folder / f"entropy_trial_{record.name}.png")


def _write_fronts(folder: pathlib.Path, records: Sequence[Record]) -> None:
    costs = {"parameters": "Parameters", "milliseconds": "Milliseconds per image"}
    for name, label in costs.items():
        figure = plots.pareto_front(
            [getattr(record, name) for record in records],
            [record.accuracy for record in records],
            [f"trial {record.name}" for record in records],
            x_label=label,
            title="Accuracy of all trials at their end",
        )
        plots.save(figure, folder / f"accuracy_against_{name}.png")


def _heatmap(record: Record, outcome: Mapping[str, Any]):
    proposal = record.proposal
    return plots.entropy_heatmap(
        np.array(list(outcome["entropies"].values())),
        list(outcome["entropies"]),
        columns=outcome["checks"],
        x_label="After epoch",
        title=f"Round {proposal.round}, {proposal.role}",
    )


def _number(value: float, decimals: int) -> str:
    """A number as text without useless zeros; "" for NaN."""
    if math.isnan(value):
        return ""
    return f"{value:.{decimals}f}" if decimals == 0 else f"{round(value, decimals):g}"
