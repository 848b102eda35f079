"""What a pruning shows: a table of all trials, figures, report.md."""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.layer_pruning.configuration import PruningConfig, PruningFolder, described
from nas.layer_pruning.methods import Step, standard_error
from nas.layer_pruning.plan import Plan
from nas.layer_pruning.removals import FINAL, Layers, Removal, RemovalRecord
from nas.layer_pruning.subjects import Opener, Subject
from nas.records import COMPLETED, RUNNING
from tfcaps import files, measure, plots

if TYPE_CHECKING:
    from nas.layer_pruning.trial import RemovalRunner

_TIMED = 10  # rounds
_BATCH = 32


def write_history(path: pathlib.Path, records: Sequence[RemovalRecord]) -> None:
    """Writes history.csv, one row per trial, whole or not at all."""
    rows = [
        {
            "trial": record.name,
            "role": record.proposal.role,
            "removed": "-".join(map(str, record.proposal.removed)),
            "seed": record.proposal.seed,
            "part": record.proposal.part,
            "status": record.status,
            "score": _number(record.score, 6),
            "above_majority": _number(record.above_majority, 6),
            "above_error": _number(record.above_error, 6),
            "seconds": _number(record.seconds, 2),
        }
        for record in records
    ]
    if rows:
        files.write_csv(path, rows)


def _number(value: float, digits: int) -> Any:
    return "" if math.isnan(value) else round(value, digits)


