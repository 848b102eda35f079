"""What a search shows of its trials, and what it changed: a table, figures, report.md."""

import concurrent.futures.process
import dataclasses
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nas.architecture import Architecture
from nas.configuration import SearchConfig
from nas.folders import SearchFolder, TrialFolder
from nas.objectives import OBJECTIVES
from nas.records import Comparison, Outcome, Proposal, Record, is_done, lineage
from tfcaps import files, measure, plots

_BATCH_SIZE = 64
_TIMED_BATCHES = 10


def _columns(objective: str, lineages: int) -> dict[str, str]:
    """What report.md shows of history.csv's columns, and what it calls them."""
    return {
        "trial": "trial",
        **({"lineage": "lineage"} if lineages > 1 else {}),
        "round": "round",
        "role": "role",
        "blocks": "blocks",
        "last_entropy": "H of the last block",
        "conflicts": "conflicting blocks",
        f"val_{objective}": f"validation {OBJECTIVES[objective].title}",
        "parameters": "parameters",
        "flops": "FLOPs",
        "ms_per_image": "ms per image",
        "seconds": "seconds",
    }


def _row(record: Record, objective: str) -> dict[str, Any]:
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
        "lineage": record.proposal.lineage,
        "role": record.proposal.role,
        "parent": record.proposal.parent,
        "status": record.status,
        "blocks": ",".join(map(str, architecture.counts)),
        "hidden_widths": ",".join(map(str, architecture.hidden)),
        "layers": architecture.num_layers,
        "last_entropy": _number(record.last_entropy, 6),
        "sum_of_entropies": _number(math.fsum(entropies), 6) if is_known else "",
        "conflicts": len(conflicting) if is_known else "",
        "val_accuracy": _number(record.accuracy, 6),
        f"val_{objective}": _number(record.score, 6),
        "val_error": _number(record.score_error, 6),
        "parameters": _number(record.parameters, 0),
        "flops": _number(record.flops, 0),
        "ms_per_image": _number(record.milliseconds, 4),
        "seconds": _number(record.seconds, 2),
    }


def write_history(path: pathlib.Path, records: Sequence[Record], objective: str) -> None:
    """Writes history.csv, whole or not at all.

    Args:
        path: where to.
        records: of all trials.
        objective: name of what was measured beside accuracy; `val_error` is of it.
    """
    files.write_csv(path, [_row(record, objective) for record in records])


def write_events(
    directory: pathlib.Path,
    name: str,
    proposal: Proposal,
    outcome: Outcome,
    numbers: dict[str, float],
    comparisons: tuple[Comparison, ...] = (),
) -> None:
    """Writes a trial as a part of a TensorBoard run, a curve of a network that is trained on.

    Steps are epochs since the run's random weights. A trial has an event file of its own, which
    replaces that of an earlier attempt at it.

    Args:
        directory: of the run; trials that go on from each other share one.
        name: identity of the trial.
        proposal: what was tried.
        outcome: what it came to.
        numbers: of the network at the trial's end, by what charts are called.
        comparisons: what changes of the network would do.

    Raises:
        OSError: the file can't be written.
    """
    suffix = f".trial_{name}"
    earlier = list(directory.glob(f"events.out.tfevents.*{suffix}"))
    begin = proposal.first_epoch or 0
    end = begin + len(outcome.losses)
    with (
        files.disk_errors(directory, tf.errors.OpError),
        tf.summary.create_file_writer(str(directory), filename_suffix=suffix).as_default(),
    ):
        for epoch, loss in enumerate(outcome.losses, start=begin + 1):
            tf.summary.scalar("loss", loss, step=epoch)
        for tap, entropies in outcome.entropies.items():
            for check, entropy in zip(outcome.checks, entropies, strict=True):
                tf.summary.scalar(f"entropy/{tap}", entropy, step=begin + check)
        for chart, number in numbers.items():
            tf.summary.scalar(chart, number, step=end)
        for stage, count in enumerate(proposal.architecture.counts, start=1):
            tf.summary.scalar(f"blocks/stage{stage}", count, step=end)
        for comparison in comparisons:
            tf.summary.scalar(f"gain/{comparison.change}", comparison.gain, step=end)
    for path in earlier:
        path.unlink()


