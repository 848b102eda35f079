"""What a search leaves after every attempt: a table and figures."""

import csv
import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nas import policy
from nas.configuration import SearchConfig
from nas.oracle import trial_folder
from nas.policy import Record
from nas.tuner import read_outcome
from tfcaps import plots
from tfcaps.training import files

COLUMNS = (
    *("trial", "round", "role", "status", "blocks", "layers", "last_entropy"),
    *("conflicting_blocks", "val_accuracy", "parameters", "flops", "ms_per_image", "seconds"),
)
Outcomes = Mapping[str, dict[str, Any]]


class History:
    """Keeps `history.csv` and the figures of a search.

    Args:
        folder: where they go.
        search_folder: where the trials' files are.
        config: of the search.
    """

    def __init__(self, folder: pathlib.Path, search_folder: pathlib.Path, config: SearchConfig):
        self.folder = folder
        self.search_folder = search_folder
        self.config = config

    def update(self, records: Sequence[Record]) -> None:
        """Writes the table and the figures anew."""
        found = outcomes(self.search_folder, records)
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(row(record, found.get(record.name)) for record in records)
        files.write_text(self.folder / "history.csv", text.getvalue())
        self._draw([record for record in records if record.name in found], found)

    def _draw(self, records: Sequence[Record], found: Outcomes) -> None:
        if not records:
            return
        figures = self.folder / "figures"
        rounds = _one_per_round(records)
        plots.save(
            plots.blocks_per_round(
                [record.proposal.architecture.counts for record in rounds],
                [str(record.proposal.round) for record in rounds],
            ),
            figures / "blocks.png",
        )
        for record in records:
            path = figures / f"entropy_{record.name}.png"
            if not path.exists():
                plots.save(_heatmap(record, found[record.name]), path)
        names = [f"{record.name}: {record.proposal.role}" for record in records]
        accuracies = [found[record.name]["accuracy"] for record in records]
        for column, label in (
            ("parameters", "Parameters"),
            ("ms_per_image", "Milliseconds per image"),
        ):
            costs = [found[record.name][column] for record in records]
            figure = plots.pareto_front(costs, accuracies, names, x_label=label)
            plots.save(figure, figures / f"accuracy_{column}.png")


def outcomes(search_folder: pathlib.Path, records: Sequence[Record]) -> Outcomes:
    """What the completed trials wrote, by their names."""
    found = {
        record.name: read_outcome(trial_folder(search_folder, record.name))
        for record in records
        if record.status == policy.COMPLETED
    }
    return {name: outcome for name, outcome in found.items() if outcome is not None}


def row(record: Record, outcome: Mapping[str, Any] | None) -> dict[str, Any]:
    """One line of history.csv."""
    architecture = record.proposal.architecture
    known = {
        "trial": record.name,
        "round": record.proposal.round,
        "role": record.proposal.role,
        "status": record.status,
        "blocks": "-".join(map(str, architecture.counts)),
        "layers": sum(architecture.counts),
    }
    if outcome is None:
        return known
    last = architecture.block_names[-1]
    return {
        **known,
        "last_entropy": max(
            values[-1] for tap, values in outcome["entropies"].items() if tap.split("/")[0] == last
        ),
        "conflicting_blocks": len(record.conflicting_blocks),
        "val_accuracy": outcome["accuracy"],
        **{name: outcome[name] for name in ("parameters", "flops", "ms_per_image", "seconds")},
    }


def _one_per_round(records: Sequence[Record]) -> list[Record]:
    """The network that each round was about: the one that its children came from, or itself."""
    found = {}
    for record in records:
        if record.proposal.role in (policy.START, policy.KEEP) or not record.proposal.parent:
            found.setdefault(record.proposal.round, record)
    return [found[number] for number in sorted(found)]


def _heatmap(record: Record, outcome: Mapping[str, Any]):
    counts = ",".join(map(str, record.proposal.architecture.counts))
    return plots.entropy_heatmap(
        np.array(list(outcome["entropies"].values())),
        list(outcome["entropies"]),
        columns=outcome["checks"],
        x_label="Check",
        title=f"Round {record.proposal.round}, {record.proposal.role}, blocks {counts}",
    )
