"""The pictures of a capsule network: after each epoch, and of a finished run."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np
from matplotlib.figure import Figure

from tfcaps import plots
from tfcaps.training import probe

# What is added to one dimension of a capsule at a time, as in arXiv 1710.09829, section 5.1.
_TWEAKS = np.linspace(-0.25, 0.25, 11)


def draw(
    model: keras.Model,
    examples: Mapping[str, np.ndarray],
    class_names: Sequence[str],
    *,
    is_finished: bool,
) -> tuple[dict[str, Figure], dict[str, np.ndarray]]:
    """Draws what the network makes of some examples, as `Task.figures` describes.

    `confusion_matrix` (all examples) and, if the model has a decoder, `reconstructions`; in the
    end also `couplings` and, of a decoder, `capsule_dimensions`. The coupling coefficients of each
    capsule layer are the histograms.
    """
    images, labels = examples["image"], examples["label"]
    predictions = probe.in_batches(model.classifier, images).argmax(axis=-1)
    counts = plots.confusion_counts(labels, predictions, len(class_names))
    figures = {"confusion_matrix": plots.confusion_matrix(counts, class_names)}

    shown = probe.spread_over_classes(labels, probe.INSPECTED_IMAGES)
    inspected = probe.in_batches(model.inspector, images[shown])
    couplings = inspected["couplings"]
    if is_finished:
        figures["couplings"] = plots.coupling_histogram(couplings)
    if model.decoder is not None:
        capsules = probe.class_capsules(model, inspected)
        pairs = shown[: probe.SHOWN_PAIRS]
        figures["reconstructions"] = plots.reconstructions(
            examples["original"][pairs],
            probe.in_batches(model.decoder, capsules[: len(pairs)]),
            labels=labels[pairs],
            predictions=predictions[pairs],
            class_names=class_names,
        )
        if is_finished:
            # An example that the network gets right says more about its capsules.
            example = np.argmax(predictions[shown] == labels[shown])
            figures["capsule_dimensions"] = capsule_dimensions(
                model.decoder, capsules[example], predictions[shown][example], class_names
            )
    return figures, {f"couplings/{layer}": values for layer, values in couplings.items()}


def capsule_dimensions(
    decoder: keras.Model, capsules: np.ndarray, winner: int, class_names: Sequence[str]
) -> Figure:
    """Draws what changing each dimension of the winning one of capsules (K, E) reconstructs."""
    dimensions = capsules.shape[-1]
    # (dimension, value, K, E): the capsules, with one number added to one of their elements.
    changed = np.broadcast_to(capsules, (dimensions, len(_TWEAKS), *capsules.shape)).copy()
    changed[:, :, winner, :] += np.eye(dimensions)[:, np.newaxis] * _TWEAKS[:, np.newaxis]
    decoded = probe.in_batches(decoder, changed.reshape(-1, *capsules.shape))
    return plots.dimension_sweep(
        decoded.reshape(*changed.shape[:2], *decoded.shape[1:]),
        _TWEAKS,
        title=f'Reconstructions from a changed capsule of class "{class_names[winner]}"',
    )