def write_figures(
    folder: pathlib.Path,
    search: pathlib.Path,
    records: Sequence[Record],
    final: str,
    objective: str,
) -> None:
    """Writes the figures of a search.

    Args:
        folder: where to.
        search: with the trials' folders.
        records: of all trials.
        final: identity of the one that the search came to.
        objective: name of what was measured.
    """
    past = lineage(records, final)
    plots.save(
        plots.blocks_per_round(
            [record.proposal.architecture.counts for record in past],
            [str(record.proposal.round) for record in past],
        ),
        folder / "blocks_per_round.png",
    )
    _write_fronts(folder, [record for record in records if is_done(record)], objective)
    _write_heatmaps(folder, search, records)


def _write_heatmaps(folder: pathlib.Path, search: pathlib.Path, records: Sequence[Record]) -> None:
    for record in records:
        outcome = TrialFolder(search, record.name).read_outcome()
        if outcome is not None and outcome.checks and outcome.entropies:
            plots.save(_heatmap(record, outcome), folder / f"entropy_trial_{record.name}.png")


def _write_fronts(folder: pathlib.Path, records: Sequence[Record], objective: str) -> None:
    title = OBJECTIVES[objective].title
    costs = {"parameters": "Parameters", "milliseconds": "Milliseconds per image"}
    for name, label in costs.items():
        figure = plots.pareto_front(
            [getattr(record, name) for record in records],
            [record.score for record in records],
            [f"trial {record.name}" for record in records],
            x_label=label,
            y_label=f"Validation {title}",
            title=f"{title[0].upper()}{title[1:]} of all trials at their end",
        )
        plots.save(figure, folder / f"{objective}_against_{name}.png")


def _heatmap(record: Record, outcome: Outcome):
    proposal = record.proposal
    return plots.entropy_heatmap(
        np.array(list(outcome.entropies.values())),
        list(outcome.entropies),
        columns=outcome.checks,
        x_label="After epoch",
        title=f"Round {proposal.round}, {proposal.role}",
    )


@dataclasses.dataclass(frozen=True)
class Summary:
    """A search that is over.

    Args:
        records: of all trials; the first one is that of the start network.
        final: the one that it came to.
        reason: why it is over.
        epochs: the budget at which start and final network are compared.
        start_score: the objective, of the start network on the validation split, at that budget;
            None: unknown.
        final_score: that of the final network.
        image_shape: (H, W, C) of the networks' input.
        num_classes: K.
    """

    records: tuple[Record, ...]
    final: Record
    reason: str
    epochs: int
    start_score: float | None
    final_score: float | None
    image_shape: tuple[int, int, int]
    num_classes: int


def write_report(
    directory: SearchFolder,
    config: SearchConfig,
    summary: Summary,
    results: Mapping[str, Any],
    start_results: Mapping[str, Any] | None,
) -> None:
    """Writes report.md.

    Args:
        directory: of the search.
        config: of the search.
        summary: of the search.
        results: of the final training, see `tfcaps.training.train`.
        start_results: of the start network's training, or None.
    """
    start, final = (r.proposal.architecture for r in (summary.records[0], summary.final))
    changes = _table(
        ["", "before", "after"],
        _changes(config.objective, summary, start, final, results, start_results),
    )
    columns = _columns(config.objective, config.lineages)
    rows = [_row(record, config.objective) for record in summary.records]
    trials = _table(list(columns.values()), [[str(row[name]) for name in columns] for row in rows])
    failures = [
        f"- Trial {record.name} failed: {record.message}\n"
        for record in summary.records
        if record.message
    ]
    evidence = _evidence(summary.records, config.objective)
    title = OBJECTIVES[config.objective].title
    text = f"""# Auto-tune: {config.dataset}, {_name(start)} → {_name(final)}

Rule `{config.rule}`, {len(summary.records)} trials. The search ended, as {summary.reason}.

{changes}
Validation {title}: {_whose(summary)} after
{_epochs(summary.epochs, config.steps_per_epoch)}. Test {title}: the final weights', after
{_epochs(results["epochs"], config.final_steps_per_epoch)}; no decision rests on it.
Time and memory were measured here, on batches of {_BATCH_SIZE} images.

## Trials

The {title} is that at the trial's end; {config.rule_class.on_accuracies}

{trials}
{"".join(failures)}{evidence}
Repeat it from this folder with `auto_tune --flagfile={directory.flags.name} --log_dir=NEW_FOLDER`.
"""
    files.write_text(directory.report, text)


