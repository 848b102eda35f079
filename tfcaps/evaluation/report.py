"""What a finished run's network is worth: numbers, figures, and the table that says it."""

import os
from typing import Any

import numpy as np

from tfcaps import datasets, files, plots
from tfcaps.datasets import Split
from tfcaps.evaluation.progress import shown
from tfcaps.evaluation.subject import Subject
from tfcaps.metrics import BundleEntropy, capsule_scores, classification_scores
from tfcaps.metrics.calibration import (
    ReliabilityBins,
    fit_temperature,
    reliability_bins,
    softmax,
)
from tfcaps.training import probe

_SMALLEST_SCORE = 1e-6  # and 1 less that is the largest one, so that log odds are finite


def evaluate(
    subject: Subject, output_dir: str | os.PathLike | None = None, **changes: Any
) -> dict[str, Any]:
    """Evaluates a network on its subject's examples.

    Writes `evaluation.json`, `per_class.csv` and `figures/`: `confusion_matrix.png`,
    `class_accuracy.png`, `reliability.png`, and where a split was held out for validation also
    `reliability_calibrated.png`.

    Scores become probabilities by one temperature T, which is fitted on the validation split:
    `softmax(z / T)`, with z the log odds `log(‖v‖ / (1 − ‖v‖))` of a capsule network's lengths,
    and the logits of any other network.

    Args:
        subject: network and examples.
        output_dir: where to; it is made if missing. Default: as the subject's options say.
        **changes: other options than the subject's, see `EvaluationOptions`.

    Returns:
        The content of evaluation.json: `accuracy`, `balanced_accuracy`, `macro_f1`, `per_class`,
        `confusion` (rows are true classes), `expected_calibration_error`; `calibrated`, the same of
        the probabilities, with `temperature` and the number of `examples` that it was fitted on;
        `bundles` per layer; and of a capsule network `t_scores`, `t_score` and `d_score`.

    Raises:
        UsageError: there are fewer training examples than `conflicting_samples_size`, or the folder
            has results of other weights or examples.
    """
    subject = subject.asked(output_dir, **changes)
    subject.expect_own_folder()
    labels, scores = _scores(subject)
    predictions = scores.argmax(axis=-1)
    names = subject.run.class_names
    counts = plots.confusion_counts(labels, predictions, len(names))
    bins = reliability_bins(scores.max(axis=-1), predictions == labels)
    calibrated, probable = _calibrated(subject, labels, scores)
    results = {
        "checkpoint": subject.options.checkpoint,
        "dataset": subject.data.name,
        "split": subject.options.split,
        "examples": len(labels),
        **classification_scores(counts)._asdict(),
        "expected_calibration_error": bins.expected_calibration_error,
        **calibrated,
        **_inside(subject),
        "per_class": _per_class(counts, names),
        "reliability": {
            name: [None if np.isnan(value) else value for value in values.tolist()]
            for name, values in bins._asdict().items()
        },
        "confusion": counts.tolist(),
    }
    figures = {
        "confusion_matrix": plots.confusion_matrix(counts, names),
        "class_accuracy": plots.class_accuracy(counts, names),
        "reliability": plots.reliability(bins),
    }
    if probable:
        figures["reliability_calibrated"] = plots.reliability(
            probable, x_label="Calibrated confidence"
        )
    with files.WorkFolder(subject.folder, files.EVALUATION).locked():
        files.remove_unfinished(subject.folder)
        for name, figure in figures.items():
            plots.save(figure, subject.folder / "figures" / f"{name}.png")
        files.write_csv(subject.folder / "per_class.csv", results["per_class"])
        files.write_json(subject.folder / "evaluation.json", results)
    return results


