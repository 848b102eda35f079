"""The report of a search: before and after, and how it came about."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nas import policy
from nas.architecture import Architecture
from nas.attempt import Material
from nas.configuration import SearchConfig
from nas.history import Outcomes, row
from nas.policy import Decision, Record
from tfcaps import measure
from tfcaps.models.block_network import count_flops
from tfcaps.training import recipes

_LAYERS_OF_BLOCK = 2  # convolutions of a block


def write(
    config: SearchConfig,
    records: Sequence[Record],
    decision: Decision,
    *,
    material: Material,
    results: dict[str, Any],
    start_results: dict[str, Any] | None,
    outcomes: Outcomes,
) -> str:
    """The report as Markdown; times and memory are measured here and now.

    Args:
        config: of the search.
        records: all attempts.
        decision: its end.
        material: what the networks learnt from.
        results: of the training of the resulting network.
        start_results: of that of the start network, or None.
        outcomes: of the completed attempts.
    """
    final = next(record for record in records if record.name == decision.final)
    columns = {
        "before": _column(config, config.start, material, _first(records), outcomes, start_results),
        "after": _column(config, final.proposal.architecture, material, final, outcomes, results),
    }
    before, after = columns.values()
    lines = [
        f"# Auto-tune on {config.dataset}, rule {config.rule}",
        "",
        f"The search ended since {decision.reason}, after {len(records)} attempts.",
        "",
        "| | before | after |",
        "|---|---|---|",
        *(f"| {name} | {before[name]} | {after[name]} |" for name in before),
        "",
        f"Validation accuracies are those of the attempts ({config.check_epochs} checks of "
        f"{config.steps_per_epoch or 'all'} steps at most; one that ended at a conflict stopped "
        "there). Test accuracy is that of the final weights, "
        f"{results['epochs']} epochs of {config.final_steps_per_epoch or 'all'} steps; the test "
        "set was touched once. Milliseconds and memory were measured on this machine: inference in "
        f"batches of 64, and what three training steps of batch {config.batch_size} add to a "
        "process.",
        "",
        "## Attempts",
        "",
        *_table([row(record, outcomes.get(record.name)) for record in records]),
        "",
        "## Pictures",
        "",
        "- `figures/blocks.png`: blocks per stage over the rounds",
        "- `figures/entropy_TRIAL.png`: bundle entropy of each attempt, taps × checks",
        "- `figures/accuracy_parameters.png`, `figures/accuracy_ms_per_image.png`: all attempts "
        "and the Pareto front",
        "",
    ]
    return "\n".join(lines)


def _first(records: Sequence[Record]) -> Record:
    return next(record for record in records if record.proposal.role == policy.START)


def _column(
    config: SearchConfig,
    architecture: Architecture,
    material: Material,
    record: Record,
    outcomes: Outcomes,
    results: dict[str, Any] | None,
) -> dict[str, str]:
    """What the report says about one network."""
    model = architecture.build(material.image_shape, material.num_classes)
    milliseconds = measure.milliseconds_per_image(model, material.image_shape, rounds=5)
    memory = measure.peak_megabytes(
        training_step,
        config.to_dict(),
        architecture.to_json(),
        material.image_shape,
        material.num_classes,
    )
    accuracy = outcomes[record.name]["accuracy"] if record.name in outcomes else None
    tested = None if results is None else results["test_accuracy"]
    return {
        "blocks per stage": ", ".join(map(str, architecture.counts)),
        "layers in blocks": str(_LAYERS_OF_BLOCK * sum(architecture.counts)),
        "parameters": f"{model.count_params():,}",
        "MFLOPs per image": f"{count_flops(model) / 1e6:,.1f}",
        "peak memory of training, MB": f"{memory:,.0f}",
        "ms per image": f"{milliseconds:.3f}",
        "validation accuracy after its attempt": _percent(accuracy),
        "test accuracy after the final training": _percent(tested, "not trained: --train_start"),
    }


def _percent(value: float | None, otherwise: str = "–") -> str:
    return otherwise if value is None else f"{value:.2%}"


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Rows of history.csv as a Markdown table."""
    names = list(max(rows, key=len))
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    for each in rows:
        cells = (each.get(name, "") for name in names)
        lines.append(f"| {' | '.join(_cell(value) for value in cells)} |")
    return lines


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def training_step(
    fields: dict[str, Any],
    architecture: str,
    image_shape: tuple[int, int, int],
    num_classes: int,
) -> Callable[[], object]:
    """A function that makes one training step, for a process of its own."""
    config = SearchConfig.from_dict(fields)
    found = Architecture.from_json(architecture)
    model = found.build(image_shape, num_classes)
    recipes.recipe(config.training_of(found, config.log_dir)).compile(model, jit=False)
    random = np.random.default_rng(0)
    images = random.random((config.batch_size, *image_shape), "float32")
    labels = random.integers(0, num_classes, config.batch_size)
    return lambda: model.train_on_batch(images, labels)