def _whose(summary: Summary) -> str:
    """Which networks were trained for so many epochs that the accuracies are of."""
    return "the network that came out" if summary.start_score is None else "both networks"


def _evidence(records: Sequence[Record], objective: str) -> str:
    """What each decision rests on; nothing where the trials were not compared with changes."""
    followed = {record.proposal.parent: record.proposal.role for record in records}
    rows = [
        [
            record.name,
            each.change,
            f"{1e3 * each.gain:+.2f} ± {1e3 * each.error:.2f}",
            f"{each.won:.0f}",
            f"{each.lost:.0f}",
            f"{each.milliseconds:.3g}",
            "was made" if followed.get(record.name) == each.change else "",
        ]
        for record in records
        for each in record.comparisons
    ]
    if not rows:
        return ""
    unit = OBJECTIVES[objective].unit
    header = ["trial", "change", f"gain, 1/1000 {unit}", "won", "lost", "ms per image", ""]
    return f"""
## Evidence

After each trial, on the validation split, image by image: what would be gained by a change, with
its standard error; how many images only the changed network classifies rightly, and how many
only the one as it is.

{_table(header, rows)}"""


def _changes(objective, summary, start, final, results, start_results) -> list[list[str]]:
    shape = summary.image_shape, summary.num_classes
    memory = [_peak_memory(each, *shape) for each in (start, final)]
    programs = {name: _make_classifier(name, *shape) for name in {start.to_json(), final.to_json()}}
    seconds = measure.medians(programs, _TIMED_BATCHES)
    milliseconds = [1e3 * seconds[each.to_json()] / _BATCH_SIZE for each in (start, final)]
    records = summary.records[0], summary.final
    title = OBJECTIVES[objective].title
    tests = [each and each[f"test_{objective}"] for each in (start_results, results)]
    return [
        ["blocks", _counts(start), _counts(final)],
        *(
            [["hidden widths", *(_hidden(each) for each in (start, final))]]
            if start.hidden or final.hidden
            else []
        ),
        ["layers", str(start.num_layers), str(final.num_layers)],
        ["parameters", *(f"{record.parameters:,.0f}" for record in records)],
        ["MFLOPs per image", *(f"{record.flops / 1e6:,.1f}" for record in records)],
        ["peak memory, MB", *memory],
        ["ms per image", *(f"{each:.3g}" for each in milliseconds)],
        [f"validation {title}", *map(_share, (summary.start_score, summary.final_score))],
        [f"test {title}", *map(_share, tests)],
    ]


def _peak_memory(
    architecture: Architecture, image_shape: tuple[int, int, int], num_classes: int
) -> str:
    arguments = architecture.to_json(), image_shape, num_classes
    try:
        return f"{measure.peak_megabytes(_make_classifier, *arguments):,.0f}"
    except concurrent.futures.process.BrokenProcessPool:
        return "more than there is"


def _make_classifier(
    architecture: str, image_shape: tuple[int, int, int], num_classes: int
) -> Callable[[], object]:
    """A program that classifies a batch, for measurements here and in another process."""
    model = Architecture.from_json(architecture).build(image_shape, num_classes)
    classify = tf.function(lambda images: model(images, training=False))
    images = tf.zeros((_BATCH_SIZE, *image_shape))
    # To NumPy: a device works on after the call, until someone asks for the result.
    return lambda: classify(images).numpy()


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _name(architecture: Architecture) -> str:
    return f"{architecture.kind} {_counts(architecture)}"


def _counts(architecture: Architecture) -> str:
    return ",".join(map(str, architecture.counts))


def _hidden(architecture: Architecture) -> str:
    return ",".join(map(str, architecture.hidden or architecture.widths))


def _share(accuracy: float | None) -> str:
    return "–" if accuracy is None else f"{accuracy:.2%}"


def _epochs(number: int, steps: int) -> str:
    length = f"{steps} steps" if steps else "all training examples"
    return f"{number} epoch{'' if number == 1 else 's'} of {length}"


def _number(value: float, decimals: int) -> str:
    """A number as text without useless zeros; "" for NaN."""
    if math.isnan(value):
        return ""
    return f"{value:.{decimals}f}" if decimals == 0 else f"{round(value, decimals):g}"