def table(results: dict[str, Any]) -> str:
    """The numbers of `evaluate` as lines of text."""
    lines = [
        f"{results['examples']:,} {results['split']} examples of {results['dataset']}, "
        f"{results['checkpoint']} weights",
        f"{'accuracy':28}{results['accuracy']:8.2%}",
        *(f"  {row['class']:26.26}{row['accuracy'] or 0:8.2%}" for row in results["per_class"]),
        f"{'balanced accuracy':28}{results['balanced_accuracy']:8.2%}",
        f"{'macro F1':28}{results['macro_f1']:8.4f}",
        f"{'calibration error':28}{results['expected_calibration_error']:8.4f}",
    ]
    if "calibrated" in results:
        calibrated = results["calibrated"]
        label = f"  with temperature {calibrated['temperature']:.3g}"
        lines.append(f"{label:28}{calibrated['expected_calibration_error']:8.4f}")
    if "t_score" in results:
        lines.append(f"{'T-score':28}{results['t_score']:8.4f}")
        lines += [f"  {layer:26.26}{score:8.4f}" for layer, score in results["t_scores"].items()]
        lines.append(f"{'D-score':28}{results['d_score']:8.4f}")
    if "bundles" in results:
        lines.append(f"{'bundle entropy':28}{'entropy':>8}{'bundles':>10}")
        lines += [
            f"  {layer:26.26}{found['entropy']:8.4f}{found['number']:10}"
            for layer, found in results["bundles"].items()
        ]
    return "\n".join(lines)


def _calibrated(
    subject: Subject, labels: np.ndarray, scores: np.ndarray
) -> tuple[dict[str, Any], ReliabilityBins | None]:
    """What probabilities are worth, as an entry of the results; nothing without a validation."""
    held_out = subject.data.validation
    if held_out is None or scores.shape[1] < 2:
        return {}, None
    known, fitted = (labels, scores)
    if held_out is not subject.split:
        known, fitted = _scores(subject, held_out)
    temperature = fit_temperature(_logits(subject, fitted), known)
    probabilities = softmax(_logits(subject, scores) / temperature)
    bins = reliability_bins(probabilities.max(axis=-1), probabilities.argmax(axis=-1) == labels)
    found = {
        "temperature": temperature,
        "examples": len(known),
        "expected_calibration_error": bins.expected_calibration_error,
    }
    return {"calibrated": found}, bins


def _logits(subject: Subject, scores: np.ndarray) -> np.ndarray:
    """Lengths are a probability each; a softmax is one of all classes."""
    scores = np.clip(scores, _SMALLEST_SCORE, 1.0 - _SMALLEST_SCORE)
    return np.log(scores) - (np.log1p(-scores) if subject.has_capsules else 0.0)


def _scores(subject: Subject, split: Split | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) and scores (N, K): lengths, or a softmax; of the subject's examples or others."""
    split = subject.split if split is None else split
    batches = shown("Scores", subject.batches(split), len(split), subject.options.batch_size)
    return probe.scores(
        subject.run.model.classifier, ((batch["image"], batch["label"]) for batch in batches)
    )


def _inside(subject: Subject) -> dict[str, Any]:
    """What the layers below the classes are worth."""
    found: dict[str, Any] = {}
    if subject.has_capsules:
        batches = shown(
            "Capsules", subject.batches(), len(subject.split), subject.options.batch_size
        )
        scores = capsule_scores(subject.run.model, (batch["image"] for batch in batches))
        found |= scores.to_dict()
    if subject.options.conflicting_samples_size:
        found["bundles"] = _bundles(subject, subject.options.conflicting_samples_size)
    return found


def _bundles(subject: Subject, size: int) -> dict[str, dict[str, float]]:
    """Bundles of training examples per layer, as in the training."""
    config = subject.run.config
    examples = datasets.probe_set(subject.data.train, size, seed=config.seed)
    measure = BundleEntropy(
        subject.run.model,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        num_classes=len(subject.run.class_names),
    )
    images = np.concatenate([batch["image"] for batch in subject.batches(examples)])
    return {
        layer: {"entropy": bundles.entropy, "number": bundles.number}
        for layer, bundles in measure(images, examples.labels).items()
    }


def _per_class(counts: np.ndarray, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """A row per class; without examples it has no accuracy."""
    return [
        {
            "class": name,
            "examples": int(row.sum()),
            "correct": int(row[label]),
            "accuracy": float(row[label] / row.sum()) if row.sum() else None,
        }
        for label, (name, row) in enumerate(zip(names, counts, strict=True))
    ]