def seconds_left(plan: Plan, records: Sequence[RemovalRecord]) -> float | None:
    """About how long the trials that are left take; None where nothing is known, or left.

    As long as the choice goes on, of each later step as many trials are expected as it has
    candidates, all of the mean time so far.
    """
    done = [record.seconds for record in records if record.status == COMPLETED]
    if not done:
        return None
    left = plan.expected_trials() - len([r for r in records if r.status != RUNNING])
    return left * float(np.mean(done)) if left > 0 else None


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(40), duration(600), duration(9000)
    ('40 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@dataclasses.dataclass(frozen=True)
class _Cost:
    """What a network with its head needs where it is used.

    Args:
        parameters: weights of encoder and head.
        megabytes: peak memory of a new process that answers batches of 32 with it, without its
            head, beyond what the process had before it opened it.
        one: milliseconds for one text, or image.
        many: the same in a batch of 32.
    """

    parameters: int
    megabytes: float
    one: float
    many: float


def _costs(runner: "RemovalRunner", sizes: Mapping[int, Layers]) -> dict[int, _Cost]:
    """Of each size; all of them are timed in turn, so that a busy machine slows all alike."""
    examples = runner.all_data.test.take(range(min(_BATCH, len(runner.all_data.test))))
    subject = runner.subject
    single, batch = subject.timed(runner.task, examples)
    programs: dict[str, Callable[[], object]] = {}
    parameters = {}
    for size, removed in sizes.items():
        model: Any = subject.task(removed).build(runner.all_data)
        parameters[size] = model.count_params()
        programs[f"{size}/one"] = measure.inference(model, single)
        programs[f"{size}/many"] = measure.inference(model, batch)
    seconds = measure.medians(programs, _TIMED)
    found = {}
    for size, removed in sizes.items():
        found[size] = _Cost(
            parameters[size],
            _megabytes(runner.folder.path, subject, removed, batch),
            1e3 * seconds[f"{size}/one"],
            1e3 * seconds[f"{size}/many"] / len(examples),
        )
    return found


def _megabytes(place: pathlib.Path, subject: Subject, removed: Layers, inputs: Any) -> float:
    """Of the network without some layers alone: it is opened where it lies without them."""
    import keras

    policy = keras.config.dtype_policy().name
    with files.scratch_folder(place) as folder:
        subject.save(removed, folder, folder)
        # To open it, Keras draws first weights, whose largest matrix says what that needs at most.
        return measure.peak_megabytes(
            _opening, subject.opener, str(folder), policy, inputs, settled=True
        )


def _opening(
    opener: Opener,
    folder: str,
    policy: str,
    inputs: Any,
) -> Callable[[], object]:
    """A program that opens a network once, and lets it see some examples."""
    open_it = opener(folder, policy)
    opened: list[Any] = []

    def program():
        if not opened:
            opened.append(open_it())
        return opened[0](inputs, training=False)

    return program


def write_report(
    folder: PruningFolder,
    config: PruningConfig,
    plan: Plan,
    records: Sequence[RemovalRecord],
    runner: "RemovalRunner",
) -> None:
    """Writes figures and report.md."""
    curves = plan.curves(records)
    scores = {
        name: {size: _scores_of(layers, plan, records) for size, layers in sets.items()}
        for name, sets in curves.items()
    }
    costs = _costs(runner, curves["chosen"])
    steps = plan.method.steps(records)
    metric, noun = runner.metric, runner.subject.noun
    _write_figures(folder.figures, scores, costs, steps, metric, noun)
    removed = described(curves["chosen"][plan.sizes[-1]])
    seeds = ", ".join(map(str, plan.method.seeds))
    how = f"in {config.layers_file}" if config.layers_file else f"by {config.prune_method}"
    lines = [
        f"# {config.model} on {config.dataset}, without layers {removed}",
        "",
        f"Layers chosen {how}; {metric}, seeds {seeds}.",
        *(_where(config.dataset, config.validation_fraction) if steps else ()),
        "",
        *_legend(runner.subject.layer_names),
        "## In the end",
        "",
        "Trained on all examples, scored on the test part once: mean ± standard error over seeds;",
        "the difference to the whole model is paired, seed by seed. Milliseconds are for one",
        f"{noun} alone, and for one in a batch of 32.",
        "",
        *_table(curves, scores, costs),
        "",
        *_choices(steps, plan),
        "![scores](figures/score_by_size.png)",
        "",
        "![time](figures/score_by_milliseconds.png)",
        *(["", "![choices](figures/choices.png)"] if steps else []),
    ]
    files.write_text(folder.report, "\n".join(lines) + "\n")


def _where(task: str, share: float | None) -> list[str]:
    """What candidates were scored on.

    >>> _where("rte", 0.15)
    ['Candidates were scored on the 15 % of the training examples that are held out.']
    >>> _where("MNLI-mm", 0.155)[1]
    'The published program scores those of MNLI on the mismatched part of the dev set instead.'
    >>> _where("fashion_mnist", None)
    ['Candidates were scored on the training examples that are held out.']
    """
    part = f"{100 * share:g} % of the " if share else ""
    lines = [f"Candidates were scored on the {part}training examples that are held out."]
    if task.upper().startswith("MNLI"):
        lines.append(
            "The published program scores those of MNLI on the mismatched part of the dev set "
            "instead."
        )
    return lines


def _legend(names: Sequence[str]) -> list[str]:
    """Which layer is which.

    >>> _legend(["stage1_block1", "stage1_block2"])[0]
    'Layers: 0 stage1_block1, 1 stage1_block2.'
    """
    if not names:
        return []
    return [f"Layers: {', '.join(f'{layer} {name}' for layer, name in enumerate(names))}.", ""]


def _scores_of(layers: Layers, plan: Plan, records: Sequence[RemovalRecord]) -> tuple[float, ...]:
    found = {r.proposal: r.score for r in records if r.status == COMPLETED}
    trials = [Removal(layers, seed, role=FINAL) for seed in plan.method.seeds]
    return tuple(found.get(trial, math.nan) for trial in trials)


def _table(
    curves: Mapping[str, Mapping[int, Layers]],
    scores: Mapping[str, Mapping[int, tuple[float, ...]]],
    costs: Mapping[int, _Cost],
) -> list[str]:
    whole = scores["chosen"][0]
    columns = (
        *("removed", "layers", "chosen by", "score", "to the whole"),
        *("parameters", "peak MB", "ms, alone", "ms, of 32"),
    )
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for size, cost in costs.items():
        for name, sets in curves.items():
            if size == 0 and name != "chosen":
                continue
            own = scores[name][size]
            pairs = [a - b for a, b in zip(own, whole, strict=True)]
            lines.append(
                f"| {size} | {described(sets[size])} | {name if size else 'whole model'} "
                f"| {_with_error(own)} | {_with_error(pairs, sign='+') if size else ''} "
                f"| {cost.parameters:,} | {cost.megabytes:,.0f} | {cost.one:.2f} "
                f"| {cost.many:.2f} |"
            )
    return lines


def _with_error(values: Sequence[float], sign: str = "") -> str:
    """Mean ± standard error.

    >>> _with_error((0.5, 0.7)), _with_error((0.25,), sign="+")
    ('0.6000 ± 0.1000', '+0.2500')
    """
    mean, error = np.mean(values), standard_error(values)
    return f"{mean:{sign}.4f}" + ("" if math.isnan(error) else f" ± {error:.4f}")


def _choices(steps: Sequence[Step], plan: Plan) -> list[str]:
    if not steps:
        return []
    lines = [
        "## Choice by choice",
        "",
        "Scores of the validation split. The difference of the best and the second one is paired,",
        "seed by seed; they are told apart where a t test at 5 % does, which one seed can't.",
        "",
        "| choice | without | score | second best | difference | |",
        "|---|---|---|---|---|---|",
    ]
    for number, step in enumerate(steps, start=1):
        second, difference = "", ""
        if step.runner_up is not None:
            second = described(step.runner_up.removed)
            difference = _with_error(step.differences, sign="+")
        words = "distinguishable" if step.is_distinguishable else "not distinguishable"
        lines.append(
            f"| {number} | {described(step.winner.removed)} | {_with_error(step.winner.scores)} "
            f"| {second} | {difference} | {words if second else 'no other'} |"
        )
    return [*lines, ""]


def _write_figures(
    folder: pathlib.Path,
    scores: Mapping[str, Mapping[int, tuple[float, ...]]],
    costs: Mapping[int, _Cost],
    steps: Sequence[Step],
    metric: str,
    noun: str,
) -> None:
    def curves(x_of: Callable[[int], float]) -> dict[str, list[plots.ScorePoint]]:
        return {
            name: [
                plots.ScorePoint(x_of(size), float(np.mean(values)), standard_error(values))
                for size, values in by_size.items()
                if not math.isnan(float(np.mean(values)))
            ]
            for name, by_size in scores.items()
        }

    label = f"Test {metric}"
    figures = {
        "score_by_size": plots.score_curves(curves(float), x_label="Removed layers", y_label=label),
        "score_by_milliseconds": plots.score_curves(
            curves(lambda size: costs[size].one),
            x_label=f"Milliseconds for one {noun}",
            y_label=label,
        ),
    }
    if steps:
        figures["choices"] = plots.layer_choices(*_drawn(steps), y_label=f"Validation {metric}")
    for name, figure in figures.items():
        plots.save(figure, folder / f"{name}.png")


def _drawn(steps: Sequence[Step]) -> tuple[list[dict[str, tuple[float, float]]], list[str]]:
    """Each choice's candidates by what they lack beyond the one before, and the winners."""
    drawn, winners = [], []
    before: set[int] = set()
    for step in steps:
        is_nested = all(before < set(c.removed) for c in step.candidates)

        def name(removed: Layers, base: set[int] = before, nested: bool = is_nested) -> str:
            return "-".join(str(layer) for layer in removed if not nested or layer not in base)

        drawn.append({name(c.removed): (c.mean, c.error) for c in step.candidates})
        winners.append(name(step.winner.removed))
        before = set(step.winner.removed)
    return drawn, winners
